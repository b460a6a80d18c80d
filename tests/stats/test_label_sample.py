import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.intervals import wilson
from stats.label_sample import chances_by_size, draw_label_sample, weighted_share


def test_chances_are_in_proportion_and_capped_at_one_by_hand():
    assert chances_by_size(np.array([1.0, 1, 2]), 2) == pytest.approx([0.5, 0.5, 1.0])
    assert chances_by_size(np.array([8.0, 1, 1, 0]), 2) == pytest.approx([1.0, 0.5, 0.5, 0])
    assert chances_by_size(np.array([0.0, 5.0]), 2) == pytest.approx([0, 1.0])
    assert chances_by_size(np.zeros(3), 2) == pytest.approx([0, 0, 0])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.integers(0, 70))
@settings(max_examples=50, deadline=None)
def test_chances_sum_to_what_is_asked(sizes, n):
    found = chances_by_size(np.array(sizes), n)
    assert found.sum() == pytest.approx(min(n, sum(size > 0 for size in sizes)))
    assert np.all((found >= 0) & (found <= 1))


@given(st.integers(0, 80), st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_every_row_comes_once_and_the_uniform_part_is_as_large_as_asked(m, n, seed):
    priority = np.random.default_rng(seed).gamma(0.3, 1, m)
    drawn = draw_label_sample(priority, n=n, seed=seed)
    assert len(set(drawn.rows.tolist())) == len(drawn.rows) <= max(n, 0)
    assert drawn.is_uniform.sum() == (m if m <= n else -(-n * 7 // 10))
    assert np.all((drawn.chance > 0) & (drawn.chance <= 1))


def test_rows_are_drawn_as_often_as_their_chance_says():
    priority = np.array([0.0] * 10 + [1.0] * 10 + [5.0] * 4)
    drawn = [draw_label_sample(priority, n=10, seed=seed) for seed in range(3000)]
    often = np.bincount(np.concatenate([one.rows for one in drawn]), minlength=24) / 3000
    chance = np.full(24, np.nan)
    for one in drawn:
        chance[one.rows] = one.chance
    assert often == pytest.approx(chance, abs=0.035)
    assert chance[0] == pytest.approx(7 / 24)


def test_weights_undo_the_preference_for_bad_rows():
    random = np.random.default_rng(0)
    priority = random.gamma(0.5, 1, 1000)
    right = random.random(1000) < np.where(priority > 1, 0.5, 0.95)
    found = [(right[one.rows], one.chance) for one in (draw_label_sample(priority, n=100, seed=s) for s in range(400))]
    weighted = [weighted_share(*one) for one in found]
    assert np.mean([one.estimate for one in weighted]) == pytest.approx(right.mean(), abs=0.01)
    assert np.mean([one.mean() for one, _ in found]) < right.mean() - 0.03
    assert np.mean([one.low <= right.mean() <= one.high for one in weighted]) >= 0.92


def test_equal_chances_give_the_plain_share():
    right = np.arange(50) < 46
    found = weighted_share(right, np.full(50, 1e-6))
    assert (found.estimate, found.n) == (pytest.approx(0.92), 50)
    assert (found.low, found.high) == pytest.approx((wilson(46, 50).low, wilson(46, 50).high), abs=1e-4)
    assert weighted_share(np.ones(50, bool), np.full(50, 0.1)).high == 1
    assert weighted_share(np.empty(0, bool), np.empty(0)).high == 1


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="at least 0"):
        draw_label_sample(np.array([-1.0]), n=1, seed=0)
    with pytest.raises(ValueError, match=r"got 0 and 0\.7"):
        draw_label_sample(np.ones(3), n=0, seed=0)
    with pytest.raises(ValueError, match="chance"):
        weighted_share(np.ones(2, bool), np.array([0.0, 1.0]))
