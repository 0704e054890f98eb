"""What every training objective does, each in its own way, and what several of them share."""

import copy
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pagoda.data.dataset import Split
from pagoda.maths.ball import climb


class Objective:
    """A training objective with its values, each an attribute: lengths are L2, in pixel values.

    What the attributes mean, the options say (pagoda/options/models.py). Here it is training on the pictures
    themselves, under the cross-entropy; others override what they do otherwise.
    """

    grows: ClassVar[tuple[str, ...]] = ("epsilon", "attack_step")
    """The values that grow over `warmup` epochs, from a fraction to the whole."""

    def __init__(self, **values: float):
        """Take e.g. sigma=0.5."""
        self.values = values
        self.__dict__ |= values

    def in_epoch(self, epoch: int) -> "Objective":
        """Return the objective of an epoch, counted from 0: in warm-up, `grows` are (epoch + 1) / warmup of theirs."""
        if not (warmup := self.values.get("warmup")):
            return self
        share, other = min(1.0, (epoch + 1) / warmup), copy.copy(self)
        other.__dict__ |= {name: share * self.values[name] for name in self.grows}
        return other

    def tested(self) -> tuple[str, "Objective"] | None:
        """Return what the accuracy under its perturbation is called in ``summary.json``, and which perturbation it is.

        None where that is the clean accuracy.
        """
        return None

    def fit(self, pictures: Split, device: torch.device) -> None:
        """Take from the training pictures what the loss needs of them all: mostly nothing."""

    def draw(self, x: Tensor, source: torch.Generator, count: int | None = None) -> tuple[Tensor, ...]:
        """Return the random draws that `perturb` and `loss` need for a batch: tensors [count, ...], a row a picture.

        They are those of the whole batch, whichever of its pictures are here: whoever has some takes their rows.

        Args:
            x: some pictures of the batch, [B, C, H, W], B >= 0.
            source: of the draws.
            count: pictures of the whole batch; None: those of `x`.

        """
        return ()

    def perturb(self, classifier: nn.Module, x: Tensor, y: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the pictures to train on and their labels, from `x`, [B, C, H, W] in [0, 1], B >= 1, and `y`, [B].

        They are B * k pictures and labels, k copies of each picture one after another. `drawn` are the rows of `x` of
        what `draw` returned.
        """
        return x, y

    def loss(
        self, logits: Tensor, y: Tensor, seen: Tensor, drawn: Sequence[Tensor], label_smoothing: float = 0.0
    ) -> Tensor:
        """Return the mean loss, a number.

        Args:
            logits: what the network says of `seen`, [B * k, classes].
            y: the labels, int64 [B * k].
            seen: the pictures that `perturb` returned.
            drawn: the draws that it was given.
            label_smoothing: share of the target that is spread over all classes.

        """
        return F.cross_entropy(logits, y, label_smoothing=label_smoothing)


def empty(x: Tensor, *count: int) -> Tensor:
    """Return an empty tensor of so many pictures like `x`'s: contiguous, as others are filled ten times slower."""
    return torch.empty(*count, *x.shape[1:], dtype=x.dtype, device=x.device)


def copies(x: Tensor, noise: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pictures in noisy copies and their labels: [B, ...], [B, k, ...], [B] -> [B * k, ...], [B * k]."""
    if noise.shape[1] == 1:  # in the memory format of `x`
        return x + noise[:, 0], y
    return (x.unsqueeze(1) + noise).flatten(0, 1), y.repeat_interleave(noise.shape[1])


def attack(
    objective: Objective,
    classifier: nn.Module,
    x: Tensor,
    loss: Callable[[Tensor], Tensor],
    start: Tensor | None = None,
    epsilon: float | None = None,
) -> Tensor:
    """Return adversarial pictures, [B, C, H, W]: ascent on `loss`, summed over them, in the L2 ball of `epsilon`.

    In eval mode, which keeps the attack out of the batch-norm statistics; the mode is restored. `epsilon` is the
    objective's, unless it is given.
    """

    def gradient(at: Tensor, i: int) -> Tensor:
        at = at.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(at), at)
        return slope.float()

    radius = objective.epsilon if epsilon is None else epsilon
    training = classifier.training
    classifier.eval()
    attacked = climb(x, gradient, epsilon=radius, step=objective.attack_step, steps=objective.attack_steps, start=start)
    classifier.train(training)
    return attacked
