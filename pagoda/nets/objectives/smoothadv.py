"""smoothadv: adversarial training of the smoothed classifier.

Source: Salman et al. 2019, "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers" (arXiv
1906.04584), SmoothAdv_PGD, Algorithm 1.

Checked against Hadisalman/smoothing-adversarial (commit cff781d, PGD, --train-multi-noise): the same loss and gradients
of the weights on the same batch and noise, to 1e-7, where attacks stay clear of black and white. Elsewhere they differ:
theirs clip to [0, 1], then project onto the ball; here it is the other way round, as in SmoothAdv_PGD of
jh-jeong/smoothing-consistency (commit a11954a), with which loss and gradients agree there too, to 1e-7.
"""

from torch import Tensor

from pagoda.maths.soft import log_soft_score
from pagoda.nets.objectives.base import attack, copies
from pagoda.nets.objectives.gaussian import Gaussian


def against(classifier, noise: Tensor, y: Tensor):
    """Return what an attack on the smoothed soft classifier ascends: -log p_y over the draws [B, draws, ...]."""
    return lambda at: -log_soft_score(classifier, at.unsqueeze(1) + noise, y).sum()


class SmoothAdv(Gaussian):
    """The cross-entropy of the pictures after an attack on the smoothed classifier, under its own noise."""

    def perturb(self, classifier, x, y, drawn):
        # From the pictures themselves and with the same noise at every step, as in the authors' code.
        (noise,) = drawn
        return copies(attack(self, classifier, x, against(classifier, noise, y)), noise, y)
