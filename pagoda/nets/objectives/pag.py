"""pag: training with input gradients that point to the classes' mean pictures.

Source: Ganz, Kawar & Elad 2023, "Do Perceptually Aligned Gradients Imply Robustness?" (arXiv 2207.11378), with class
means; gradients are of log p_t, as in the authors' code.

Checked against royg27/PAG-ROB (commit f9e5ef0), without noise and augmentation, given our class means and targets: the
same loss and gradients of the weights on one batch, to 1e-12 in double precision, where `alignment` is 10 times their
pag_coeff. With batch norms, that holds for one target: of several, theirs share a pass, and with it the slopes of the
batch's statistics; here each has its own (256 pictures, two targets: losses of 16.0747 and 16.0734). Their targets are
any different classes, here they are spread evenly.
"""

import torch

from pagoda.data.means import class_means
from pagoda.maths.ball import cosine
from pagoda.nets.objectives.gaussian import Gaussian


class PAG(Gaussian):
    """The cross-entropy, under noise where sigma > 0, and `alignment` times the mean of 1 - cosine over `targets`.

    The cosine is that of the gradient of log p_t and the direction from the picture, without its noise, to the mean
    training picture of class t. The targets of a picture are spread evenly over the classes, from one drawn.
    """

    def fit(self, pictures, device):
        self.means = class_means(pictures, list(range(len(pictures.description.classes)))).to(device)

    def draw(self, x, source, count=None):
        (noise,) = super().draw(x, source, count)
        return noise, torch.rand(len(noise), generator=source, device=x.device)

    def perturb(self, classifier, x, y, drawn):
        seen, y = super().perturb(classifier, x, y, drawn)
        return seen.requires_grad_(True), y

    def loss(self, logits, y, seen, drawn, label_smoothing=0.0):
        noise, first = drawn
        x, logs, classes = seen.detach() - noise.flatten(0, 1), logits.log_softmax(dim=1), logits.shape[1]
        cosines = []
        for number in range(min(self.targets, classes)):
            target = self.target(first, number, classes)
            (slope,) = torch.autograd.grad(logs.gather(1, target.unsqueeze(1)).sum(), seen, create_graph=True)
            cosines.append(cosine(slope, self.means[target] - x).mean())
        aligned = torch.stack(cosines).mean()
        return super().loss(logits, y, seen, drawn, label_smoothing) + self.alignment * (1 - aligned)

    def target(self, first, number, classes):
        """Return class `number` of the targets of pictures, [B], from `first`, [B], drawn evenly from [0, 1)."""
        return ((first * classes).long() + number * classes // min(self.targets, classes)) % classes
