"""Training objectives: the pictures that the loss is taken on, made from a batch of clean ones.

standard     the pictures themselves
gaussian     pictures + N(0, sigma^2 I), in pixel space (Lecuyer et al. 2019; Cohen et al. 2019)
adversarial  pictures after L2 projected gradient descent on the loss (Madry et al. 2018, arXiv 1706.06083)
smoothadv    pictures after the same attack on the smoothed soft classifier, + N(0, sigma^2 I), several draws of each
             (SmoothAdv_PGD of Salman et al. 2019, arXiv 1906.04584, Algorithm 1)
consistency  pictures + N(0, sigma^2 I), several draws of each, and a loss that has the draws agree
             (Jeong & Shin 2020, arXiv 2006.04062, equation 8)

To add one, describe its values in pagoda/options/models.py and what it does in OBJECTIVES, at the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pagoda.errors import BadInput
from pagoda.maths.ball import climb, project, unit
from pagoda.maths.soft import log_soft_score


class Objective:
    """One of OBJECTIVES by name, with its values, each an attribute: lengths are L2, in pixel values.

    sigma         standard deviation of the noise
    epsilon       radius of the attack's ball
    attack_steps  of ascent
    attack_step   length of each
    draws         m, noise draws of a picture: the attack averages over them, and the network is trained on each
    warmup        epochs over which the attack's epsilon and step grow from a fraction to the whole
    agreement     lambda, weight of the divergence of the draws from their mean
    entropy       eta, weight of the mean's entropy
    """

    def __init__(self, name: str, **values: float):
        """Take e.g. name="gaussian", sigma=0.5. Raises BadInput for an unknown name."""
        if name not in OBJECTIVES:
            raise BadInput(f"objective {name!r} is unknown: choose from {', '.join(OBJECTIVES)}")
        self.kind, self.values = OBJECTIVES[name], {"name": name} | values
        self.__dict__ |= self.values

    def in_epoch(self, epoch: int) -> "Objective":
        """Return the objective of an epoch, counted from 0: in warm-up, epsilon and step are (epoch + 1) / warmup."""
        if not (warmup := self.values.get("warmup")):
            return self
        grown = min(1.0, (epoch + 1) / warmup)
        return Objective(**self.values | {name: grown * self.values[name] for name in ("epsilon", "attack_step")})

    def tested(self) -> tuple[str, "Objective"] | None:
        """Return what the accuracy under its perturbation is called in ``summary.json``, and which perturbation it is.

        None where that is the clean accuracy.
        """
        if self.kind.tested is None:
            return None
        accuracy, under = self.kind.tested
        return accuracy, Objective(**self.values | {"name": under})

    def draw(self, x: Tensor, source: torch.Generator, count: int | None = None) -> tuple[Tensor, ...]:
        """Return the random draws that `perturb` needs for a batch: tensors [count, ...], a row for each picture.

        They are those of the whole batch, whichever of its pictures are here: whoever has some takes their rows.

        Args:
            x: some pictures of the batch, [B, C, H, W], B >= 0.
            source: of the draws.
            count: pictures of the whole batch; None: those of `x`.

        """
        return self.kind.draw(self, x, len(x) if count is None else count, source)

    def perturb(self, classifier: nn.Module, x: Tensor, y: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the pictures to train on and their labels, from `x`, [B, C, H, W] in [0, 1], B >= 1, and `y`, [B].

        They are B pictures and labels, or B * draws where the objective takes several noise draws of each. `drawn`
        are the rows of `x` of what `draw` returned.
        """
        seen = self.kind.perturb(self, classifier, x, y, *drawn)
        return seen, y.repeat_interleave(len(seen) // len(y))

    def loss(self, logits: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss on what `perturb` returned: a number, from logits [B * draws, classes] and labels."""
        return F.cross_entropy(logits, y, label_smoothing=label_smoothing) + self.kind.penalty(self, logits)


def _attack(
    objective: Objective, classifier: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor], start: Tensor | None
) -> Tensor:
    """Return adversarial pictures, [B, C, H, W]: ascent on `loss`, summed over them, in the objective's L2 ball.

    In eval mode, which keeps the attack out of the batch-norm statistics; the mode is restored.
    """

    def gradient(at: Tensor, i: int) -> Tensor:
        at = at.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(at), at)
        return slope.float()

    reach = {"epsilon": objective.epsilon, "step": objective.attack_step, "steps": objective.attack_steps}
    training = classifier.training
    classifier.eval()
    attacked = climb(x, gradient, **reach, start=start)
    classifier.train(training)
    return attacked


def _empty(x: Tensor, *count: int) -> Tensor:
    """Return an empty tensor of so many pictures like `x`'s: contiguous, as others are filled ten times slower."""
    return torch.empty(*count, *x.shape[1:], dtype=x.dtype, device=x.device)


def _draw_gaussian(objective, x, count, source):
    return (_empty(x, count).normal_(0, objective.sigma, generator=source),)


def _draw_start(objective, x, count, source):
    direction = _empty(x, count).normal_(generator=source)
    return direction, torch.rand(count, 1, 1, 1, generator=source, device=x.device)


def _adversarial(objective, classifier, x, y, direction, length):
    start = project(x + length * objective.epsilon * unit(direction), x, objective.epsilon)
    return _attack(objective, classifier, x, lambda at: F.cross_entropy(classifier(at), y, reduction="sum"), start)


def _draw_several(objective, x, count, source):
    return (_empty(x, count, objective.draws).normal_(0, objective.sigma, generator=source),)


def _smoothadv(objective, classifier, x, y, noise):
    def loss(at: Tensor) -> Tensor:
        return -log_soft_score(classifier, at.unsqueeze(1) + noise, y).sum()

    # From the pictures themselves and with the same noise at every step, as in the authors' code.
    attacked = _attack(objective, classifier, x, loss, start=None)
    return (attacked.unsqueeze(1) + noise).flatten(0, 1)


def _disagreement(objective, logits):
    logs = logits.view(-1, objective.draws, logits.shape[1]).log_softmax(dim=2)
    mean = logs.exp().mean(dim=1)
    entropy = -mean.xlogy(mean).sum(dim=1)
    divergence = -entropy - (mean * logs.mean(dim=1)).sum(dim=1)  # mean over draws of KL(mean || draw)
    return (objective.agreement * divergence + objective.entropy * entropy).mean()


@dataclass(frozen=True)
class Kind:
    """What an objective draws for a batch, what it does to it, and how a network is tested that was trained so.

    `draw` is called as draw(objective, x, count, source), `perturb` as perturb(objective, classifier, x, y, *drawn),
    `penalty`, beside the cross-entropy, as penalty(objective, logits).
    `tested`: the name of an accuracy, and the objective whose perturbation it is measured under.
    """

    draw: Callable[..., tuple[Tensor, ...]]
    perturb: Callable[..., Tensor]
    tested: tuple[str, str] | None = None
    penalty: Callable[..., Tensor | float] = lambda *_: 0.0


OBJECTIVES = {
    "standard": Kind(lambda *_: (), lambda _, net, x, y: x),
    "gaussian": Kind(_draw_gaussian, lambda _, net, x, y, noise: x + noise, ("noisy_accuracy", "gaussian")),
    "adversarial": Kind(_draw_start, _adversarial, ("adversarial_accuracy", "adversarial")),
    "smoothadv": Kind(_draw_several, _smoothadv, ("noisy_accuracy", "gaussian")),
    "consistency": Kind(
        _draw_several,
        lambda _, net, x, y, noise: (x.unsqueeze(1) + noise).flatten(0, 1),
        ("noisy_accuracy", "gaussian"),
        _disagreement,
    ),
}
"""Objectives by name."""
