import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from pagoda.maths.confidence import difference_interval, interval, lower_bound, mean_interval

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


def test_the_interval_of_a_mean_agrees_with_scipy_and_leaves_out_what_is_undefined():
    values = np.random.default_rng(0).exponential(size=7)
    for coverage in (0.95, 0.99):
        expected = stats.ttest_1samp(values, 0).confidence_interval(coverage)
        assert mean_interval(np.append(values, np.nan), coverage) == pytest.approx((values.mean(), *expected, 7))


def test_one_value_and_values_all_the_same_have_no_interval():
    for values, mean, n in (([0.25, np.nan], 0.25, 1), ([0.35 - 0.3] * 8, 0.05, 8), ([0.0] * 8, 0, 8)):
        found = mean_interval(np.array(values))
        assert found[0::3] == (pytest.approx(mean), n) and np.isnan(found[1:3]).all()
    assert np.isnan(mean_interval(np.array([np.nan]))[:3]).all()


@pytest.mark.parametrize("n", [5, 8, 19])
def test_intervals_of_means_cover_as_often_as_they_say(n):
    random = np.random.default_rng(n)

    def covered(draws, mean):
        return np.mean([low <= mean <= high for _, low, high, _ in map(mean_interval, draws)])

    normal, uniform = (random.normal(size=(4000, n)), 0), (random.uniform(-1, 1, size=(4000, n)), 0)
    assert covered(*normal) >= 0.94 and covered(*uniform) >= 0.93
    # Skewed ones less often: 0.89, 0.90 and 0.92 of the time.
    assert covered(random.exponential(size=(4000, n)), 1) == pytest.approx(
        {5: 0.886, 8: 0.897, 19: 0.918}[n], abs=0.015
    )
