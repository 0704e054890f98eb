import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from scipy import stats

from pagoda.errors import BadInput
from pagoda.maths.certification import ABSTAIN, LOOKS, Count, Rule, certified_radius, default_looks, enough_draws

TRUE = (0.5, 0.69, 0.9, 0.99, 0.999, 0.9999)
"""Probabilities of the top class."""


@dataclass(frozen=True)
class Greedy(Rule):
    """Looks again and again at the whole alpha: what a sequential test must not do."""

    @cached_property
    def schedule(self):
        return tuple((look, self.alpha) for look, _ in super().schedule)


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


def test_that_test_catches_a_rule_that_spends_alpha_at_every_look():
    repetitions, alpha = 600, 0.05
    rule = Greedy("grid", sigma=0.5, n0=50, n=2000, alpha=alpha, radii=(0.15,), looks=tuple(range(100, 2001, 100)))
    worst = max(wrong_rate(rule, p, repetitions) for p in (0.62, 0.69))
    assert worst > alpha + 3 * math.sqrt(alpha * (1 - alpha) / repetitions)


def reference(rule: Rule, hits: list[int]) -> tuple[int, float]:
    """Draws used and lower bound of grid mode, written down plainly with scipy.stats; `hits` by look."""
    looks, n = [look for look, _ in rule.schedule], rule.n
    levels = [rule.alpha / 2 / (len(looks) - 1)] * (len(looks) - 1) + [rule.alpha / 2]
    thresholds = [stats.norm.cdf(radius / rule.sigma) for radius in sorted({0, *rule.radii})]
    low, high, beta = 0.0, 1.0, 0.01 / len(looks)

    def lower(s, m, level):
        return stats.beta.ppf(level, s, m - s + 1) if s else 0.0

    for drawn, s, level in zip(looks, hits, levels, strict=True):
        low = max(low, lower(s, drawn, level))
        high = min(high, stats.beta.ppf(1 - beta, s + 1, drawn - s) if s < drawn else 1.0)
        if drawn == n:
            return drawn, low
        best = max(low, lower(s + stats.binom.ppf(1 - beta, n - drawn, high), n, levels[-1]))
        if sum(t <= low for t in thresholds) == sum(t <= best for t in thresholds):
            return drawn, low
    raise AssertionError


@pytest.mark.parametrize("p", TRUE)
def test_grid_mode_is_the_plain_algorithm(p):
    rule = Rule("grid", sigma=0.25, n0=100, n=20_000, alpha=0.001)
    for seed in range(5):
        random = np.random.default_rng(seed)
        looks = [look for look, _ in rule.schedule]
        hits = np.cumsum([random.binomial(b - a, p) for a, b in zip([0, *looks], looks, strict=False)])
        count = Count(rule, 2)
        count.add([60, 40], 100)
        for look, before, s, old in zip(looks, [0, *looks], hits, [0, *hits], strict=False):
            if count.certificate is None:
                count.add([int(s - old), int(look - before - (s - old))], look - before)
        drawn, low = reference(rule, list(hits))
        assert count.certificate.draws == drawn and count.certificate.lower == pytest.approx(low, rel=1e-9)


def test_grid_mode_certifies_the_radii_that_all_draws_would_with_far_fewer():
    random = np.random.default_rng(0)
    grid = Rule("grid", sigma=0.5, n0=100, n=100_000, alpha=0.001)
    fixed = replace(grid, mode="fixed")
    radii, used, differing = np.array(grid.radii), [], 0
    for p in random.beta(2, 0.2, size=100):  # most are sure, some are not
        some, all_draws = (draw(rule, p, random).certificate for rule in (grid, fixed))
        differing += (radii <= some.radius).sum() != (radii <= all_draws.radius).sum()
        used.append(some.draws)
    assert np.mean(used) < 100_000 / 5 and differing <= 3


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
    if n == 100_000:
        assert looks == LOOKS
    rule = Rule("grid", sigma=1, n0=10, n=n, alpha=0.001)
    assert sum(alpha for _, alpha in rule.schedule) == pytest.approx(0.001, rel=1e-12)


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
