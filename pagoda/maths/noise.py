"""The smoothing noise, N(0, sigma^2 I) on pixels: what its draws are a function of, and how many are made at once.

No setting of speed or memory changes a draw: generators make draws in whole portions of a constant size.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pagoda.errors import BadInput
from pagoda.maths.randomness import generator

CHUNK = 100
"""Draws that one generator makes where draws are counted (`noise_chunk`)."""
TOGETHER = 16
"""Draws that a generator makes at a time where draws are averaged (`Noise.copies`)."""


@dataclass(frozen=True)
class Noise:
    """What soft scores and their gradients are averaged over.

    Args:
        sigma: standard deviation, in pixel values, >= 0; at 0 there is nothing to average: one copy, without noise.
        draws: how many an image gets, >= 1.
        batch: the most noisy images at once, >= 1: speed and memory only.
        key: what the draws are a function of: numbers and strings; image k has those of (*key, k).

    Raises:
        BadInput: for values outside these ranges.

    """

    sigma: float
    draws: int
    batch: int
    key: tuple

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.sigma < math.inf:
            raise BadInput(f"sigma is {self.sigma:g}: must be 0 (unsmoothed) or above")
        for name in ("draws", "batch"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}: must be at least 1")

    def keyed(self, *more: int | float | str) -> "Noise":
        """Return the same noise with other draws: those of (*key, *more)."""
        return replace(self, key=(*self.key, *more))

    @property
    def count(self) -> int:
        """How many copies an image is averaged over: `draws`, or at sigma 0 the one."""
        return self.draws if self.sigma else 1

    def slices(self, images: int) -> list[slice]:
        """Return which of the images share batches: all, or of more than `batch`, its square root at a time.

        So many at once take at most `batch` noisy images, and their gradients as many pictures as there are draws.
        """
        size = images if images <= self.batch else math.isqrt(self.batch)
        return [slice(k, min(k + size, images)) for k in range(0, images, size)]

    def copies(self, x: Tensor, first_image: int = 0) -> Iterator[Tensor]:
        """Yield `x`, [B, C, H, W], in noisy copies: tensors [B, n, C, H, W] with B * n <= max(batch, B).

        Image k has a generator of its own, of (*key, first_image + k), which makes TOGETHER draws at a time: neither
        `batch` nor the number of images or of draws changes a draw.
        """
        if self.sigma == 0:
            yield x.unsqueeze(1)
            return
        sources = [generator(x.device, *self.key, first_image + k) for k in range(len(x))]
        room = max(1, self.batch // len(x))
        span = max(1, room // TOGETHER)
        for first in range(0, self.draws, span * TOGETHER):
            times = min(span, -(-(self.draws - first) // TOGETHER))
            drawn = torch.stack([torch.cat([self._together(x, one) for _ in range(times)]) for one in sources])
            for part in drawn[:, : self.draws - first].split(room, dim=1):
                yield x.unsqueeze(1) + part

    def _together(self, x: Tensor, source: torch.Generator) -> Tensor:
        return x.new_empty(TOGETHER, *x.shape[1:]).normal_(0, self.sigma, generator=source)


def noise_chunk(shape: tuple[int, ...], sigma: float, device: torch.device | str, key: tuple) -> Tensor:
    """Return the CHUNK draws of N(0, sigma^2 I) that `key` names, [CHUNK, *shape]."""
    # Always a whole chunk: the first draws of a chunk must not depend on how many are wanted.
    return torch.empty(CHUNK, *shape, device=device).normal_(0, sigma, generator=generator(device, *key))
