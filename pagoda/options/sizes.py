"""How many test pictures an experiment takes for what: sources of ascents, and what judges are fitted and tried on."""

import math
from dataclasses import dataclass

from pagoda.errors import BadInput
from pagoda.options.stages import AlignSection, AscendSection

SOURCES, FIT, HELD_OUT = 16, 8000, 1000
"""As many as are taken, at most, where an experiment does not say."""
PER_CLASS = 5  # pictures of each class that judges are fitted on, on average, at least
SPREAD = 3  # standard deviations by which classes may come in another order than most


@dataclass(frozen=True)
class Sizes:
    """Sources of each ascent; the last test pictures, on which judges are fitted; those before, that try them."""

    images: int
    judge_fit: int
    judge_held_out: int


def sizes(ascend: AscendSection, align: AlignSection, classes: int, test: int | None) -> Sizes:
    """Return the sizes of an experiment: as asked, and where it does not say, as its test pictures allow.

    Args:
        ascend: the section.
        align: the section.
        classes: how many there are.
        test: how many test pictures there are, in random order; None: not known.

    Raises:
        BadInput: where there are too few.

    """
    asked = (align.judge_fit, align.judge_held_out)
    if test is None:
        if None in asked:
            raise BadInput("align.judge_fit and judge_held_out follow from the number of test pictures: there are none")
        return Sizes(ascend.images or SOURCES, *asked)
    images = ascend.images or next((n for n in range(SOURCES, 1, -1) if _reach(n, classes, SPREAD) <= test / 2), 1)
    if None not in asked:
        left = test - _reach(images, classes, 0)
        if sum(asked) > left:
            raise BadInput(
                f"align.judge_fit {asked[0]} and judge_held_out {asked[1]} take {sum(asked)} test pictures: of {test} "
                f"there, {max(left, 0)} are left beside the sources of ascents (ascend.images, {images}, of other "
                f"classes: the first {test - left} or so); leave both out, and they are as many as there are"
            )
        return Sizes(images, *asked)
    left = test - _reach(images, classes, SPREAD)
    held_out = align.judge_held_out or min(HELD_OUT, left // 4 if asked[0] is None else left - asked[0])
    fit = align.judge_fit or min(FIT, left - held_out)
    if fit < PER_CLASS * classes or held_out < 1 or fit + held_out > left:
        least = _reach(images, classes, SPREAD) + math.ceil(PER_CLASS * classes * 4 / 3)
        raise BadInput(
            f"{test} test pictures of {classes} classes are too few: beside {images} sources of ascents "
            f"(ascend.images), judges want {PER_CLASS} of each class; {max(least, test + 1)} would do (dataset.split)"
        )
    return Sizes(images, fit, held_out)


def _reach(images: int, classes: int, spread: float) -> int:
    """Return how many pictures in random order hold `images` that are not of one class, give or take `spread`."""
    other = (classes - 1) / classes
    return math.ceil(images / other + spread * math.sqrt(images * (1 - other)) / other)
