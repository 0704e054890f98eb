"""A lower bound of a probability that holds at any time, and the chance that more draws would raise it.

Guarantee. Let draws hit with probability p, and S_n count the hits among the first n. For a hypothesis q >= p and any
d > 0, exp(d S_n) / (1 - q + q e^d)^n starts at 1, and a draw multiplies it by a factor with the mean (1 - p + p e^d) /
(1 - q + q e^d) <= 1: a supermartingale, and so is W_n(q), its mean over the fixed d of EFFECTS. By Ville's inequality,
P(W_n(q) >= 1/a at any n) <= a. (Each is the likelihood ratio of an alternative whose log-odds are d above those of q; W
is an e-process.)

W_n(q) decreases in q. So all that is rejected, the q with W_n(q) >= 1/a at some n, lies below one bound L, and L > p
only where p itself is rejected: one hypothesis, however many thresholds are asked and however often, thus P(L > p) <=
a. A Clopper-Pearson bound at one n fixed beforehand, at level b, rejects in the same way: the larger of the two bounds
is wrong with a chance of at most a + b, whenever and for whatever reason drawing stops.

Sources: Robbins 1970, "Statistical methods related to the law of the iterated logarithm"; Ramdas et al. 2023, "Game-
theoretic statistics and safe anytime-valid inference" (arXiv 2210.01948).
"""

import math
from functools import lru_cache

EFFECTS = tuple(0.05 * 160 ** (k / 23) for k in range(24))
"""Differences of log-odds d. From p = 1/2, the least is seen in about 25,000 draws, the largest in as many as any."""


def rejects(q: float, hits: int, draws: int, alpha: float) -> bool:
    """Tell whether W(q) >= 1 / alpha: whether the probability is above `q`, as `hits` of `draws` say.

    Args:
        q: a probability, in [0, 1].
        hits: 0 ... draws.
        draws: made so far, >= 1.
        alpha: chance, over all times at which this may be asked, that a true `q` is rejected, in (0, 1).

    """
    logs = [hits * d - draws * math.log1p(q * math.expm1(d)) for d in EFFECTS]
    largest = max(logs)
    mean = sum(math.exp(log - largest) for log in logs) / len(logs)
    rounding = 1e-14 * draws * EFFECTS[-1]  # of the sums above, and more
    return largest + math.log(mean) >= rounding - math.log(alpha)


def anytime_lower_bound(hits: int, draws: int, alpha: float) -> float:
    """Return a probability that `rejects` rejects, the largest to within 1e-15; 0 where there is none."""
    low, high = 0.0, hits / draws  # W(hits / draws) <= 1, by Jensen's inequality
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rejects(middle, hits, draws, alpha) else (low, middle)
    return low


@lru_cache(2**16)
def chance_of(more: int, left: int, hits: int, draws: int) -> float:
    """Return the chance of at least `more` hits in `left` further draws, after `hits` of `draws`.

    That of the beta-binomial distribution that Jeffreys' prior makes, to about .01 of it: a sum over the posterior of
    p, in arcsin(sqrt(p)), where it is smooth and about as wide everywhere.
    """
    import numpy as np  # imported late: plans read the options of this without
    from scipy.special import betainc, xlogy  # late, too: an ascent, of which there are many, does without SciPy

    if more <= 0 or more > left:
        return float(more <= 0)
    angle = math.asin(math.sqrt((hits + 0.5) / (draws + 1))) + np.linspace(-3, 3, 201) / math.sqrt(draws)
    p = np.sin(angle[(angle > 0) & (angle < math.pi / 2)]) ** 2
    logs = xlogy(hits, p) + xlogy(draws - hits, 1 - p)
    weights = np.exp(logs - logs.max())
    return float(weights @ betainc(more, left - more + 1, p) / weights.sum())
