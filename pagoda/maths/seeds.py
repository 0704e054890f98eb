"""Where an ascent starts that has no source picture: class-conditional Gaussian seeds, or noise.

Source: Santurkar et al. 2019, "Image Synthesis with a Single (Robust) Classifier" (arXiv 1906.09453), section 3.1.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from pagoda.maths.randomness import generator

RIDGE = 1e-4
"""Added to the variance of every pixel, so that the covariance has full rank."""
LARGE = 128
"""Pictures of at least so many pixels a side are fitted at a quarter of it, and seeds enlarged again."""


def class_seeds(pictures: Iterable[Tensor], count: int, key: tuple) -> Tensor:
    """Draw from the Gaussian N(mu, Sigma + RIDGE I) of a class's pictures, clamped to [0, 1].

    With Z = (pictures - mu) / sqrt(n - 1), Z' z with z ~ N(0, I_n) has the covariance Z'Z = Sigma: no d x d matrix is
    formed.

    Args:
        pictures: of one class, in parts [m, C, H, W] in [0, 1], two at least in all. Of large ones, no more than a
            part is in memory at once.
        count: how many seeds.
        key: what the draws are a function of; seed k is one of (*key, k), however many there are.

    Returns:
        [count, C, H, W] in [0, 1].

    """
    kept = []
    for part in pictures:
        _, channels, height, width = part.shape
        factor = 4 if min(height, width) >= LARGE else 1
        kept.append(F.avg_pool2d(part, factor) if factor > 1 else part)
    small = torch.cat(kept)
    n, flat = len(small), small.flatten(1)
    mean = flat.mean(dim=0)
    sources = [generator(flat.device, *key, k) for k in range(count)]
    z = torch.stack([torch.randn(n, generator=source, device=flat.device) for source in sources])
    ridge = torch.stack([torch.randn(flat.shape[1], generator=source, device=flat.device) for source in sources])
    drawn = mean + z @ (flat - mean) / (n - 1) ** 0.5 + RIDGE**0.5 * ridge
    drawn = drawn.view(count, channels, *small.shape[2:])
    if factor > 1:
        drawn = F.interpolate(drawn, size=(height, width), mode="nearest")
    return drawn.clamp(0, 1)


def noise_seeds(shape: tuple[int, ...], device: torch.device, key: tuple) -> Tensor:
    """Return pictures of independent pixels, uniform in [0, 1], of `shape`, [B, C, H, W]; one k is of (*key, k)."""
    sources = [generator(device, *key, k) for k in range(shape[0])]
    return torch.stack([torch.rand(shape[1:], generator=source, device=device) for source in sources])
