"""Where an ascent starts that has no source picture: class-conditional Gaussian seeds, or noise.

Source: Santurkar et al. 2019, "Image Synthesis with a Single (Robust) Classifier" (arXiv 1906.09453), section 3.1.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

RIDGE = 1e-4
"""Added to the variance of every pixel, so that the covariance has full rank."""
LARGE = 128
"""Pictures of at least so many pixels a side are fitted at a quarter of it, and seeds enlarged again."""


def class_seeds(pictures: Tensor, count: int, source: torch.Generator) -> Tensor:
    """Draw from the Gaussian N(mu, Sigma + RIDGE I) of a class's pictures, clamped to [0, 1].

    With Z = (pictures - mu) / sqrt(n - 1), Z' z with z ~ N(0, I_n) has the covariance Z'Z = Sigma: no d x d matrix is
    formed.

    Args:
        pictures: of one class, [n, C, H, W] in [0, 1], n >= 2.
        count: how many seeds.
        source: of the draws, on the pictures' device.

    Returns:
        [count, C, H, W] in [0, 1].

    """
    n, channels, height, width = pictures.shape
    factor = 4 if min(height, width) >= LARGE else 1
    small = F.avg_pool2d(pictures, factor) if factor > 1 else pictures
    flat = small.flatten(1)
    mean = flat.mean(dim=0)
    z = torch.randn(count, n, generator=source, device=flat.device)
    ridge = torch.randn(count, flat.shape[1], generator=source, device=flat.device)
    drawn = mean + z @ (flat - mean) / (n - 1) ** 0.5 + RIDGE**0.5 * ridge
    drawn = drawn.view(count, channels, *small.shape[2:])
    if factor > 1:
        drawn = F.interpolate(drawn, size=(height, width), mode="nearest")
    return drawn.clamp(0, 1)


def noise_seeds(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Return pictures of independent pixels, uniform in [0, 1], of `shape`, [B, C, H, W]."""
    return torch.rand(shape, generator=source, device=source.device)
