"""Sources and judges: as asked, or as the test pictures allow."""

import numpy as np
import pytest

from pagoda.errors import BadInput
from pagoda.options.sizes import Sizes, sizes
from pagoda.options.stages import AlignSection, AscendSection


def sized(classes: int, test: int | None, **asked) -> Sizes:
    views = [{"model": "standard", "sigma": 0}]
    images = {"images": asked.pop("images")} if "images" in asked else {}
    return sizes(AscendSection(views=views, epsilon=[2], **images), AlignSection(**asked), classes, test)


@pytest.mark.parametrize(("classes", "test"), [(2, 40), (2, 200), (10, 150), (10, 10_000), (1000, 50_000)])
def test_judges_do_without_the_sources_in_whatever_order_classes_come(classes, test):
    found = sized(classes, test)
    assert 1 <= found.images <= 16 and found.judge_fit >= 5 * classes and found.judge_held_out >= 1
    random = np.random.default_rng(0)
    for _ in range(200):
        labels = random.permutation(np.arange(test) % classes)
        reached = max(np.flatnonzero(labels != target)[found.images - 1] for target in range(min(classes, 3)))
        assert reached < test - found.judge_fit - found.judge_held_out


def test_large_sets_give_what_was_always_enough_and_what_is_asked_for_is_given():
    assert sized(10, 10_000) == Sizes(16, 8000, 1000)
    assert sized(10, 359, images=16, judge_fit=200, judge_held_out=59) == Sizes(16, 200, 59)
    assert sized(2, None, judge_fit=200, judge_held_out=59) == Sizes(16, 200, 59)


@pytest.mark.parametrize(
    ("classes", "test", "asked", "said"),
    [
        (2, 40, {"images": 16, "judge_fit": 10, "judge_held_out": 2}, "of 40 there, 8 are left .*the first 32 or so"),
        (2, 4, {}, "4 test pictures of 2 classes are too few: beside 1 sources .*want 5 of each class; 21 would do"),
        (2, 40, {"judge_fit": 38}, "40 test pictures of 2 classes are too few"),
        (2, None, {"judge_fit": 38}, "follow from the number of test pictures"),
    ],
)
def test_too_few_are_refused_with_how_many_would_do(classes, test, asked, said):
    with pytest.raises(BadInput, match=said):
        sized(classes, test, **asked)
