"""adversarial: training on pictures after L2 projected gradient descent.

Source: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks" (arXiv 1706.06083).
"""

import torch
from torch.nn import functional as F

from pagoda.maths.ball import project, unit
from pagoda.nets.objectives.base import Objective, attack, empty


class Adversarial(Objective):
    """The cross-entropy of the pictures after an attack that starts anywhere in the ball; so it is tested, too."""

    def tested(self):
        return "adversarial_accuracy", self

    def draw(self, x, source, count=None):
        count = len(x) if count is None else count
        direction = empty(x, count).normal_(generator=source)
        return direction, torch.rand(count, 1, 1, 1, generator=source, device=x.device)

    def perturb(self, classifier, x, y, drawn):
        direction, length = drawn
        start = project(x + length * self.epsilon * unit(direction), x, self.epsilon)
        return attack(self, classifier, x, lambda at: F.cross_entropy(classifier(at), y, reduction="sum"), start), y
