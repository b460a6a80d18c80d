from functools import partial

import numpy as np
import pytest

from stats.classification import accuracy, macro_f1
from stats.paired import compare_right_wrong, difference_lower_bound, paired_difference


def answers(both_right, only_first, only_second, both_wrong):
    counts = [both_right, only_first, only_second, both_wrong]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_the_table_and_the_exact_p_value_are_those_worked_by_hand():
    first, second = answers(50, 2, 10, 38)
    comparison = compare_right_wrong(first, second, groups=np.arange(100), seed=0)
    assert (comparison.both_right, comparison.only_first, comparison.only_second, comparison.both_wrong) == (50, 2, 10,
                                                                                                             38)
    assert comparison.p_value == pytest.approx(2 * (1 + 12 + 66) / 2**12)  # P(at most 2 heads of 12), twice
    assert comparison.difference.estimate == pytest.approx(0.08)
    assert comparison.difference.low < 0.08 < comparison.difference.high


def test_the_interval_is_as_wide_as_theory_says():
    first, second = answers(800, 60, 100, 40)
    interval = compare_right_wrong(first, second, groups=np.arange(1000), seed=0).difference
    standard_error = np.sqrt((0.16 - 0.04**2) / 1000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.05)


def test_answers_that_never_differ_are_not_proven_equal():
    first, second = answers(40, 0, 0, 10)
    comparison = compare_right_wrong(first, second, groups=np.arange(50), seed=0)
    assert comparison.p_value == 1
    assert comparison.difference.estimate == 0
    assert comparison.difference.low < 0 < comparison.difference.high


def test_rows_of_one_group_are_drawn_together():
    first, second = answers(400, 60, 100, 40)
    alone = compare_right_wrong(first, second, groups=np.arange(600), seed=0).difference
    grouped = compare_right_wrong(first, second, groups=np.arange(600) // 10, seed=0).difference
    assert grouped.estimate == alone.estimate
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_the_lower_bound_is_one_sided():
    first, second = answers(50, 5, 15, 30)
    groups = np.arange(100)
    bound = difference_lower_bound(first, second, groups=groups, seed=0)
    interval = compare_right_wrong(first, second, groups=groups, seed=0).difference
    assert interval.low < bound < interval.estimate
    assert bound == pytest.approx(0.10 - 1.645 * np.sqrt((0.20 - 0.10**2) / 100), abs=0.015)


def test_the_lower_bound_is_rarely_above_a_true_loss_of_one_point():
    random = np.random.default_rng(0)
    n_above = 0
    for seed in range(200):
        second = random.random(150) < 0.99
        bound = difference_lower_bound(np.ones(150, bool), second, groups=np.arange(150), seed=seed, n_resamples=1000)
        n_above += bound > -0.01
    assert n_above <= 20


def test_the_seed_decides_the_interval():
    first, second = answers(50, 5, 15, 30)
    intervals = [compare_right_wrong(first, second, groups=np.arange(100) // 3, seed=seed, n_resamples=500)
                 for seed in (1, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_paired_difference_of_accuracy_agrees_with_the_table():
    first, second = answers(300, 20, 50, 30)
    gold = np.ones(400, dtype=int)
    interval = paired_difference(accuracy, gold, first.astype(int), second.astype(int), groups=np.arange(400), seed=0)
    table = compare_right_wrong(first, second, groups=np.arange(400), seed=0).difference
    assert interval.estimate == pytest.approx(table.estimate)
    assert interval.low == pytest.approx(table.low, abs=0.01)
    assert interval.high == pytest.approx(table.high, abs=0.01)


def test_paired_difference_of_macro_f1_finds_the_better_side():
    random = np.random.default_rng(0)
    gold = random.integers(0, 5, 500)
    first = np.where(random.random(500) < 0.6, gold, random.integers(0, 5, 500))
    second = np.where(random.random(500) < 0.8, gold, random.integers(0, 5, 500))
    metric = partial(macro_f1, labels=np.arange(5))
    interval = paired_difference(metric, gold, first, second, groups=np.arange(500), seed=0, n_resamples=500)
    assert interval.estimate == pytest.approx(metric(gold, second) - metric(gold, first))
    assert 0 < interval.low < interval.estimate < interval.high


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="got 2, 2 and 3"):
        compare_right_wrong(np.ones(2, bool), np.ones(2, bool), groups=np.arange(3), seed=0)
