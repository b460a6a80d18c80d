import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from stats.kappa import cohen_kappa, kappa_interval


def test_half_of_what_chance_leaves():
    # both say 0 and 1 equally often; 75 % agree, chance gives 50 %
    assert cohen_kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), n_labels=2) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40))
def test_it_is_the_librarys(said):
    first, second = np.array(said).T
    mine = cohen_kappa(first, second, n_labels=3)
    if len(set(first) | set(second)) > 1:
        assert mine == pytest.approx(cohen_kappa_score(first, second))
    else:
        assert math.isnan(mine)


def test_the_interval_of_a_coin_holds_zero_and_that_of_a_friend_does_not():
    random = np.random.default_rng(0)
    first, coin = random.integers(0, 3, (2, 200))
    friend = np.where(random.random(200) < 0.7, first, coin)
    groups = np.arange(200)
    assert kappa_interval(first, coin, n_labels=3, groups=groups).low < 0
    assert 0.5 < kappa_interval(first, friend, n_labels=3, groups=groups).low < 0.7


def test_rows_of_one_group_are_one_piece_of_evidence():
    first, second = np.repeat([0, 1, 1, 0, 1, 0, 1, 1], 10), np.repeat([0, 1, 0, 0, 1, 1, 1, 1], 10)
    alone = kappa_interval(first, second, n_labels=2, groups=np.arange(80))
    grouped = kappa_interval(first, second, n_labels=2, groups=np.repeat(np.arange(8), 10))
    assert alone.estimate == grouped.estimate and grouped.low < alone.low


def test_nothing_is_undefined():
    assert math.isnan(kappa_interval(np.array([], int), np.array([], int), n_labels=3, groups=np.array([])).estimate)
