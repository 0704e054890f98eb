"""Exact binomial confidence bounds (Clopper & Pearson 1934)."""


def lower_bound(successes: int, draws: int, alpha: float) -> float:
    """Return the one-sided Clopper-Pearson lower bound: P(bound > p) <= alpha for successes ~ Bin(draws, p).

    Args:
        successes: count of hits, 0 ... draws.
        draws: count of independent draws, >= 1.
        alpha: chance that the bound is wrong, in (0, 1).

    Raises:
        ValueError: for values outside these ranges.

    """
    from scipy.special import (
        betaincinv,  # imported late: an ascent, of which there are many, does without SciPy
    )

    _check(successes, draws, alpha)
    return 0.0 if successes == 0 else float(betaincinv(successes, draws - successes + 1, alpha))


def upper_bound(successes: int, draws: int, alpha: float) -> float:
    """Return the one-sided Clopper-Pearson upper bound: P(bound < p) <= alpha. Arguments as `lower_bound`."""
    return 1.0 - lower_bound(draws - successes, draws, alpha)


def interval(successes: int, draws: int, coverage: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval (low, high) for a binomial proportion."""
    tail = (1 - coverage) / 2
    return lower_bound(successes, draws, tail), upper_bound(successes, draws, tail)


def _check(successes: int, draws: int, alpha: float) -> None:
    if not 0 <= successes <= draws or draws < 1:
        raise ValueError(f"{successes} successes in {draws} draws: need 0 <= successes <= draws and draws >= 1")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: must be in (0, 1)")
