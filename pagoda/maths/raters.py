"""What people's answers say: shares whose answers come in clusters, an exact test, and Bradley-Terry strengths.

Answers of one rater, and answers on one source picture, go together; as in `align`, it is sources that are a sample.
The page's blind test computes the first two likewise (pagoda/page/stats.js).
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

DRAWS = 2000  # of the bootstrap


def sign_flip(sums: Sequence[int]) -> float:
    """Return the exact two-sided p of as large a total, were each cluster's sum as likely as its negative.

    With one answer a cluster, that is the binomial test (the sign test). `sums` are whole: of each cluster, answers for
    the one less those for the other.
    """
    chances = {0: 1.0}
    for value in sums:
        further: dict[int, float] = {}
        for total, chance in chances.items():
            for signed in (value, -value):
                further[total + signed] = further.get(total + signed, 0) + chance / 2
        chances = further
    reached = abs(sum(sums))
    return min(1.0, sum(chance for total, chance in chances.items() if abs(total) >= reached))


def clustered_interval(hits: Sequence[int], counts: Sequence[int], coverage: float = 0.95) -> tuple[float, float]:
    """Return the interval (low, high) of a share whose answers come in clusters; (0, 1) where there is one cluster.

    Clopper & Pearson's, of as many independent answers as the clusters are worth (Korn & Graubard 1998, "Confidence
    intervals for proportions with small expected number of positive counts estimated from survey data"): the variance
    is that between clusters. Where every answer is the same, a cluster is worth one.

    Args:
        hits: of each cluster, e.g. how often the one was preferred.
        counts: of each cluster, the answers, >= 1.
        coverage: of the interval.

    """
    worth = effective_count(hits, counts, coverage)
    if worth <= 1:
        return 0.0, 1.0
    x, tail = worth * sum(hits) / sum(counts), (1 - coverage) / 2
    low = 0.0 if x <= 0 else float(stats.beta.ppf(tail, x, worth - x + 1))
    return low, 1.0 if x >= worth else float(stats.beta.ppf(1 - tail, x + 1, worth - x))


def effective_count(hits: Sequence[int], counts: Sequence[int], coverage: float = 0.95) -> float:
    """Return how many independent answers those in clusters are worth. Arguments as `clustered_interval`."""
    h, n = np.asarray(hits, float), np.asarray(counts, float)
    k, total = len(n), n.sum()
    share = h.sum() / total if total else 0.0
    if k < 2 or share in (0, 1):
        return float(k)
    variance = k / (k - 1) * ((h - share * n) ** 2).sum() / total**2
    if variance == 0:
        return float(total)
    quantiles = stats.t.ppf((1 + coverage) / 2, [total - 1, k - 1])
    simple = share * (1 - share) / (total - 1)  # the variance of a share, were all answers independent
    return float(min(total, total * simple / variance * (quantiles[0] / quantiles[1]) ** 2))


def bradley_terry(wins: np.ndarray) -> np.ndarray:
    """Return the strengths of V views, mean 0: the chance that i is preferred to j is 1 / (1 + exp(s_j - s_i)).

    Bradley & Terry 1952, "Rank Analysis of Incomplete Block Designs", fitted as Hunter 2004 does. Each pair has half an
    answer for each of the two beside its own, so that strengths are finite.

    Args:
        wins: [V, V]; how often i was preferred to j, an undecided answer half each.

    """
    count = len(wins)
    wins = wins + 0.5 * (1 - np.eye(count))
    games, won = wins + wins.T, wins.sum(axis=1)
    p = np.ones(count)
    for _ in range(10_000):
        pairs = games / (p[:, None] + p[None, :])
        new = won / pairs.sum(axis=1)
        new /= np.exp(np.log(new).mean())
        if np.allclose(new, p, rtol=1e-10, atol=0):
            break
        p = new
    return np.log(new)


def strengths(
    pairs: np.ndarray, result: np.ndarray, raters: np.ndarray, sources: np.ndarray, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (strengths, low, high) of `count` views, [V] each, with 95 % intervals.

    Raters and sources are drawn anew, with replacement, each on its own (the pigeonhole bootstrap: Owen 2007): it is
    not too narrow where both are samples. Of one rater, sources alone are drawn.

    Args:
        pairs: [n, 2]; the two views of each answer.
        result: [n]; 1 where the first was preferred, 0 the second, 0.5 neither.
        raters: [n]; whose answer it is.
        sources: [n]; on which picture.
        count: how many views there are.
        seed: of the bootstrap.

    """

    def fitted(weight: np.ndarray) -> np.ndarray:
        wins = np.zeros((count, count))
        np.add.at(wins, (pairs[:, 0], pairs[:, 1]), weight * result)
        np.add.at(wins, (pairs[:, 1], pairs[:, 0]), weight * (1 - result))
        return bradley_terry(wins)

    draw = np.random.default_rng(seed)
    codes = [np.unique(values, return_inverse=True)[1] for values in (raters, sources)]
    found = []
    for _ in range(DRAWS):
        weight = np.ones(len(result))
        for code in codes:
            size = int(code.max()) + 1
            if size > 1:
                weight *= draw.multinomial(size, np.full(size, 1 / size))[code]
        found.append(fitted(weight))
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    return fitted(np.ones(len(result))), low, high
