"""macer: training that maximises the certified radius of the soft smoothed classifier.

Source: Zhai et al. 2020, "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius" (arXiv
2001.02378), Algorithm 1.
"""

import math

from torch.nn import functional as F
from torch.special import ndtri

from pagoda.nets.objectives.gaussian import Gaussian


class Macer(Gaussian):
    """-log p_y of the soft smoothed classifier, and lambda sigma / 2 times the hinge of the radius where it is right.

    The radius, in units of sigma / 2, is Phi^-1(p_1) - Phi^-1(p_2) of the two largest mean probabilities under logits
    times `sharpness`; the hinge is `margin` less the radius, where that is in (0, margin].
    """

    def loss(self, logits, y, seen, drawn, label_smoothing=0.0):
        logits, y = logits.view(-1, self.draws, logits.shape[1]), y[:: self.draws]
        mean = logits.log_softmax(dim=2).logsumexp(dim=1) - math.log(self.draws)
        top, which = (self.sharpness * logits).softmax(dim=2).mean(dim=1).topk(2)
        # Where a probability is rounded to 1 or 0, the radius is infinite, and of no use.
        right = (which[:, 0] == y) & (top[:, 0] < 1) & (top[:, 1] > 0)
        radius = ndtri(top[right, 0]) - ndtri(top[right, 1])
        hinge = (self.margin - radius)[radius <= self.margin].sum() * self.sigma / 2
        return F.cross_entropy(mean, y, label_smoothing=label_smoothing) + self.weight * hinge / len(y)
