import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.two_samples import median_difference, share_difference

NEWCOMBE = [  # table II of the paper, method 10: a of m against b of n
    ((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090), ((6, 7, 2, 7), 0.0582, 0.8062),
    ((5, 56, 0, 29), -0.0381, 0.1926), ((0, 10, 0, 20), -0.1611, 0.2775), ((0, 10, 0, 10), -0.2775, 0.2775),
    ((10, 10, 0, 20), 0.6791, 1.0), ((10, 10, 0, 10), 0.6075, 1.0),
]


@pytest.mark.parametrize(("counts", "low", "high"), NEWCOMBE)
def test_the_interval_is_the_papers(counts, low, high):
    found = share_difference(*counts)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.n == min(counts[1], counts[3])


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_the_other_way_round_is_the_same_interval_mirrored(k, m, j, n):
    first, second = share_difference(min(k, m), m, min(j, n), n), share_difference(min(j, n), n, min(k, m), m)
    assert (first.estimate, first.low, first.high) == pytest.approx((-second.estimate, -second.high, -second.low))
    assert -1 - 1e-9 <= first.low <= first.estimate <= first.high <= 1 + 1e-9


def test_of_an_empty_sample_nothing_is_known():
    found = share_difference(3, 4, 0, 0)
    assert math.isnan(found.estimate)
    assert (found.low, found.high, found.n) == (-1, 1, 0)


def test_more_right_than_there_are_is_refused():
    with pytest.raises(ValueError, match="5 of 4"):
        share_difference(5, 4, 0, 1)


def test_the_median_difference_is_that_of_the_samples():
    found = median_difference(np.array([7.0, 9.0, 8.0]), np.array([1.0, 3.0]), seed=0)
    assert found.estimate == 6.0
    assert found.n == 2
    assert 4.0 <= found.low <= 6.0 <= found.high <= 8.0


def test_equal_values_have_no_interval():
    found = median_difference(np.full(30, 5.0), np.full(20, 2.0), seed=0)
    assert (found.low, found.estimate, found.high) == (3.0, 3.0, 3.0)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 41])
def test_drawing_medians_directly_is_drawing_rows_and_taking_their_median(n):
    from stats.two_samples import _resampled_medians

    values = np.random.default_rng(n).lognormal(2, 1, n)
    ours = _resampled_medians(values, np.random.default_rng(1), 40_000)
    drawn = np.median(np.random.default_rng(2).choice(values, (40_000, n)), axis=1)
    scale = values.std() or 1.0
    for share in (0.1, 0.3, 0.7, 0.9):
        assert abs(np.mean(ours <= np.quantile(drawn, share)) - np.mean(drawn <= np.quantile(drawn, share))) < 0.02
    assert abs(ours.mean() - drawn.mean()) < 0.03 * scale


def test_an_empty_sample_has_no_median():
    with pytest.raises(ValueError, match="got 0 and 3"):
        median_difference(np.empty(0), np.ones(3), seed=0)
