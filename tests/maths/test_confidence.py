import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from pagoda.maths.confidence import difference_interval, interval, lower_bound

CASES = [(0, 10), (1, 10), (5, 10), (9, 10), (10, 10), (990, 1000), (99_999, 100_000), (100_000, 100_000)]


@pytest.mark.parametrize(("successes", "draws"), CASES)
def test_bounds_agree_with_scipy_and_statsmodels(successes, draws):
    test = stats.binomtest(successes, draws, alternative="greater")
    expected = test.proportion_ci(0.999, method="exact").low
    assert lower_bound(successes, draws, 0.001) == pytest.approx(expected, abs=1e-12)
    assert interval(successes, draws) == pytest.approx(
        proportion_confint(successes, draws, alpha=0.05, method="beta"), abs=1e-12
    )


@pytest.mark.parametrize(("first", "second"), [((300, 500), (50, 100)), ((0, 100), (220, 500)), ((7, 7), (1, 9))])
def test_the_interval_of_a_difference_agrees_with_statsmodels(first, second):
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert difference_interval(first, second) == pytest.approx(expected, abs=1e-9)


def error_rate(p, draws, at):
    """Return P(lower_bound at `at` > p) for successes ~ Bin(draws, p), exactly."""
    return sum(stats.binom.pmf(s, draws, p) for s in range(draws + 1) if lower_bound(s, draws, at) > p)


@pytest.mark.parametrize("p", [0.5, 0.69, 0.9, 0.99, 0.999])
def test_the_bound_is_wrong_with_probability_alpha_at_most(p):
    assert max(error_rate(p, draws, at=0.05) for draws in (20, 100, 400)) <= 0.05 + 1e-9


def test_a_bound_at_twice_alpha_is_caught():
    assert max(error_rate(p, 400, at=0.1) for p in (0.5, 0.69, 0.9)) > 0.07


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
