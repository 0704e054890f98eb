"""How many draws a certificate takes: three modes, one guarantee. Counts in, a decision out; no network, no noise.

A certificate names a class and a lower bound L of its probability p under noise; P(L > p) <= alpha, whatever the data.

- ``fixed``: CERTIFY of Cohen, Rosenfeld & Kolter 2019 (arXiv 1902.02918): n draws, one Clopper-Pearson bound.
- ``grid``: the radii of interest are given, and drawing stops when no further draw could decide another of them
  (up to a chance `FUTILITY`, which costs power, never soundness). A group-sequential test: the looks and their shares
  of alpha are frozen before the first draw and add up to alpha, so the bound holds whenever drawing stops.
- ``radius``: a pilot picks the class and an n that gives nearly the radius of the largest n; then n fresh draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

from pagoda.errors import BadInput
from pagoda.maths.confidence import lower_bound, upper_bound

ABSTAIN = -1
MODES = ("fixed", "grid", "radius")
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Radii of the published tables, in pixel values."""
LOOKS = (200, 300, 400, 700, 1000, 1500, 2300, 3400, 5100, 7700, 11500, 17300, 25900, 38900, 58400, 100000)
"""Draws after which grid mode looks, for n = 100,000."""
FUTILITY = 0.01
"""Chance, over all looks, to stop an image that might still have reached another radius."""


def default_looks(n: int) -> tuple[int, ...]:
    """Return the looks of grid mode for at most `n` draws: about half as many again each time, `n` the last."""
    looks = list(LOOKS[:-1])
    while looks[-1] < n:
        looks.append(math.ceil(looks[-1] * 1.5 / 100) * 100)
    return (*(look for look in looks if look <= n / 1.3), n)


@dataclass(frozen=True)
class Rule:
    """How images are certified: frozen before the first draw.

    Args:
        mode: one of MODES.
        sigma: standard deviation of the noise, in pixel values, > 0.
        n0: draws that select the class, >= 1 (radius mode: the pilot's).
        n: draws that bound its probability, at most, >= 1.
        alpha: chance that a certificate is wrong, in (0, 1).
        radii: of interest in grid mode, in pixel values, >= 0; 0 always is.
        looks: draws after which grid mode looks, increasing, the last n; () is `default_looks(n)`.
        label_aware: in grid mode, do not certify an image whose selected class is not its label.
        tolerance: in radius mode, the share of the radius that n draws would give which may be lost, in (0, 1).

    Raises:
        BadInput: for values outside these ranges.

    """

    mode: str
    sigma: float
    n0: int
    n: int
    alpha: float
    radii: tuple[float, ...] = RADII
    looks: tuple[int, ...] = ()
    label_aware: bool = False
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        """Check the values."""
        if self.mode not in MODES:
            raise BadInput(f"mode is {self.mode!r}: choose from {', '.join(MODES)}")
        if not 0 < self.sigma < math.inf:
            raise BadInput(f"sigma is {self.sigma:g}: a smoothed classifier needs noise, sigma > 0")
        if not 0 < self.alpha < 1:
            raise BadInput(f"alpha is {self.alpha:g}: must be above 0 and below 1")
        for name in ("n0", "n"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}: must be at least 1")
        if bad := [radius for radius in self.radii if not 0 <= radius < math.inf]:
            raise BadInput(f"radii has {bad[0]:g}: must be 0 or above")
        if not 0 < self.tolerance < 1:
            raise BadInput(f"tolerance is {self.tolerance:g}: must be above 0 and below 1")
        steps = (0, *self.looks)
        if self.looks and (any(a >= b for a, b in pairwise(steps)) or self.looks[-1] != self.n):
            raise BadInput(f"looks are {', '.join(map(str, self.looks))}: must increase from above 0 to n = {self.n}")
        if self.label_aware and self.mode != "grid":
            raise BadInput(f"label_aware goes with mode grid, not {self.mode}")

    @cached_property
    def schedule(self) -> tuple[tuple[int, float], ...]:
        """The looks of grid mode, each with its share of alpha; half of it is the last look's."""
        looks = self.looks or default_looks(self.n)
        if len(looks) == 1:
            return ((looks[0], self.alpha),)
        early = self.alpha / 2 / (len(looks) - 1)
        return (*((look, early) for look in looks[:-1]), (looks[-1], self.alpha / 2))

    @cached_property
    def thresholds(self) -> tuple[float, ...]:
        """The probabilities Phi(radius / sigma) that certify the radii of interest, increasing."""
        from scipy.special import ndtr  # imported late, as in `confidence`

        return tuple(float(ndtr(radius / self.sigma)) for radius in sorted({0.0, *self.radii}))

    @property
    def ceiling(self) -> float:
        """The largest radius that any image can get: that of n hits in n draws."""
        alpha = self.schedule[-1][1] if self.mode == "grid" else self.alpha
        return certified_radius(lower_bound(self.n, self.n, alpha), self.sigma)


@dataclass(frozen=True)
class Certificate:
    """What is certified of one image.

    `prediction` is a class number or ABSTAIN; `radius` is L2, in pixel values, 0 where it abstains; `successes` of
    `draws` fresh draws hit the class selected, and `lower` bounds that class's probability from below. `stop` says
    why drawing ended: "n" (all draws made), "decided" (no radius of interest is open), "skipped" (label-aware: not its
    label), "tolerance" (the pilot's n draws made).
    """

    prediction: int
    radius: float
    successes: int
    draws: int
    lower: float
    stop: str = "n"


