import numpy as np
import pytest
from scipy.stats import binomtest

from stats.intervals import bootstrap_interval, resampled_sums, wilson, wilson_bounds, wilson_of_share


def test_wilson_gives_the_published_interval():
    interval = wilson(460, 500)  # 92 % of 500
    assert interval.estimate == pytest.approx(0.92)
    assert (interval.low, interval.high) == pytest.approx((0.8929, 0.9408), abs=5e-4)
    assert interval.n == 500
    assert wilson_of_share(0.92, 500) == pytest.approx((interval.low, interval.high))


def test_one_sided_bounds_are_those_of_the_one_sided_tests():
    low, high = wilson_bounds(46, 50)
    assert low == pytest.approx(binomtest(46, 50, alternative="greater").proportion_ci(0.95, "wilson").low)
    assert high == pytest.approx(binomtest(46, 50, alternative="less").proportion_ci(0.95, "wilson").high)
    assert low > wilson(46, 50).low


def test_without_rows_everything_is_possible():
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)
    assert np.isnan(wilson(0, 0).estimate)
    assert wilson_bounds(0, 0) == (0, 1)


def test_more_right_than_rows_is_refused():
    with pytest.raises(ValueError, match="got 5 of 4"):
        wilson(5, 4)


def test_bootstrap_of_single_rows_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap_interval(lambda rows: values[rows].mean(), np.arange(400), n_resamples=2000, seed=1)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_bootstrap_draws_whole_groups():
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    seen = []
    bootstrap_interval(lambda rows: seen.append(rows) or 0.0, groups, n_resamples=50)
    for rows in seen:
        n_drawn = np.bincount(rows, minlength=6)
        assert n_drawn[1] == n_drawn[4]
        assert n_drawn[0] == n_drawn[2] == n_drawn[5]
        assert n_drawn[0] + n_drawn[1] + n_drawn[3] == 3


def test_equal_rows_in_one_group_widen_the_interval():
    values = np.random.default_rng(0).normal(size=100).repeat(4)
    alone = bootstrap_interval(lambda rows: values[rows].mean(), np.arange(400), n_resamples=500)
    grouped = bootstrap_interval(lambda rows: values[rows].mean(), np.arange(400) // 4, n_resamples=500)
    assert grouped.high - grouped.low > 1.7 * (alone.high - alone.low)


def test_the_seed_decides_the_interval():
    def statistic(rows):
        return float(rows.mean())

    assert bootstrap_interval(statistic, np.arange(30), seed=3) == bootstrap_interval(statistic, np.arange(30), seed=3)
    assert bootstrap_interval(statistic, np.arange(30), seed=3) != bootstrap_interval(statistic, np.arange(30), seed=4)


def test_resamples_without_a_value_are_left_out():
    interval = bootstrap_interval(lambda rows: np.nan if 0 in rows else 1.0, np.arange(10), n_resamples=200)
    assert (interval.low, interval.high) == (1, 1)


def test_resampled_sums_have_the_moments_of_drawing_row_by_row():
    values = np.array([[1.0, 1], [0, 1], [0, 1], [-1, 2], [5, 3]])
    sums = resampled_sums(values, n_resamples=40_000, seed=0)
    assert sums.mean(axis=0) == pytest.approx(values.sum(axis=0), rel=0.02)
    assert np.cov(sums.T) == pytest.approx(5 * np.cov(values.T, bias=True), rel=0.05)


def test_resampled_sums_in_blocks_are_complete(monkeypatch):
    monkeypatch.setattr("stats.intervals.MAX_CELLS", 7)
    assert (resampled_sums(np.ones((4, 1)), n_resamples=10, seed=0) == 4).all()
