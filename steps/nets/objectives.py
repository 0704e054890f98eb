"""Training objectives: the pictures that the loss is taken on, made from a batch of clean ones.

standard     the pictures themselves
gaussian     pictures + N(0, sigma^2 I), in pixel space (Lecuyer et al. 2019; Cohen et al. 2019)
adversarial  pictures after L2 projected gradient descent on the loss (Madry et al. 2018, arXiv 1706.06083)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.maths.ball import climb, project, unit
from steps.run.errors import BadInput


@dataclass(frozen=True)
class Objective:
    """A training objective by name, with its values in pixel values (L2 where they are lengths)."""

    name: str
    sigma: float = 0.0
    epsilon: float = 0.0
    attack_steps: int = 0
    attack_step: float = 0.0

    def values(self) -> dict[str, float | str]:
        """Return the name and those values that this objective uses."""
        return {"name": self.name} | {key: getattr(self, key) for key in _objective(self.name).uses}


@dataclass(frozen=True)
class _Kind:
    uses: tuple[str, ...]
    perturb: Callable[[Objective, nn.Module, Tensor, Tensor, torch.Generator], Tensor]


def perturb(objective: Objective, classifier: nn.Module, x: Tensor, y: Tensor, source: torch.Generator) -> Tensor:
    """Return the pictures to train on: [B, C, H, W] from `x`, [B, C, H, W] in [0, 1], with labels `y`, [B].

    Raises:
        BadInput: for an unknown objective.

    """
    return _objective(objective.name).perturb(objective, classifier, x, y, source)


def attack(
    classifier: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    steps: int,
    step: float,
    source: torch.Generator,
) -> Tensor:
    """Return adversarial pictures: ascent on the cross-entropy from a random point of the L2 ball, in eval mode.

    Eval mode keeps the attack out of the batch-norm statistics; the mode is restored.
    """
    training = classifier.training
    classifier.eval()

    def gradient(at: Tensor, i: int) -> Tensor:
        at = at.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(classifier(at), y, reduction="sum"), at)
        return slope.float()

    direction = unit(torch.empty_like(x).normal_(generator=source))
    length = torch.rand(len(x), 1, 1, 1, generator=source, device=x.device) * epsilon
    start = project(x + length * direction, x, epsilon)
    attacked = climb(x, gradient, epsilon=epsilon, step=step, steps=steps, start=start)
    classifier.train(training)
    return attacked


def _standard(objective, classifier, x, y, source):
    return x


def _gaussian(objective, classifier, x, y, source):
    return x + torch.empty_like(x).normal_(0, objective.sigma, generator=source)


def _adversarial(objective, classifier, x, y, source):
    return attack(
        classifier,
        x,
        y,
        epsilon=objective.epsilon,
        steps=objective.attack_steps,
        step=objective.attack_step,
        source=source,
    )


OBJECTIVES = {
    "standard": _Kind((), _standard),
    "gaussian": _Kind(("sigma",), _gaussian),
    "adversarial": _Kind(("epsilon", "attack_steps", "attack_step"), _adversarial),
}
"""Objectives by name: the values that each uses, and what it does to a batch."""


def _objective(name: str) -> _Kind:
    if name not in OBJECTIVES:
        raise BadInput(f"objective {name!r} is unknown: choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
