"""gradnorm: training with a penalty on the norm of input gradients.

Sources: Drucker & LeCun 1992, "Improving Generalization Performance Using Double Backpropagation"; as a defence, Ross &
Doshi-Velez 2018 (arXiv 1711.09404) and Finlay & Oberman 2019 (arXiv 1905.11468), whose half is here.

Checked against cfinlay/tulip (commit 92c83e7, cifar10/train.py, L2), without noise and batch norms: theirs takes finite
differences along the gradient. Loss and gradients of the weights agree on one batch to 1e-10 with central differences
over 1e-4 in double precision, and to 1e-4 with its defaults, one-sided ones over 0.01.
"""

import torch
from torch.nn import functional as F

from pagoda.nets.objectives.gaussian import Gaussian


class GradNorm(Gaussian):
    """The cross-entropy, under noise where sigma > 0, and `penalty` / 2 times the mean of its squared L2 gradient."""

    def perturb(self, classifier, x, y, drawn):
        seen, y = super().perturb(classifier, x, y, drawn)
        return seen.requires_grad_(True), y

    def loss(self, logits, y, seen, drawn, label_smoothing=0.0):
        of_all = F.cross_entropy(logits, y, reduction="sum")
        (slope,) = torch.autograd.grad(of_all, seen, create_graph=True)
        squared = slope.flatten(1).square().sum(dim=1).mean()
        return super().loss(logits, y, seen, drawn, label_smoothing) + self.penalty / 2 * squared
