import math
from bisect import bisect_left
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, special, stats

from pagoda.errors import BadInput
from pagoda.maths.certification import ABSTAIN, Count, Rule, certified_radius, default_looks, enough_draws
from pagoda.maths.confidence import lower_bound
from pagoda.maths.sequential import chance_of

TRUE = (0.5, 0.6, 0.69, 0.9, 0.99, 0.999, 0.9999)
"""Probabilities of the top class."""


def draw(rule: Rule, p: float, random: np.random.Generator, label: int = 0) -> Count:
    """Certify an image whose class 0 has probability p and class 1 the rest, without a network."""
    count = Count(rule, 2, label)
    while count.certificate is None:
        _, first, end = count.wanted()
        hits = int(random.binomial(end - first, p))
        count.add([hits, end - first - hits], end - first)
    return count


def wrong_rate(rule: Rule, p: float, repetitions: int) -> float:
    """The share of lower bounds above the probability that they bound."""
    random = np.random.default_rng([round(1e4 * p), rule.n])
    counts = (draw(rule, p, random) for _ in range(repetitions))
    return sum(c.certificate.lower > (p if c.selected == 0 else 1 - p) for c in counts) / repetitions


@pytest.mark.parametrize("p", TRUE)
@pytest.mark.parametrize("mode", ["fixed", "grid", "radius"])
def test_a_bound_is_wrong_no_more_often_than_alpha(mode, p):
    repetitions, alpha = 600, 0.05
    rule = Rule(mode, sigma=0.5, n0=50, n=2000, alpha=alpha)
    # Three standard deviations of a binomial share above alpha.
    assert wrong_rate(rule, p, repetitions) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / repetitions)


def crossings(rule: Rule, rejected, p: float, repetitions: int) -> float:
    """The share of runs in which p itself is rejected at some look: `rejected(hits, draws)` tells."""
    random, hits, drawn = np.random.default_rng(round(1e4 * p)), np.zeros(repetitions, int), 0
    wrong = np.zeros(repetitions, bool)
    for look in rule.schedule:
        hits += random.binomial(look - drawn, p, repetitions)
        drawn = look
        wrong |= hits >= bisect_left(range(look + 1), True, key=lambda s, look=look: rejected(s, look))
    return wrong.mean()


@pytest.mark.parametrize("p", TRUE)
def test_a_true_probability_is_rejected_at_no_look_with_more_than_alpha_and_the_test_would_tell(p):
    rule, repetitions = Rule("grid", sigma=0.5, n0=50, n=3000, alpha=0.01), 10_000
    limit = rule.alpha + 3 * math.sqrt(rule.alpha * (1 - rule.alpha) / repetitions)
    assert crossings(rule, lambda hits, look: rule.bound(hits, look) > p, p, repetitions) <= limit
    if p < 0.99:  # beyond, all looks but the last ones are alike: nearly all draws hit
        # Clopper-Pearson at the whole alpha, look after look, is what a sequential test must not do.
        assert crossings(rule, lambda hits, look: lower_bound(hits, look, rule.alpha) > p, p, repetitions) > limit


def reference(rule: Rule, hits: list[int]) -> tuple[int, float]:
    """Draws used and lower bound of grid mode, written down plainly with scipy.stats; `hits` by look."""
    thresholds = [stats.norm.cdf(radius / rule.sigma) for radius in sorted({0, *rule.radii})]
    odds = np.exp(np.geomspace(0.05, 8, 24))
    early, late = 0.2 * rule.alpha, 0.8 * rule.alpha

    def wealth(p, s, m):  # log of the mean likelihood ratio of 24 alternatives, whose odds are so many times those of p
        miss = 1 / (1 - p + odds * p)
        return special.logsumexp(s * np.log(odds * miss) + (m - s) * np.log(miss)) - math.log(24)

    def hopeless(s, m):
        if reached == len(thresholds):
            return True
        needed = 1 + stats.binom.isf(late, rule.n, thresholds[reached])
        return stats.betabinom(rule.n - m, s + 0.5, m - s + 0.5).sf(needed - s - 1) < 0.03

    def least_not_rejected(s, m):
        return optimize.brentq(lambda p: wealth(p, s, m) + math.log(early), 1e-9, s / m, xtol=1e-14)

    reached = 0
    for m, s in zip(rule.schedule, hits, strict=True):
        reached += sum(wealth(t, s, m) >= -math.log(early) for t in thresholds[reached:])
        if m == rule.n:
            return m, max(least_not_rejected(s, m), stats.beta(s, m - s + 1).ppf(late), *thresholds[:reached])
        if hopeless(s, m):
            return m, max(least_not_rejected(s, m), *thresholds[:reached], 0)
    raise AssertionError


@pytest.mark.parametrize("p", TRUE)
def test_grid_mode_is_the_plain_algorithm(p):
    rule = Rule("grid", sigma=0.25, n0=100, n=5000, alpha=0.001)
    for seed in range(5):
        random = np.random.default_rng(seed)
        hits = np.cumsum(random.binomial(np.diff([0, *rule.schedule]), p))
        count = Count(rule, 2)
        count.add([60, 40], 100)
        for look, before, s, old in zip(rule.schedule, [0, *rule.schedule], hits, [0, *hits], strict=False):
            if count.certificate is None:
                count.add([int(s - old), int(look - before - (s - old))], look - before)
        drawn, low = reference(rule, [int(s) for s in hits])
        assert count.certificate.draws == drawn and count.certificate.lower == pytest.approx(low, rel=1e-9)


