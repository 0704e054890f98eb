"""PREDICT: votes in, the smoothed classifier's class or an abstention out. No network, no noise.

Source: Cohen, Rosenfeld & Kolter 2019 (arXiv 1902.02918), algorithm PREDICT; Hung & Fithian 2019 for its test.
"""

import math
from collections.abc import Sequence

from pagoda.errors import BadInput
from pagoda.maths.certification import ABSTAIN, too_few


class Poll:
    """PREDICT of Cohen et al. 2019: `n` votes on an image, then its class or ABSTAIN. Used as `Count` is.

    With probability at least 1 - alpha it returns the smoothed classifier's class or abstains.
    """

    def __init__(self, n: int, alpha: float, classes: int):
        """Check the values, and begin with no votes."""
        if n < 1:
            raise BadInput(f"n is {n}: must be at least 1")
        if not 0 < alpha < 1:
            raise BadInput(f"alpha is {alpha:g}: must be above 0 and below 1")
        self.n, self.alpha, self.classes = n, alpha, classes
        self.votes, self.drawn = [0] * classes, 0

    @property
    def warning(self) -> str:
        """One line where n is too small for any prediction, else ""."""
        return too_few(self.n, math.ceil(1 - math.log2(self.alpha)), self.alpha)  # the p-value of n votes is 2^(1 - n)

    @property
    def ended(self) -> bool:
        """Whether nothing more is wanted."""
        return self.drawn == self.n

    def wanted(self) -> tuple[str, int, int]:
        """Return (phase, first, end), as `Count.wanted`."""
        return "predict", self.drawn, self.n

    def add(self, votes: Sequence[int], draws: int) -> None:
        """Take the classes' counts of the next `draws` draws."""
        self.votes = [old + new for old, new in zip(self.votes, votes, strict=True)]
        self.drawn += draws

    @property
    def p_value(self) -> float:
        """Of the two-sided binomial test that the two most frequent classes are equally likely."""
        from scipy.special import bdtrc  # imported late, as in `confidence`

        second, first = sorted(self.votes)[-2:]
        return min(1.0, 2 * float(bdtrc(first - 1, first + second, 0.5))) if first else 1.0

    @property
    def prediction(self) -> int:
        """The most frequent class, or ABSTAIN."""
        top = max(range(self.classes), key=self.votes.__getitem__)
        return top if self.p_value <= self.alpha else ABSTAIN