class Count:
    """The votes of one image. Give it draws with `add` as `wanted` says; at the end it holds a `certificate`.

    Args:
        rule: how to certify.
        classes: how many there are.
        label: the image's, for label-aware rules.

    """

    def __init__(self, rule: Rule, classes: int, label: int = ABSTAIN):
        """Begin with the selection."""
        self.rule, self.classes, self.label = rule, classes, label
        self.phase, self.drawn, self.upto = "select", 0, rule.n0
        self.votes, self.selected = [0] * classes, ABSTAIN
        self.lower, self.upper = 0.0, 1.0
        self.certificate: Certificate | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is wanted."""
        return self.certificate is not None

    def wanted(self) -> tuple[str, int, int]:
        """Return (phase, first, end): the draws [first, end) of a phase to be made next, each once and in order."""
        return self.phase, self.drawn, self.upto

    def add(self, votes: Sequence[int], draws: int) -> None:
        """Take the classes' counts of the next `draws` draws, and decide where a look is reached."""
        self.votes = [old + new for old, new in zip(self.votes, votes, strict=True)]
        self.drawn += draws
        if self.drawn > self.upto or sum(self.votes) != self.drawn:
            raise ValueError(f"{sum(self.votes)} votes in {self.drawn} draws, where {self.upto} were wanted")
        if self.drawn == self.upto:
            self._select() if self.phase == "select" else self._look()

    def _select(self) -> None:
        self.selected = max(range(self.classes), key=self.votes.__getitem__)
        hits, rule = self.votes[self.selected], self.rule
        # The selection's draws are thrown away: the bound counts fresh ones alone.
        self.phase, self.drawn, self.votes = "estimate", 0, [0] * self.classes
        if rule.label_aware and self.selected != self.label:
            self.certificate = Certificate(ABSTAIN, 0.0, 0, 0, 0.0, "skipped")
        elif rule.mode == "grid":
            self.upto = rule.schedule[0][0]
        else:
            self.upto = rule.n if rule.mode == "fixed" else enough_draws(hits, rule)

    def _look(self) -> None:
        rule, hits = self.rule, self.votes[self.selected]
        if rule.mode != "grid":
            lower = lower_bound(hits, self.drawn, rule.alpha)
            self._end(lower, "n" if self.drawn == rule.n else "tolerance")
            return
        number, alpha = next((k, a) for k, (look, a) in enumerate(rule.schedule) if look == self.drawn)
        futility = FUTILITY / len(rule.schedule)
        self.lower = max(self.lower, lower_bound(hits, self.drawn, alpha))
        self.upper = min(self.upper, upper_bound(hits, self.drawn, futility))
        if self.drawn == rule.n:
            self._end(self.lower, "n")
        elif _reached(self.lower, rule) == _reached(self._best_case(hits, futility), rule):
            self._end(self.lower, "decided")
        else:
            self.upto = rule.schedule[number + 1][0]

    def _best_case(self, hits: int, futility: float) -> float:
        """Return the lower bound after all n draws, should the rest of them go as well as can be expected."""
        from scipy.special import bdtrik

        left = self.rule.n - self.drawn
        more = left if self.upper >= 1 else min(left, math.ceil(bdtrik(1 - futility, left, self.upper)))
        return max(self.lower, lower_bound(hits + more, self.rule.n, self.rule.schedule[-1][1]))

    def _end(self, lower: float, stop: str) -> None:
        hits, drawn = self.votes[self.selected], self.drawn
        selected, radius = ABSTAIN, 0.0
        if lower > 0.5:
            selected, radius = self.selected, certified_radius(lower, self.rule.sigma)
        self.certificate = Certificate(selected, radius, hits, drawn, lower, stop)


def _reached(lower: float, rule: Rule) -> int:
    return sum(threshold <= lower for threshold in rule.thresholds)


@cache
def enough_draws(hits: int, rule: Rule) -> int:
    """Return the least n, a multiple of 100, whose radius is within `rule.tolerance` of that of `rule.n` draws.

    Both as the pilot's `hits` of `rule.n0` draws let expect. The choice affects only how large a radius is certified:
    the bound comes from fresh draws.
    """
    p = hits / rule.n0

    def radius(n: int) -> float:
        lower = lower_bound(math.floor(p * n), n, rule.alpha)
        return certified_radius(lower, rule.sigma) if lower > 0.5 else 0.0

    aim = (1 - rule.tolerance) * radius(rule.n)
    low, high = 0, -(-rule.n // 100)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if radius(100 * middle) >= aim else (middle, high)
    return min(100 * high, rule.n)


def certified_radius(lower: float, sigma: float) -> float:
    """Return the L2 radius sigma * Phi^-1(lower) of theorem 1, one float below its rounded value: never above it.

    `lower` bounds the top class's probability from below, in (1/2, 1]; at 1 the radius is infinite.
    """
    from scipy.special import ndtri  # imported late, as in `confidence`

    return max(0.0, math.nextafter(float(sigma * ndtri(lower)), -math.inf))
