import numpy as np
import pytest

from stats.prediction_powered import mean_interval, prediction_powered_mean

N = np.nan


def test_a_machine_that_is_always_right_moves_the_mean_to_what_it_says_of_the_others():
    people, machine = np.array([1, 0, N, N]), np.array([1.0, 0, 1, 1])
    found = prediction_powered_mean(people, machine, groups=np.arange(4))
    # cov = 1/4; var of all four = 3/16; λ = (1/4) / (3/16 x 2) = 2/3; mean = 1/2 + 2/3 (1 - 1/2)
    assert found.weight == pytest.approx(2 / 3) and found.interval.estimate == pytest.approx(5 / 6)


def test_a_machine_that_says_one_thing_or_the_opposite_gets_no_weight():
    people = np.array([1, 1, 0, 1, N, N, N])
    for machine in (np.full(7, 0.5), np.array([0, 0, 1, 0, 1.0, 0, 1])):
        found = prediction_powered_mean(people, machine, groups=np.arange(7))
        assert (found.weight, found.interval.estimate) == (0, 0.75)


def test_where_people_were_asked_about_all_the_machine_does_not_count():
    people = np.array([1, 0, 0.5, 1])
    found = prediction_powered_mean(people, np.array([0.0, 0, 1, 1]), groups=np.arange(4))
    assert (found.weight, found.interval.estimate) == (0, 0.625)


def test_known_rows_count_by_their_share():
    people, known = np.array([1, N, N, N]), np.array([N, N, 0.5, 0])
    found = prediction_powered_mean(people, np.zeros(4), groups=np.arange(4), known=known)
    assert found.interval.estimate == pytest.approx((2 * 1 + 0.5 + 0) / 4)


def test_with_known_rows_alone_nobody_has_to_be_asked():
    known = np.array([0.5, 0.5, 1])
    found = prediction_powered_mean(np.full(3, N), np.zeros(3), groups=np.arange(3), known=known)
    assert found.interval.estimate == pytest.approx(2 / 3)


def test_a_machine_that_never_erred_is_not_taken_for_infallible():
    people, machine = np.full(1000, N), np.tile([1.0, 0], 500)
    people[:100] = machine[:100]
    interval = prediction_powered_mean(people, machine, groups=np.arange(1000)).interval
    assert 0.075 < interval.high - interval.low < mean_interval(people[:100], groups=np.arange(100)).high - 0.4


def test_all_won_is_not_certain():
    interval = mean_interval(np.ones(30), groups=np.arange(30))
    assert interval.estimate == interval.high == 1 and interval.low < 0.95


def test_rows_of_one_group_are_one_piece_of_evidence():
    values = np.repeat([1.0, 0, 1, 1, 0, 1, 0, 1, 1, 0], 10)
    alone, grouped = (mean_interval(values, groups=groups) for groups in (np.arange(100), np.repeat(np.arange(10), 10)))
    assert alone.estimate == grouped.estimate and grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one value per row"):
        prediction_powered_mean(np.ones(2), np.ones(3), groups=np.arange(2))
    with pytest.raises(ValueError, match="no row has a value from people"):
        prediction_powered_mean(np.full(2, N), np.ones(2), groups=np.arange(2))
