"""The smoothed classifier: its class, its certified radius, and its soft scores.

The base classifier f maps images [B, C, H, W] with pixel values in [0, 1] to logits [B, classes]; normalisation is a
part of it, so that noise is added to pixels. The smoothed classifier g returns the class that f is most likely to
return when its input is blurred by noise:

    g(x) = argmax_c P(f(x + noise) = c),    noise ~ N(0, sigma^2 I)

Source: Cohen, Rosenfeld & Kolter 2019, "Certified Adversarial Robustness via Randomized Smoothing"
(arXiv 1902.02918), algorithm CERTIFY and theorem 1. The soft scores are those of Salman et al. 2019
(arXiv 1906.04584) and Kaur, Cohen & Lipton 2019 (arXiv 1910.08640).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from steps.maths.confidence import lower_bound
from steps.maths.randomness import generator

Classifier = Callable[[Tensor], Tensor]

ABSTAIN = -1
CHUNK = 250
"""Draws that one generator makes. It is a constant so that no setting of speed or memory can change a draw."""


@dataclass(frozen=True)
class Certificate:
    """What CERTIFY says of one image.

    `prediction` is a class number or ABSTAIN; `radius` is L2, in pixel values, 0 where it abstains; `successes` of
    `draws` fresh draws hit the class selected, and `lower` bounds that class's probability from below.
    """

    prediction: int
    radius: float
    successes: int
    draws: int
    lower: float


def noise_chunks(
    shape: tuple[int, ...], draws: int, sigma: float, device: torch.device | str, key: tuple
) -> Iterator[Tensor]:
    """Yield `draws` samples of N(0, sigma^2 I), as tensors [<= CHUNK, *shape], the i-th keyed (*key, i)."""
    for number, first in enumerate(range(0, draws, CHUNK)):
        source = generator(device, *key, number)
        # Always a whole chunk: the first draws of a chunk must not depend on how many are wanted.
        noise = torch.empty(CHUNK, *shape, device=device).normal_(0, sigma, generator=source)
        yield noise[: draws - first]


def count_classes(
    base: Classifier, image: Tensor, *, sigma: float, draws: int, classes: int, batch: int, key: tuple
) -> Tensor:
    """Count how often the base classifier returns each class under noise: SAMPLEUNDERNOISE of Cohen et al.

    Args:
        base: the base classifier, in eval mode.
        image: [C, H, W], in [0, 1]; noisy copies of it are not clipped.
        sigma: standard deviation of the noise, in pixel values, > 0.
        draws: how many.
        classes: how many classes the base classifier knows.
        batch: the most images that it is given at once; changes speed and memory, not the draws.
        key: what the noise is a function of, e.g. (seed, sigma, image number, phase).

    Returns:
        int64 counts, [classes], that sum to `draws`.

    Raises:
        FloatingPointError: if a logit is not finite: that is no vote for any class.

    """
    counts = torch.zeros(classes, dtype=torch.int64)
    for noise in noise_chunks(tuple(image.shape), draws, sigma, image.device, key):
        for part in noise.split(batch):
            logits = base(image + part).float()
            if not logits.isfinite().all():
                raise FloatingPointError("the base classifier returned logits that are not finite (NaN or infinite)")
            counts += torch.bincount(logits.argmax(dim=1), minlength=classes).cpu()
    return counts


def certify(
    base: Classifier,
    image: Tensor,
    *,
    sigma: float,
    n0: int,
    n: int,
    alpha: float,
    classes: int,
    batch: int,
    key: tuple,
) -> Certificate:
    """Certify one image: CERTIFY of Cohen et al. 2019.

    `n0` draws select a class; `n` fresh draws bound its probability from below by `lower`, wrongly with probability
    at most `alpha`. If lower > 1/2, then g is constant within L2 distance sigma * Phi^-1(lower) of the image.

    Args:
        base, image, sigma, classes, batch: as for `count_classes`.
        n0: draws for the selection, >= 1.
        n: draws for the bound, >= 1.
        alpha: chance that the certificate is wrong, in (0, 1).
        key: identifies the image among all others, e.g. (seed, sigma, image number).

    Raises:
        FloatingPointError: see `count_classes`.

    """
    shared = {"sigma": sigma, "classes": classes, "batch": batch}
    selected = int(count_classes(base, image, draws=n0, key=(*key, "select"), **shared).argmax())
    successes = int(count_classes(base, image, draws=n, key=(*key, "estimate"), **shared)[selected])
    lower = lower_bound(successes, n, alpha)
    if not lower > 0.5:
        return Certificate(ABSTAIN, 0.0, successes, n, lower)
    return Certificate(selected, certified_radius(lower, sigma), successes, n, lower)


def certified_radius(lower: float, sigma: float) -> float:
    """Return the L2 radius sigma * Phi^-1(lower) of theorem 1, one float below its rounded value: never above it.

    `lower` bounds the top class's probability from below, in (1/2, 1]; at 1 the radius is infinite.
    """
    from scipy.special import ndtri  # imported late, as in `confidence`

    return max(0.0, math.nextafter(float(sigma * ndtri(lower)), -math.inf))


def log_soft_score(base: Classifier, noisy: Tensor, target: Tensor) -> Tensor:
    """Return log p_t, the estimated soft score of the smoothed classifier: a logsumexp over draws.

    p_t(x) = E[softmax(f(x + noise))_t]; ascending it and ascending its logarithm go the same way, unlike the mean
    log-probability or the mean logit.

    Args:
        base: the base classifier.
        noisy: B images in N noisy copies each, [B, N, C, H, W].
        target: class numbers, int64 [B].

    Returns:
        [B], differentiable with respect to `noisy`.

    """
    images, draws = noisy.shape[:2]
    log_p = base(noisy.flatten(0, 1)).float().log_softmax(dim=1)
    log_p = log_p.view(images, draws, -1).gather(2, target.view(-1, 1, 1).expand(-1, draws, 1)).squeeze(2)
    return log_p.logsumexp(dim=1) - math.log(draws)
