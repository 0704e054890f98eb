"""Foils of the blind test: a view's end without the grain that gives it away."""

import numpy as np

CLOSE = 1e-3
"""How near the high-frequency fractions come to each other."""


def low_passed(source: np.ndarray, end: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return `end` with its change low-passed to the high-frequency fraction of that to `like`, of its own length.

    A Gaussian low-pass, found by bisection; where the fraction is as low already, `end` itself.

    Args:
        source: what both ascents start from, [C, H, W] in [0, 1].
        end: of the one, to be low-passed.
        like: the end of the other.

    Returns:
        [C, H, W] in [0, 1].

    """
    change, wanted = end - source, high_frequency_fraction(like - source)
    if high_frequency_fraction(change) <= wanted:
        return end
    spectrum, radius = np.fft.fft2(change), _radius(change.shape)
    low, high = 1e-3, 10.0  # widths of the pass band, in cycles a pixel
    for _ in range(24):
        width = (low * high) ** 0.5
        passed = np.fft.ifft2(spectrum * np.exp(-0.5 * (radius / width) ** 2)).real
        passed *= np.linalg.norm(change) / max(np.linalg.norm(passed), 1e-12)
        found = (source + passed).clip(0, 1)
        fraction = high_frequency_fraction(found - source)
        if abs(fraction - wanted) < CLOSE:
            break
        low, high = (low, width) if fraction > wanted else (width, high)
    return found


def high_frequency_fraction(change: np.ndarray) -> float:
    """Return the share of a change's power above 1/4 cycle a pixel, [C, H, W], as the measure of that name has it."""
    power = (np.abs(np.fft.fft2(change)) ** 2).sum(axis=0)
    power[0, 0] = 0
    return float(power[_radius(change.shape) > 0.25].sum() / max(power.sum(), 1e-30))


def _radius(shape: tuple[int, ...]) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(shape[-2])[:, None], np.fft.fftfreq(shape[-1])[None])