@pytest.mark.parametrize(
    ("more", "left", "hits", "draws"),
    [
        (99_895, 99_900, 100, 100),
        (890, 900, 100, 100),
        (50_000, 99_900, 45, 100),
        (370, 900, 40, 100),
        (40, 900, 2, 100),
    ],
)
def test_the_chance_of_more_hits_is_that_of_the_beta_binomial_distribution(more, left, hits, draws):
    exact = stats.betabinom(left, hits + 0.5, draws - hits + 0.5).sf(more - 1)
    assert chance_of(more, left, hits, draws) == pytest.approx(exact, rel=0.05)


def test_a_radius_of_interest_that_is_reached_is_certified_as_it_stands():
    rule = Rule("grid", sigma=0.37, n0=100, n=100_000, alpha=0.001)
    found = [draw(rule, p, np.random.default_rng(3)) for p in (0.6, 0.76, 0.9, 0.97, 1.0)]
    for count in found:
        radius = count.certificate.radius
        assert radius >= max(goal.radius for goal in rule.goals[: count.reached])
        assert stats.norm.cdf(radius / rule.sigma) <= count.certificate.lower * (1 + 1e-15)


def test_grid_mode_certifies_the_radii_that_all_draws_would_with_far_fewer():
    random = np.random.default_rng(0)
    grid = Rule("grid", sigma=0.5, n0=100, n=100_000, alpha=0.001)
    fixed = replace(grid, mode="fixed")
    radii, used, differing = np.array(grid.radii), [], 0
    for p in random.beta(2, 0.2, size=100):  # most are sure, some are not
        some, all_draws = (draw(rule, p, random).certificate for rule in (grid, fixed))
        differing += (radii <= some.radius).sum() != (radii <= all_draws.radius).sum()
        used.append(some.draws)
    assert np.mean(used) < 100_000 / 7 and differing <= 3


def test_radius_mode_loses_no_more_of_the_radius_than_it_says():
    rule = Rule("radius", sigma=0.5, n0=1000, n=100_000, alpha=0.001, tolerance=0.05)
    for hits in (700, 950, 990, 1000):
        n = enough_draws(hits, rule)
        assert n % 100 == 0 and n <= rule.n

        def radius(draws, p=hits / 1000):
            s = math.floor(p * draws)
            return stats.norm.ppf(stats.beta.ppf(rule.alpha, s, draws - s + 1))

        assert radius(n) >= 0.95 * radius(rule.n) * (1 - 1e-9)
        assert n == 100 or radius(n - 100) < 0.95 * radius(rule.n) * (1 + 1e-9)
    assert enough_draws(400, rule) == 100  # nothing can be certified: little is lost


def test_a_label_aware_rule_skips_what_cannot_count():
    rule = Rule("grid", sigma=0.5, n0=100, n=1000, alpha=0.001, label_aware=True)
    skipped = draw(rule, 0.99, np.random.default_rng(0), label=1).certificate
    assert (skipped.prediction, skipped.radius, skipped.draws, skipped.stop) == (ABSTAIN, 0.0, 0, "skipped")
    assert draw(rule, 0.99, np.random.default_rng(0), label=0).certificate.prediction == 0


def test_votes_that_were_not_wanted_are_refused():
    count = Count(Rule("fixed", sigma=0.5, n0=10, n=100, alpha=0.01), 2)
    with pytest.raises(ValueError, match="12 votes in 12 draws, where 10 were wanted"):
        count.add([12, 0], 12)


@pytest.mark.parametrize("n", [50, 200, 250, 1000, 100_000, 1_000_000])
def test_looks_increase_and_end_at_n(n):
    looks = default_looks(n)
    assert looks[-1] == n and list(looks) == sorted(set(looks))
    assert sum(Rule("grid", sigma=1, n0=10, n=n, alpha=0.001).levels) == pytest.approx(0.001, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "best"}, "mode is 'best': choose from fixed, grid, radius"),
        ({"sigma": 0}, "sigma is 0: a smoothed classifier needs noise"),
        ({"alpha": 0}, "alpha is 0: must be above 0 and below 1"),
        ({"n0": 0}, "n0 is 0: must be at least 1"),
        ({"radii": (0.5, -1)}, "radii has -1: must be 0 or above"),
        ({"looks": (200, 200, 1000)}, "looks are 200, 200, 1000: must increase from above 0 to n = 1000"),
        ({"looks": (200, 900)}, "looks are 200, 900: must increase from above 0 to n = 1000"),
        ({"mode": "fixed", "label_aware": True}, "label_aware goes with mode grid, not fixed"),
        ({"tolerance": 1}, "tolerance is 1: must be above 0 and below 1"),
    ],
)
def test_bad_rules_are_one_line(changes, said):
    fields = {"mode": "grid", "sigma": 0.5, "n0": 10, "n": 1000, "alpha": 0.01} | changes
    with pytest.raises(BadInput, match=said):
        Rule(**fields)


def test_radii_round_down():
    assert certified_radius(0.9, 0.5) < 0.5 * stats.norm.ppf(0.9)
    assert certified_radius(0.9, 0.5) == pytest.approx(0.5 * stats.norm.ppf(0.9), rel=1e-12)
