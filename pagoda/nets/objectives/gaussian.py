"""gaussian: training under Gaussian noise in pixel space, which is not clipped.

Sources: Lecuyer et al. 2019 (arXiv 1802.03471); Cohen, Rosenfeld & Kolter 2019 (arXiv 1902.02918).
"""

from pagoda.nets.objectives.base import Objective, copies, empty


class Gaussian(Objective):
    """The cross-entropy of the pictures + N(0, sigma^2 I), in `draws` copies where it has them.

    It is tested under noise of the same sigma; where sigma is 0, there is none.
    """

    draws = 1

    def tested(self):
        return ("noisy_accuracy", Gaussian(sigma=self.sigma)) if self.sigma else None

    def draw(self, x, source, count=None):
        count = len(x) if count is None else count
        return (empty(x, count, self.draws).normal_(0, self.sigma, generator=source),)

    def perturb(self, classifier, x, y, drawn):
        return copies(x, drawn[0], y)
