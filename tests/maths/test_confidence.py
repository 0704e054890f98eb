import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from steps.maths.confidence import interval, lower_bound

CASES = [(0, 10), (1, 10), (5, 10), (9, 10), (10, 10), (990, 1000), (99_999, 100_000), (100_000, 100_000)]


@pytest.mark.parametrize(("successes", "draws"), CASES)
def test_bounds_agree_with_scipy_and_statsmodels(successes, draws):
    test = stats.binomtest(successes, draws, alternative="greater")
    expected = test.proportion_ci(0.999, method="exact").low
    assert lower_bound(successes, draws, 0.001) == pytest.approx(expected, abs=1e-12)
    assert interval(successes, draws) == pytest.approx(
        proportion_confint(successes, draws, alpha=0.05, method="beta"), abs=1e-12
    )


@pytest.mark.parametrize(
    ("successes", "draws", "alpha", "named"),
    [
        (-1, 10, 0.1, "-1"),
        (11, 10, 0.1, "11"),
        (0, 0, 0.1, "0 draws"),
        (1, 2, 0.0, "alpha"),
        (1, 2, 1.0, "alpha"),
    ],
)
def test_values_out_of_range_are_refused(successes, draws, alpha, named):
    with pytest.raises(ValueError, match=named):
        lower_bound(successes, draws, alpha)
