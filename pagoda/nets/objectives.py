"""Training objectives: the pictures that the loss is taken on, made from a batch of clean ones.

standard     the pictures themselves
gaussian     pictures + N(0, sigma^2 I), in pixel space (Lecuyer et al. 2019; Cohen et al. 2019)
adversarial  pictures after L2 projected gradient descent on the loss (Madry et al. 2018, arXiv 1706.06083)
smoothadv    pictures after the same attack on the smoothed soft classifier, + N(0, sigma^2 I), several draws of each
             (SmoothAdv_PGD of Salman et al. 2019, arXiv 1906.04584, Algorithm 1)
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pagoda.errors import BadInput
from pagoda.maths.ball import climb, project, unit
from pagoda.maths.soft import log_soft_score


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
    draw: Callable[[Objective, Tensor, int, torch.Generator], tuple[Tensor, ...]]
    perturb: Callable[..., Tensor]


def draw(objective: Objective, x: Tensor, source: torch.Generator, count: int | None = None) -> tuple[Tensor, ...]:
    """Return the random draws that `perturb` needs for a batch: tensors [count, ...], a row for each picture.

    They are those of the whole batch, whichever of its pictures are here: whoever has some of them takes their rows.

    Args:
        objective: what the pictures are perturbed by.
        x: some pictures of the batch, [B, C, H, W], B >= 0.
        source: of the draws.
        count: pictures of the whole batch; None: those of `x`.

    Raises:
        BadInput: for an unknown objective.

    """
    return _objective(objective.name).draw(objective, x, len(x) if count is None else count, source)


def perturb(
    objective: Objective, classifier: nn.Module, x: Tensor, y: Tensor, drawn: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the pictures to train on and their labels, from `x`, [B, C, H, W] in [0, 1], and its labels `y`, [B].

    They are B pictures and labels, or B * draws where the objective takes several noise draws of each. `drawn` are
    the rows of `x` of what `draw` returned.

    Raises:
        BadInput: for an unknown objective.

    """
    seen = _objective(objective.name).perturb(objective, classifier, x, y, *drawn)
    return seen, y.repeat_interleave(len(seen) // len(y))


def attack(
    classifier: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    steps: int,
    step: float,
    start: Tensor,
) -> Tensor:
    """Return adversarial pictures, [B, C, H, W]: ascent on the cross-entropy in the L2 ball (Madry et al. 2018).

    In eval mode, which keeps the attack out of the batch-norm statistics; the mode is restored.

    Args:
        classifier: pictures [B, C, H, W] -> logits [B, classes].
        x: centres of the balls, [B, C, H, W] in [0, 1].
        y: labels to lead away from, int64 [B].
        epsilon: radius of the balls, pixel values, > 0.
        steps: of ascent, >= 1.
        step: length of each, pixel values, > 0.
        start: where it begins, in the balls, [B, C, H, W].

    """

    def gradient(at: Tensor, i: int) -> Tensor:
        at = at.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(classifier(at), y, reduction="sum"), at)
        return slope.float()

    with _in_eval_mode(classifier):
        return climb(x, gradient, epsilon=epsilon, step=step, steps=steps, start=start)


@contextmanager
def _in_eval_mode(classifier: nn.Module) -> Iterator[None]:
    training = classifier.training
    classifier.eval()
    try:
        yield
    finally:  # after an attack that ran out of memory, too
        classifier.train(training)


def _like(x: Tensor, count: int) -> Tensor:
    """Return an empty tensor of `count` members like those of `x`, laid out as they are: draws go by memory."""
    last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty((count, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=layout)


def _draw_nothing(objective, x, count, source):
    return ()


def _standard(objective, classifier, x, y):
    return x


def _draw_gaussian(objective, x, count, source):
    return (_like(x, count).normal_(0, objective.sigma, generator=source),)


def _gaussian(objective, classifier, x, y, noise):
    return x + noise


def _draw_start(objective, x, count, source):
    direction = _like(x, count).normal_(generator=source)
    return direction, torch.rand(count, 1, 1, 1, generator=source, device=x.device)


def _adversarial(objective, classifier, x, y, direction, length):
    epsilon = objective.epsilon
    start = project(x + length * epsilon * unit(direction), x, epsilon)
    return attack(
        classifier, x, y, epsilon=epsilon, steps=objective.attack_steps, step=objective.attack_step, start=start
    )


def _draw_several(objective, x, count, source):
    noise = torch.empty(count, objective.draws, *x.shape[1:], device=x.device)
    return (noise.normal_(0, objective.sigma, generator=source),)


def _smoothadv(objective, classifier, x, y, noise):
    def gradient(at: Tensor, i: int) -> Tensor:
        at = at.detach().requires_grad_(True)
        score = log_soft_score(classifier, at.unsqueeze(1) + noise, y)
        (slope,) = torch.autograd.grad(-score.sum(), at)
        return slope.float()

    # From the pictures themselves and with the same noise at every step, as in the authors' code.
    reach = {"epsilon": objective.epsilon, "step": objective.attack_step, "steps": objective.attack_steps}
    with _in_eval_mode(classifier):
        attacked = climb(x, gradient, **reach)
    return (attacked.unsqueeze(1) + noise).flatten(0, 1)


OBJECTIVES = {
    "standard": _Kind((), _draw_nothing, _standard),
    "gaussian": _Kind(("sigma",), _draw_gaussian, _gaussian),
    "adversarial": _Kind(("epsilon", "attack_steps", "attack_step"), _draw_start, _adversarial),
    "smoothadv": _Kind(
        ("sigma", "epsilon", "attack_steps", "attack_step", "draws", "warmup"), _draw_several, _smoothadv
    ),
}
"""Objectives by name: the values that each uses, what it draws for a batch and does to it."""


def _objective(name: str) -> _Kind:
    if name not in OBJECTIVES:
        raise BadInput(f"objective {name!r} is unknown: choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
