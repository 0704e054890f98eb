import numpy as np
import pytest

from pagoda.maths.bootstrap import mean_interval


def test_the_interval_is_that_of_the_normal_distribution_where_there_are_many():
    values = np.random.default_rng(0).normal(3, 2, 400)
    mean, low, high, n = mean_interval(values, 10_000, 0)
    half = 1.96 * values.std(ddof=1) / 20
    assert (mean, n) == (values.mean(), 400)
    assert (low, high) == (pytest.approx(mean - half, abs=0.02), pytest.approx(mean + half, abs=0.02))
    assert mean_interval(values, 10_000, 0) == (mean, low, high, n) != mean_interval(values, 10_000, 1)


def test_undefined_values_are_left_out_and_one_image_has_no_interval():
    assert mean_interval(np.array([1.0, np.nan, 3.0, np.nan]), 100, 0)[0::3] == (2, 2)
    mean, low, high, n = mean_interval(np.array([0.25, np.nan]), 100, 0)
    assert (mean, n) == (0.25, 1) and np.isnan([low, high]).all()
    assert np.isnan(mean_interval(np.array([np.nan]), 100, 0)[0])
    assert mean_interval(np.full(5, 0.5), 100, 0) == (0.5, 0.5, 0.5, 5)
