import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.pace import MAX_DAYS, forecast, too_fast, typical_seconds


def test_a_typical_answer_is_the_median_without_the_ends_and_without_breaks():
    assert typical_seconds([10.0] * 19 + [9000.0]) == 10
    assert typical_seconds([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) == 6


def test_few_times_are_no_pace():
    assert typical_seconds([5.0] * 9) is None
    assert typical_seconds([9000.0] * 30) is None, "an hour and more is a break"


def test_even_days_have_a_sharp_end():
    found = forecast([10] * 13, 95)
    assert (found.low, found.days, found.high) == (10, 10, 10)


def test_days_off_are_in_the_range():
    found = forecast([20, 0] * 7, 100)
    assert found.low < found.days < found.high and 8 <= found.days <= 12


@pytest.mark.parametrize(("daily", "n_left"), [([], 5), ([0, 0, 7, 9], 5), ([3, 3, 3], 0)])
def test_too_few_days_foretell_nothing(daily, n_left):
    assert forecast(daily, n_left) is None


def test_an_end_beyond_two_years_is_not_told():
    assert forecast([1, 1, 1], 100_000).is_beyond
    assert forecast([1, 1, 1], 100_000).high == MAX_DAYS


@given(st.lists(st.integers(1, 500), min_size=3, max_size=14), st.integers(1, 5000))
def test_the_range_holds_the_median_and_more_work_never_ends_earlier(daily, n_left):
    first, second = forecast(daily, n_left), forecast(daily, 2 * n_left)
    assert first.low <= first.days <= first.high <= MAX_DAYS
    assert second.days >= first.days


def test_too_fast_is_a_fifth_of_what_others_take():
    assert too_fast([1.0, 1.9, 2.0, 30.0], 10.0) == (2, 2.0)
    assert too_fast([0.4, 0.6], 1.0) == (1, 0.5)
    assert too_fast([1.0], None) is None
