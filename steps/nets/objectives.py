"""Training objectives: the pictures that the loss is taken on, made from a batch of clean ones.

standard     the pictures themselves
gaussian     pictures + N(0, sigma^2 I), in pixel space (Lecuyer et al. 2019; Cohen et al. 2019)
adversarial  pictures after L2 projected gradient descent on the loss (Madry et al. 2018, arXiv 1706.06083)
smoothadv    pictures after the same attack on the smoothed soft classifier, + N(0, sigma^2 I), several draws of each
             (SmoothAdv_PGD of Salman et al. 2019, arXiv 1906.04584, Algorithm 1)
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.maths.ball import climb, project, unit
from steps.maths.soft import log_soft_score
from steps.run.errors import BadInput


@dataclass(frozen=True)
class Objective:
    """A training objective by name, with its values in pixel values (L2 where they are lengths)."""

    name: str
    sigma: float = 0.0
    epsilon: float = 0.0
    attack_steps: int = 0
    attack_step: float = 0.0
    draws: int = 1
    """m, noise draws of a picture: the attack averages over them, and the network is trained on each."""
    warmup: int = 0
    """Epochs over which the attack's epsilon and step grow from a fraction to the whole."""

    def in_epoch(self, epoch: int) -> "Objective":
        """Return the objective of an epoch, counted from 0: in warm-up, epsilon and step are (epoch + 1) / warmup."""
        grown = min(1.0, (epoch + 1) / max(1, self.warmup))
        return dataclasses.replace(self, epsilon=grown * self.epsilon, attack_step=grown * self.attack_step)

    def values(self) -> dict[str, float | str]:
        """Return the name and those values that this objective uses."""
        return {"name": self.name} | {key: getattr(self, key) for key in _objective(self.name).uses}


@dataclass(frozen=True)
class _Kind:
    uses: tuple[str, ...]
    perturb: Callable[[Objective, nn.Module, Tensor, Tensor, torch.Generator], Tensor]


def perturb(
    objective: Objective, classifier: nn.Module, x: Tensor, y: Tensor, source: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the pictures to train on and their labels, from `x`, [B, C, H, W] in [0, 1], and its labels `y`, [B].

    They are B pictures and labels, or B * draws where the objective takes several noise draws of each.

    Raises:
        BadInput: for an unknown objective.

    """
    seen = _objective(objective.name).perturb(objective, classifier, x, y, source)
    return seen, y.repeat_interleave(len(seen) // len(y))


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


def _smoothadv(objective, classifier, x, y, source):
    draws = objective.draws
    noise = torch.empty(len(x), draws, *x.shape[1:], device=x.device).normal_(0, objective.sigma, generator=source)
    training = classifier.training
    classifier.eval()

    def gradient(at: Tensor, i: int) -> Tensor:
        at = at.detach().requires_grad_(True)
        score = log_soft_score(classifier, at.unsqueeze(1) + noise, y)
        (slope,) = torch.autograd.grad(-score.sum(), at)
        return slope.float()

    # From the pictures themselves and with the same noise at every step, as in the authors' code.
    attacked = climb(x, gradient, epsilon=objective.epsilon, step=objective.attack_step, steps=objective.attack_steps)
    classifier.train(training)
    return (attacked.unsqueeze(1) + noise).flatten(0, 1)


OBJECTIVES = {
    "standard": _Kind((), _standard),
    "gaussian": _Kind(("sigma",), _gaussian),
    "adversarial": _Kind(("epsilon", "attack_steps", "attack_step"), _adversarial),
    "smoothadv": _Kind(("sigma", "epsilon", "attack_steps", "attack_step", "draws", "warmup"), _smoothadv),
}
"""Objectives by name: the values that each uses, and what it does to a batch."""


def _objective(name: str) -> _Kind:
    if name not in OBJECTIVES:
        raise BadInput(f"objective {name!r} is unknown: choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
