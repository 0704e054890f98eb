"""Targeted ascent on the score of a smoothed (or, at sigma 0, an unsmoothed) classifier.

Source: Kaur, Cohen & Lipton 2019, "Are Perceptually-Aligned Gradients a General Property of Robust Classifiers?"
(arXiv 1910.08640). Hyper-parameters are ours, not theirs.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pagoda.maths.ball import climb, cosine, norms
from pagoda.maths.randomness import generator
from pagoda.maths.soft import Classifier, log_soft_score

TOGETHER = 16
"""Copies of an image whose noise is drawn together. It is a constant so that no setting can change a draw."""


def groups(count: int, batch: int) -> list[slice]:
    """Return the images that share batches: all, or where they are more than `batch`, groups of its square root.

    A group takes at most `batch` noisy images at once, and its gradients as many pictures as there are draws.
    """
    size = count if count <= batch else math.isqrt(batch)
    return [slice(k, min(k + size, count)) for k in range(0, count, size)]


def draw_parts(
    x: Tensor, *, sigma: float, draws: int, batch: int, key: tuple, first_image: int = 0
) -> Iterator[Tensor]:
    """Yield `x`, [B, C, H, W], in `draws` noisy copies: tensors [B, n, C, H, W] with B * n <= max(batch, B).

    Image k has a generator of its own, of (*key, first_image + k), and draws TOGETHER copies at a time: neither
    `batch` nor the number of images or of draws changes a draw. At sigma 0 there is nothing to average: the one copy
    is x itself.
    """
    if sigma == 0:
        yield x.unsqueeze(1)
        return
    sources = [generator(x.device, *key, first_image + k) for k in range(len(x))]
    room = max(1, batch // len(x))
    span = max(1, room // TOGETHER)
    for first in range(0, draws, span * TOGETHER):
        times = min(span, -(-(draws - first) // TOGETHER))
        noise = torch.stack(
            [
                torch.cat([x.new_empty(TOGETHER, *x.shape[1:]).normal_(0, sigma, generator=one) for _ in range(times)])
                for one in sources
            ]
        )
        for part in noise[:, : draws - first].split(room, dim=1):
            yield x.unsqueeze(1) + part


def log_score_and_gradient(
    base: Classifier, x: Tensor, target: Tensor, *, sigma: float, draws: int, batch: int, key: tuple
) -> tuple[Tensor, Tensor]:
    """Return (log p_t, its gradient) of the soft smoothed classifier at `x`.

    Over parts c of the draws, p = sum_c p_c, so grad log p = sum_c (p_c / p) grad log p_c: memory is bounded by
    `batch`, and the value is that of all draws in one batch.

    Args:
        base: the base classifier, in eval mode.
        x: images, [B, C, H, W].
        target: class numbers, int64 [B].
        sigma: standard deviation of the noise, in pixel values; 0 is the base classifier itself.
        draws: noise draws to average over.
        batch: the most noisy images at once; more images than that go in `groups`.
        key: what the noise is a function of.

    Returns:
        log p_t, [B], and the gradient, [B, C, H, W].

    """
    shared = {"sigma": sigma, "draws": draws, "batch": batch, "key": key}
    found = [
        _log_score_and_gradient(base, x[some], target[some], first_image=some.start, **shared)
        for some in groups(len(x), batch)
    ]
    scores, gradients = zip(*found, strict=True)
    return torch.cat(scores), torch.cat(gradients)


def _log_score_and_gradient(
    base: Classifier, x: Tensor, target: Tensor, *, sigma: float, draws: int, **drawing
) -> tuple[Tensor, Tensor]:
    scores, gradients, counts = [], [], []
    for noisy in draw_parts(x, sigma=sigma, draws=draws, **drawing):
        noisy.requires_grad_(True)
        with torch.enable_grad():
            score = log_soft_score(base, noisy, target)
        (gradient,) = torch.autograd.grad(score.sum(), noisy)
        scores.append(score.detach())
        gradients.append(gradient.sum(dim=1))
        counts.append(math.log(noisy.shape[1]))
    parts = torch.stack(scores) + torch.tensor(counts, device=x.device).unsqueeze(1)
    weights = parts.softmax(dim=0)
    gradient = torch.einsum("pb,pb...->b...", weights, torch.stack(gradients))
    return parts.logsumexp(dim=0) - math.log(1 if sigma == 0 else draws), gradient


def log_score(
    base: Classifier, x: Tensor, target: Tensor, *, sigma: float, draws: int, batch: int, key: tuple
) -> Tensor:
    """Return log p_t alone, [B], without a gradient. Arguments as `log_score_and_gradient`."""
    scores = []
    for some in groups(len(x), batch):
        parts = []
        with torch.no_grad():
            for noisy in draw_parts(x[some], sigma=sigma, draws=draws, batch=batch, key=key, first_image=some.start):
                parts.append(log_soft_score(base, noisy, target[some]) + math.log(noisy.shape[1]))
        scores.append(torch.stack(parts).logsumexp(dim=0) - math.log(1 if sigma == 0 else draws))
    return torch.cat(scores)


def split_half(
    base: Classifier, x: Tensor, target: Tensor, *, sigma: float, draws: int, batch: int, key: tuple
) -> Tensor:
    """Return the cosine of two independent estimates of grad log p_t, each from `draws` draws: [B], in [-1, 1].

    Near 1, noise draws no longer decide the direction; near 0, they do, and N = `draws` is too small. At sigma 0 there
    is nothing to estimate, and it is 1. NaN for a gradient of length 0. Arguments as `log_score_and_gradient`.
    """
    shared = {"sigma": sigma, "draws": draws, "batch": batch}
    halves = [log_score_and_gradient(base, x, target, key=(*key, half), **shared)[1] for half in ("first", "second")]
    return cosine(*halves).masked_fill((norms(halves[0]) == 0) | (norms(halves[1]) == 0), math.nan)


def ascend(
    base: Classifier,
    source: Tensor,
    target: Tensor,
    *,
    sigma: float,
    epsilon: float,
    step: float,
    steps: int,
    draws: int,
    batch: int,
    key: tuple,
    watch: Callable[[int, Tensor], None] = lambda done, x: None,
) -> tuple[Tensor, Tensor]:
    """Ascend log p_t from `source` within the L2 ball of radius `epsilon`, with fresh noise at every step.

    Args:
        base, target, sigma, draws, batch: as for `log_score_and_gradient`.
        source: images to start from and to stay near, [B, C, H, W], in [0, 1].
        epsilon: radius of the ball, L2, in pixel values, > 0.
        step: length of a step, L2, in pixel values, > 0.
        steps: how many, >= 1.
        key: what the noise is a function of; step i uses (*key, i).
        watch: called as watch(steps done, x) at the start and after every step.

    Returns:
        The end, [B, C, H, W], and log p_t before each step, [steps, B], each estimated from that step's draws.

    """
    scores = []

    def gradient(x: Tensor, i: int) -> Tensor:
        score, slope = log_score_and_gradient(base, x, target, sigma=sigma, draws=draws, batch=batch, key=(*key, i))
        scores.append(score)
        return slope

    end = climb(source, gradient, epsilon=epsilon, step=step, steps=steps, watch=watch)
    return end, torch.stack(scores)
