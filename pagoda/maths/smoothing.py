"""The smoothed classifier: its class and its certified radius (its soft scores: `soft`).

The base classifier f maps images [B, C, H, W] with pixel values in [0, 1] to logits [B, classes]; normalisation is a
part of it, so that noise is added to pixels. The smoothed classifier g returns the class that f is most likely to
return when its input is blurred by noise:

    g(x) = argmax_c P(f(x + noise) = c),    noise ~ N(0, sigma^2 I)

Sources: Cohen, Rosenfeld & Kolter 2019, "Certified Adversarial Robustness via Randomized Smoothing"
(arXiv 1902.02918), SAMPLEUNDERNOISE; what the counts certify is in `certification`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pagoda.maths.certification import ABSTAIN, Certificate, Count, Rule
from pagoda.maths.prediction import Poll
from pagoda.maths.randomness import generator
from pagoda.maths.soft import Classifier

CHUNK = 100
"""Draws that one generator makes. It is a constant so that no setting of speed or memory can change a draw."""


@dataclass(eq=False)
class Work:
    """An image under noise: [C, H, W] in [0, 1], its key, what is counted, and the seconds spent on it."""

    image: Tensor
    key: tuple
    count: Count | Poll
    place: int = 0
    """The image's number in its split."""
    seconds: float = 0.0
    asked: tuple[str, int] = ("", 0)
    """How far draws are under way: a phase, and the first draw that is not."""
    chunk: tuple[tuple, Tensor] | None = None
    """The key and the noise of the last chunk, where a batch took only a part of it."""


def noise_chunk(shape: tuple[int, ...], sigma: float, device: torch.device | str, key: tuple) -> Tensor:
    """Return the CHUNK draws of N(0, sigma^2 I) that `key` names, [CHUNK, *shape]."""
    # Always a whole chunk: the first draws of a chunk must not depend on how many are wanted.
    return torch.empty(CHUNK, *shape, device=device).normal_(0, sigma, generator=generator(device, *key))


def certify(
    base: Classifier, image: Tensor, rule: Rule, *, classes: int, batch: int, key: tuple, label: int = ABSTAIN
) -> Certificate:
    """Certify one image as `rule` says; arguments as for `Work`, `Count` and `count_votes`, which takes many."""
    work = Work(image, key, Count(rule, classes, label))
    next(count_votes(base, [work], sigma=rule.sigma, batch=batch))
    return work.count.certificate


def count_votes(
    base: Classifier,
    works: Iterable[Work],
    *,
    sigma: float,
    batch: int,
    watch: Callable[[], None] = lambda: None,
) -> Iterator[Work]:
    """Classify noisy copies of images until each has the votes that it wants; yield an image when it has.

    The draws of images share batches, so that a device stays busy while images end at different counts. Draw i of an
    image in a phase is number i % CHUNK of the chunk keyed (*key, phase, i // CHUNK): it depends on no batch.

    Args:
        base: the base classifier, in eval mode.
        works: images, taken when there is room for them; those that end are yielded, in the order of their ends.
        sigma: standard deviation of the noise, in pixel values, > 0.
        batch: the most noisy images in memory at once; changes speed and memory, not the draws.
        watch: called after each batch.

    Raises:
        FloatingPointError: if a logit is not finite: that is no vote for any class. Its second argument is the Work.

    """
    waiting, active = iter(works), deque()
    while True:
        parts = _next_parts(waiting, active, sigma, batch)
        if not parts:
            return
        began = time.perf_counter()
        noisy = torch.cat([noisy for _, noisy in parts])
        # A matrix product of one row is rounded in another way: with two, an image's logits are the same in any batch.
        logits = base(noisy if len(noisy) > 1 else noisy.expand(2, -1, -1, -1))[: len(noisy)].float()
        finite, votes = logits.isfinite().all(dim=1).cpu(), logits.argmax(dim=1).cpu()
        first, spent = 0, (time.perf_counter() - began) / len(votes)
        for work, noisy in parts:
            mine = slice(first, first := first + len(noisy))
            if not finite[mine].all():
                raise FloatingPointError("the base classifier returned logits that are not finite", work)
            work.seconds += spent * len(noisy)
            work.count.add(torch.bincount(votes[mine], minlength=work.count.classes).tolist(), len(noisy))
        watch()
        for work in [work for work in active if work.count.ended]:
            active.remove(work)
            yield work


def _next_parts(waiting: Iterator[Work], active: deque, sigma: float, batch: int) -> list[tuple[Work, Tensor]]:
    """Return noisy copies, at most `batch` in all, of the images that want draws, each part of one chunk."""
    parts, room = [], batch
    while room:
        work = next((work for work in active if _open(work)), None)
        if work is None:
            work = next(waiting, None)
            if work is None:
                break
            active.append(work)
            continue
        phase, first, end = _open(work)
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
    return parts


def _open(work: Work) -> tuple[str, int, int] | None:
    """Return (phase, first, end): draws that an image wants and that are not under way; None where there are none."""
    if work.count.ended:
        return None
    phase, drawn, upto = work.count.wanted()
    first = max(drawn, work.asked[1]) if work.asked[0] == phase else drawn
    return (phase, first, upto) if first < upto else None
