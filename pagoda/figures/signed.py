"""Signed values as pictures: changes on one scale with a key, gradients each on its own."""

from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps

from pagoda.figures.grid import Key

DEVIATIONS = 3  # standard deviations of a gradient's values at which its picture is black, and white
PERCENTILE = 99  # of the absolute values, at which a change has the last colour
COLOURS = colormaps["RdBu_r"]  # blue below 0, white at 0, red above: ColorBrewer's, fit for colour-blind readers


def scale_of_changes(changes: Iterable[np.ndarray]) -> float:
    """Return the value at the ends of the scale that these changes, [C, H, W] each, share; 1 where all are 0."""
    values = np.concatenate([np.abs(_over_channels(change)).ravel() for change in changes])
    return float(np.percentile(values, PERCENTILE)) or 1.0


def signed(change: np.ndarray, reach: float) -> np.ndarray:
    """Return a change, [C, H, W], as a picture, [3, H, W] in [0, 1]: its mean over channels, from -reach to reach."""
    return COLOURS(0.5 + _over_channels(change) / (2 * reach))[..., :3].transpose(2, 0, 1)


def signed_key(name: str, reach: float) -> Key:
    """Return the key of such pictures."""
    steps = COLOURS(np.linspace(0, 1, 200))[:, :3]
    return Key(name, (steps * 255).round().astype(np.uint8), (f"−{reach:.2g}", "0", f"+{reach:.2g}"))


def spread(gradient: np.ndarray) -> np.ndarray:
    """Return a gradient, [C, H, W], as a picture in [0, 1]: 0 is mid-grey, DEVIATIONS standard deviations the ends."""
    deviation = float(gradient.std(dtype=np.float64)) or 1.0
    return (0.5 + gradient / (2 * DEVIATIONS * deviation)).clip(0, 1)


def _over_channels(change: np.ndarray) -> np.ndarray:
    return change.astype(np.float64).mean(axis=0)
