"""Intervals for means over images, by the bootstrap (Efron 1979)."""

import warnings

import numpy as np
from scipy import stats


def mean_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float, float, int]:
    """Return (mean, low, high, n) of `values`, [n], NaN left out: a 95 % interval (percentile bootstrap).

    Low and high are NaN where n < 2: one image says nothing of how images vary. Values that are all the same have an
    interval of width 0.

    Args:
        values: one an image.
        resamples: how often the images are drawn again.
        seed: of the draws.

    """
    known = values[~np.isnan(values)]
    n = len(known)
    if n < 2:
        return (float(known[0]) if n else float("nan")), float("nan"), float("nan"), n
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (known,), np.mean, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed), batch=1000
        ).confidence_interval
    return float(known.mean()), float(found.low), float(found.high), n
