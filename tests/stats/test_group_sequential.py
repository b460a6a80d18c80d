import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from stats.group_sequential import alpha_spent, bounds, crossing, drift_for, inflation

FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]


def test_the_bounds_are_the_published_ones():
    # Lan-DeMets spending like O'Brien-Fleming, two-sided .05, five equal looks: Reboussin et al. 2000, program ld98
    assert bounds(FIFTHS) == pytest.approx((4.8769, 3.3569, 2.6803, 2.2898, 2.0310), abs=2e-4)
    assert bounds([1.0]) == pytest.approx((1.959964,), abs=1e-6)


@pytest.mark.parametrize(("n_looks", "constant"), [(2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040), (10, 2.087)])
def test_obrien_and_flemings_own_constants_spend_five_per_cent(n_looks, constant):
    fractions = [k / n_looks for k in range(1, n_looks + 1)]  # Jennison & Turnbull 2000, table 2.3
    found = crossing([constant / np.sqrt(t) for t in fractions], fractions)
    assert (found.upper + found.lower).sum() == pytest.approx(0.05, abs=2e-4)


def test_three_looks_are_those_of_the_multivariate_normal():
    levels, fractions, drift = [2.6, 2.3, 2.0], np.array([0.3, 0.55, 1.0]), 1.7
    order = np.minimum.outer(fractions, fractions) / np.sqrt(np.outer(fractions, fractions))
    inside = multivariate_normal(drift * np.sqrt(fractions), order).cdf(levels, lower_limit=-np.array(levels))
    found = crossing(levels, fractions, drift=drift)
    assert 1 - (found.upper + found.lower).sum() == pytest.approx(inside, abs=1e-4)
    assert found.upper[0] == pytest.approx(norm.sf(2.6 - drift * np.sqrt(0.3)))


@given(st.lists(st.integers(2, 40), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None)
def test_looks_at_any_times_spend_exactly_alpha(steps):
    times = np.cumsum(steps)
    found = crossing(bounds(times / times[-1]), times / times[-1])
    assert (found.upper + found.lower).sum() == pytest.approx(0.05, abs=1e-5)


def test_a_last_look_that_comes_early_may_spend_what_is_left():
    early = [0.2, 0.5]
    last = bounds(early, is_last=True)
    assert last[0] == bounds(early)[0] and last[1] < bounds(early)[1]
    found = crossing(last, early)
    assert (found.upper + found.lower).sum() == pytest.approx(0.05, abs=1e-6)


def test_more_information_than_planned_spends_no_more():
    found = crossing(bounds([0.5, 1.1]), [0.5, 1.1])
    assert (found.upper + found.lower).sum() == pytest.approx(0.05, abs=1e-6)
    assert alpha_spent(1.1) == pytest.approx(0.05)


def test_five_looks_cost_three_per_cent_more_units_at_most():
    assert inflation(0.8, 1) == pytest.approx(1)
    assert inflation(0.8, 5) == pytest.approx(1.025, abs=0.003)  # 1.028 for O'Brien-Fleming's own bounds
    found = crossing(bounds(FIFTHS), FIFTHS, drift=drift_for(0.8, 5))
    assert found.upper.sum() == pytest.approx(0.8, abs=1e-9) and found.lower.sum() < 1e-5


def test_looks_that_do_not_move_on_are_refused():
    with pytest.raises(ValueError, match="rise"):
        bounds([0.5, 0.5])
    with pytest.raises(ValueError, match="got 1 and 2"):
        crossing([2.0], [0.5, 1.0])
