"""How well a gradient, or a change made along it, agrees with a class as people see it; no second network needed.

Images are float tensors [B, C, H, W]; every measure is [B], and NaN where it is undefined (a direction of length 0).
What a measure takes follows from what it is of (see pagoda/data/registry.py): a gradient towards the target, x, the
classes' means and the target; cosines with the Bayes gradients and the target; a gradient of the own class and x; or a
change.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pagoda.maths.ball import cosine, norms


def contrastive_cosine(gradient: Tensor, x: Tensor, means: Tensor, target: Tensor) -> Tensor:
    """Return cos(g, mu_t - x) - mean over c != t of cos(g, mu_c - x): in [-2, 2]; without alignment about 0.

    A class whose mean is x itself names no direction: it is left out of the mean, and as the target it makes NaN.

    Args:
        gradient: of the target's score at x, [B, C, H, W].
        x: images, [B, C, H, W].
        means: of the training images of each of K >= 2 classes, [K, C, H, W].
        target: class numbers, int64 [B], in 0 ... K-1.

    """
    count = len(means)
    cosines = x.new_empty(len(x), count)
    # An image at a time: with a thousand classes of large pictures, one image's directions are as many again.
    for k in range(len(x)):
        towards = means - x[k]
        cosines[k] = cosine(gradient[k].expand_as(towards), towards)
        cosines[k, norms(towards) == 0] = torch.nan
    cosines[norms(gradient) == 0] = torch.nan
    return contrast(cosines, target)


def contrast(cosines: Tensor, target: Tensor) -> Tensor:
    """Return the target's cosine less the mean of the others, NaN left out of it: [B, K], K >= 2, and [B] -> [B]."""
    own = torch.nn.functional.one_hot(target, cosines.shape[1]).bool()
    return cosines[own] - cosines.masked_fill(own, torch.nan).nanmean(dim=1)


def best_match(cosines: Tensor, target: Tensor) -> Tensor:
    """Return 1 where the target's cosine is the largest, else 0, [B]; by chance 1 of K. NaN where they are."""
    return (cosines.argmax(dim=1) == target).float().masked_fill(cosines.isnan().any(dim=1), torch.nan)


def saliency_cosine(gradient: Tensor, x: Tensor) -> Tensor:
    """Return |<x - x', g>| / (||x - x'|| ||g||), x' the mean of each channel of the image: in [0, 1].

    Source: after Etmann et al. 2019 (arXiv 1905.04172), whose alignment is not centred. A flat image makes NaN.

    Args:
        gradient: of the score of the image's own class, [B, C, H, W].
        x: images, [B, C, H, W].

    """
    centred = x - x.mean(dim=(2, 3), keepdim=True)
    found = cosine(gradient, centred).abs()
    return found.masked_fill((norms(centred) < 1e-6 * norms(x)) | (norms(gradient) == 0), torch.nan)


def share_within(gradient: Tensor, bases: Sequence[Tensor]) -> Tensor:
    """Return the share of each gradient's power along some directions: [B], in [0, 1]; white noise has R / D.

    With the tangent space of the class's pictures for directions, it is off-manifold robustness, to the first order
    (Srinivas, Bordt & Lakkaraju 2023, arXiv 2305.19101, section 3): the rest of the gradient is what changes off it.

    Args:
        gradient: [B, ...], D values each.
        bases: B tensors [R, D] with orthonormal rows.

    """
    shares = [
        (basis @ v).square().sum() / v.square().sum() for v, basis in zip(gradient.flatten(1), bases, strict=True)
    ]
    return torch.stack(shares) if shares else gradient.new_zeros(0)


def high_frequency_fraction(change: Tensor) -> Tensor:
    """Return the share of a change's power above 1/4 cycle a pixel, its mean left out: in [0, 1]; NaN for no change.

    White noise has 1 - pi / 16, the part of the square of frequencies outside the circle of 1/4, up to the grain of the
    grid of frequencies. A blur lowers it: it says nothing alone.

    Args:
        change: end minus source, [B, C, H, W].

    """
    power, radius = _power(change)
    return (power * (radius > 0.25)).sum(dim=(1, 2)) / power.sum(dim=(1, 2))


def radial_spectrum(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return (frequency, power): the mean power on rings of frequencies, in units of an image's mean power.

    White noise has power 1 on every ring. Rings are one frequency of the shorter side wide, up to 1/2 cycle a pixel.

    Args:
        gradient: [B, C, H, W].

    Returns:
        Frequency in cycles a pixel, [R], and power, [B, R]; NaN for a flat gradient.

    """
    power, radius = _power(gradient)
    side = min(gradient.shape[2:])
    ring = (radius * side).round().long()
    rings = torch.arange(1, side // 2 + 1, device=gradient.device)
    counted = (radius > 0).sum()
    inside = (ring == rings.view(-1, 1, 1)) & (radius > 0)
    mean = power.sum(dim=(1, 2)).unsqueeze(1) / counted
    return rings / side, torch.einsum("bhw,rhw->br", power, inside.to(power)) / inside.sum(dim=(1, 2)) / mean


def with_spectrum(gradient: Tensor, power: Tensor) -> Tensor:
    """Return gradients with the radial spectrum of others: each ring of frequencies is scaled, its phases are kept.

    So a gradient is blurred as much as another is, and no more: what is left of a difference between the two is not a
    matter of frequencies. Beyond 1/2 cycle a pixel, in the corners, the last ring's scale holds.

    Args:
        gradient: [B, C, H, W].
        power: on each ring, in units of an image's mean power, as `radial_spectrum` has it: [R].

    Returns:
        [B, C, H, W], each gradient's mean left out.

    """
    _, own = radial_spectrum(gradient)
    scale = (power.to(own) / own.clamp(min=1e-30)).sqrt()
    ring = (_power(gradient)[1] * min(gradient.shape[2:])).round().long().clamp(1, len(power)) - 1
    found = torch.fft.fft2(gradient.double()) * scale[:, ring].unsqueeze(1)
    found[..., 0, 0] = 0
    return torch.fft.ifft2(found).real.to(gradient.dtype)


def _power(v: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's power at each frequency, its channels summed and the mean left out, and |frequency|."""
    height, width = v.shape[2:]
    power = torch.fft.fft2(v.double()).abs().square().sum(dim=1)
    power[:, 0, 0] = 0
    vertical = torch.fft.fftfreq(height, dtype=torch.float64, device=v.device)
    horizontal = torch.fft.fftfreq(width, dtype=torch.float64, device=v.device)
    return power, torch.hypot(vertical.unsqueeze(1), horizontal.unsqueeze(0))


FORMULAS = {
    "contrastive": contrastive_cosine,
    "bayes": contrast,
    "bayes_match": best_match,
    "saliency": saliency_cosine,
    "tangent": share_within,
    "high_frequency": high_frequency_fraction,
}
"""By the column of the measure."""
