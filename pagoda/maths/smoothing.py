"""Votes under noise: what CERTIFY and PREDICT of the smoothed classifier count (its soft scores: `soft`).

The base classifier f maps images [B, C, H, W] with pixel values in [0, 1] to logits [B, classes]; normalisation is a
part of it, so that noise is added to pixels. The smoothed classifier g returns the class that f is most likely to
return when its input is blurred by noise:

    g(x) = argmax_c P(f(x + noise) = c),    noise ~ N(0, sigma^2 I)

Source: Cohen, Rosenfeld & Kolter 2019, "Certified Adversarial Robustness via Randomized Smoothing"
(arXiv 1902.02918), SAMPLEUNDERNOISE; what the counts certify is in `certification`.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from pagoda.maths.certification import Count
from pagoda.maths.noise import CHUNK, noise_chunk
from pagoda.maths.prediction import Poll
from pagoda.maths.soft import Classifier


@dataclass(eq=False)
class Work:
    """An image under noise, [C, H, W]; what its draws are a function of; what is counted; and what errors call it."""

    image: Tensor
    key: tuple
    count: Count | Poll
    name: str = "an image"
    seconds: float = 0.0
    """Spent on it so far."""
    asked: tuple[str, int] = ("", 0)
    """How far draws are under way: a phase, and the first draw that is not."""
    chunk: tuple[tuple, Tensor] | None = None
    """The key and the noise of the last chunk, where a batch took only a part of it."""


def count_votes(base: Classifier, works: Iterable[Work], *, sigma: float, batch: int) -> Iterator[Work]:
    """Classify noisy copies of images until each has the votes that it wants; yield the images in the order given.

    The draws of images share batches, so that a device stays busy while images end at different counts. Draw i of an
    image in a phase is number i % CHUNK of the chunk keyed (*key, phase, i // CHUNK): it depends on no batch.

    Args:
        base: the base classifier, in eval mode.
        works: images, taken when there is room for them.
        sigma: standard deviation of the noise, in pixel values, > 0.
        batch: the most noisy images in memory at once; changes speed and memory, not the draws.

    Raises:
        FloatingPointError: if a logit is not finite: that is no vote for any class.

    """
    waiting, begun = iter(works), deque()
    while parts := _next_parts(waiting, begun, sigma, batch):
        began = time.perf_counter()
        noisy = torch.cat([noisy for _, noisy in parts])
        with torch.inference_mode():
            # A matrix product of one row is rounded in another way: with two, logits are the same in any batch.
            logits = base(noisy if len(noisy) > 1 else noisy.expand(2, -1, -1, -1))[: len(noisy)].float()
            finite, votes = logits.isfinite().all(dim=1).cpu(), logits.argmax(dim=1).cpu()
        first, spent = 0, (time.perf_counter() - began) / len(votes)
        for work, noisy in parts:
            mine = slice(first, first := first + len(noisy))
            if not finite[mine].all():
                raise FloatingPointError(f"{work.name}: the base classifier's logits are not finite")
            work.seconds += spent * len(noisy)
            work.count.add(torch.bincount(votes[mine], minlength=work.count.classes).tolist(), len(noisy))
        while begun and begun[0].count.ended:
            yield begun.popleft()


def _next_parts(waiting: Iterator[Work], begun: deque, sigma: float, batch: int) -> list[tuple[Work, Tensor]]:
    """Return noisy copies, at most `batch` in all, of the images that want draws, each part of one chunk."""
    parts, room, before = [], batch, len(begun)
    for turn, work in enumerate(chain(tuple(begun), waiting)):
        if turn >= before:
            begun.append(work)
        while room and not work.count.ended:
            phase, drawn, end = work.count.wanted()
            first = max(drawn, work.asked[1]) if work.asked[0] == phase else drawn
            if first >= end:  # all that it wants is under way
                break
            number, place = divmod(first, CHUNK)
            size = min(end - first, CHUNK - place, room)
            key = (*work.key, phase, number)
            if work.chunk is None or work.chunk[0] != key:
                work.chunk = (key, noise_chunk(tuple(work.image.shape), sigma, work.image.device, key))
            parts.append((work, work.image + work.chunk[1][place : place + size]))
            if place + size == CHUNK:
                work.chunk = None
            work.asked = (phase, first + size)
            room -= size
        if not room:
            break
    return parts
