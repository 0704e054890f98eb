"""How many draws a certificate takes: three modes, one guarantee. Counts in, a decision out; no network, no noise.

A certificate names a class and a lower bound L of its probability p under noise; P(L > p) <= alpha, whatever the data.

- ``fixed``: CERTIFY of Cohen, Rosenfeld & Kolter 2019 (arXiv 1902.02918): n draws, one Clopper-Pearson bound.
- ``grid``: the radii of interest are given, and drawing stops when no further draw could decide another of them, up to
  a chance FUTILITY. An e-process may reject each radius's threshold at every look; it has the share EARLY of alpha, and
  a Clopper-Pearson bound after all n draws has the rest. Why L holds whenever drawing stops: `pagoda.maths.sequential`.
- ``radius``: a pilot picks the class and an n that gives nearly the radius of the largest n; then n fresh draws.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

from pagoda.errors import BadInput
from pagoda.maths.confidence import lower_bound
from pagoda.maths.sequential import anytime_lower_bound, chance_of, rejects

ABSTAIN = -1
MODES = ("fixed", "grid", "radius")
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Radii of the published tables, in pixel values."""
EARLY = 0.2
"""Share of alpha that grid mode's looks before the last have together; the Clopper-Pearson bound has the rest."""
FUTILITY = 0.03
"""Grid mode stops where another radius would be reached with a smaller chance: this costs power, never soundness."""


def default_looks(n: int) -> tuple[int, ...]:
    """Return the looks of grid mode for at most `n` draws: hundreds, about a fifteenth more each time, `n` the last."""
    looks = [100]
    while looks[-1] < n:
        looks.append(math.ceil(looks[-1] * 1.07 / 100) * 100)
    return (*(look for look in looks if look <= n / 1.03), n)


@dataclass(frozen=True)
class Goal:
    """A radius of interest, in pixel values: the probability that certifies it, and how many of n hits would."""

    radius: float
    probability: float
    hits: int


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
    def schedule(self) -> tuple[int, ...]:
        """The looks of grid mode."""
        return self.looks or default_looks(self.n)

    @property
    def levels(self) -> tuple[float, float]:
        """The shares of alpha of grid mode: of the e-process, at any look, and of the bound after n draws."""
        early = EARLY if len(self.schedule) > 1 else 0.0
        return early * self.alpha, (1 - early) * self.alpha

    @cached_property
    def goals(self) -> tuple[Goal, ...]:
        """The radii of interest, increasing, with the probabilities Phi(radius / sigma), rounded up."""
        from scipy.special import ndtr  # imported late, as in `confidence`

        goals = []
        for radius in sorted({0.0, *self.radii}):
            p = float(ndtr(radius / self.sigma)) * (1 + 1e-15)
            hits = bisect_left(range(self.n + 1), p, key=lambda s: lower_bound(s, self.n, self.levels[1]))
            goals.append(Goal(radius, p, hits))
        return tuple(goals)

    def rejects(self, goal: Goal, hits: int, draws: int) -> bool:
        """Tell whether `hits` of `draws`, a look of grid mode, say that the probability is above a goal's."""
        return self.levels[0] > 0 and rejects(goal.probability, hits, draws, self.levels[0])

    def bound(self, hits: int, draws: int) -> float:
        """Return the lower bound that `hits` of `draws` give: of grid mode at a look, else of Clopper and Pearson."""
        if self.mode != "grid":
            return lower_bound(hits, draws, self.alpha)
        early, last = self.levels
        anytime = anytime_lower_bound(hits, draws, early) if early else 0.0
        return max(anytime, lower_bound(hits, draws, last)) if draws == self.n else anytime

    @property
    def warning(self) -> str:
        """One line where n is too small for any certificate, else ""."""
        level = self.levels[1] if self.mode == "grid" else self.alpha
        return too_few(self.n, math.floor(-math.log2(level)) + 1, self.alpha)  # n hits bound p by level^(1/n)

    @property
    def ceiling(self) -> float:
        """The largest radius that any image can get: that of n hits in n draws."""
        lower = self.bound(self.n, self.n)
        return certified_radius(lower, self.sigma) if lower > 0.5 else 0.0


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
        self.reached = 0  # of the rule's goals, in grid mode
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
            self.upto = rule.schedule[0]
        else:
            self.upto = rule.n if rule.mode == "fixed" else enough_draws(hits, rule)

    def _look(self) -> None:
        rule, hits, reached = self.rule, self.votes[self.selected], []
        if rule.mode == "grid":
            while self.reached < len(rule.goals) and rule.rejects(rule.goals[self.reached], hits, self.drawn):
                self.reached += 1
            reached = rule.goals[: self.reached][-1:]
            if self.drawn < rule.n and self._is_open(hits):
                self.upto = rule.schedule[bisect_right(rule.schedule, self.drawn)]
                return
        lower = max(rule.bound(hits, self.drawn), *(goal.probability for goal in reached), 0.0)
        selected, radius = ABSTAIN, 0.0
        if lower > 0.5:
            # A goal's probability is rounded up, so that its radius holds as it stands.
            selected = self.selected
            radius = max(certified_radius(lower, rule.sigma), *(goal.radius for goal in reached), 0.0)
        stop = "n" if self.drawn == rule.n else {"grid": "decided", "radius": "tolerance"}[rule.mode]
        self.certificate = Certificate(selected, radius, hits, self.drawn, lower, stop)

    def _is_open(self, hits: int) -> bool:
        """Whether the rest of the draws may yet reach another goal. The next one is the nearest."""
        if self.reached == len(self.rule.goals):
            return False
        more, left = self.rule.goals[self.reached].hits - hits, self.rule.n - self.drawn
        return chance_of(more, left, hits, self.drawn) >= FUTILITY


def too_few(n: int, smallest: int, alpha: float) -> str:
    """Return one line where `n` is below the smallest that can decide at `alpha`, else ""."""
    few = f"n is {n}: at alpha {alpha:g} all images abstain; the smallest n that can decide is {smallest}"
    return few if n < smallest else ""


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
