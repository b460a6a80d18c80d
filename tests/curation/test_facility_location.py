import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curation.facility_location as module
from curation.facility_location import coverage, facility_location, shares_of, spread

NOBODY = np.zeros(0, dtype=np.intp)


def unit(n, d=6, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain_greedy(vectors, weights, size, chosen):
    """Every gain anew in every step."""
    similar = np.maximum(vectors.astype(float) @ vectors.T.astype(float), 0)
    rows, near = list(chosen), similar[chosen].max(axis=0, initial=0)
    for _ in range(size):
        gains = np.maximum(similar - near, 0) @ weights
        gains[rows] = -1
        rows.append(int(gains.argmax()))
        near = np.maximum(near, similar[rows[-1]])
    return rows[len(chosen):]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 120), st.integers(0, 10_000), st.integers(0, 3))
def test_lazy_choice_is_plain_greedy_choice(n, seed, n_chosen):
    random = np.random.default_rng(seed)
    vectors, weights = unit(n, seed=seed), random.random(n)
    chosen = random.choice(n, min(n_chosen, n - 1), replace=False)
    size = int(random.integers(1, n - len(chosen) + 1))
    found = facility_location(vectors, weights, size, chosen=chosen)
    value = np.maximum(vectors.astype(float) @ vectors.T.astype(float), 0)
    for rows in (found.rows, plain_greedy(vectors, weights, size, chosen)):  # equal but for ties within rounding
        assert len(set(rows)) == size and not set(rows) & set(chosen.tolist())
    totals = [float(value[[*chosen, *rows]].max(axis=0) @ weights)
              for rows in (found.rows.tolist(), plain_greedy(vectors, weights, size, chosen))]
    assert totals[0] == pytest.approx(totals[1], rel=1e-4)


def test_without_ties_the_rows_are_the_same_one_by_one():
    vectors, weights = unit(400, d=16), np.random.default_rng(1).random(400)
    assert facility_location(vectors, weights, 60, chosen=NOBODY).rows.tolist() == plain_greedy(
        vectors, weights, 60, NOBODY)


def test_gains_fall_and_add_up_to_the_value():
    vectors, weights = unit(200), np.random.default_rng(2).random(200)
    found = facility_location(vectors, weights, 200, chosen=NOBODY)
    assert np.all(np.diff(found.gains) <= 1e-6)
    assert found.gains.sum() == pytest.approx(1, abs=1e-4)  # in the end each row stands for itself


def test_equal_gains_go_to_the_earlier_row():
    assert facility_location(np.zeros((5, 2)), np.ones(5), 3, chosen=np.array([1])).rows.tolist() == [0, 2, 3]


def test_many_rows_are_cut_into_shards_that_give_their_share(monkeypatch):
    vectors, weights = unit(600), np.ones(600)
    whole = spread(vectors, weights, 30, chosen=NOBODY, seed=0)
    for name, value in (("MAX_WHOLE", 500), ("SHARD", 150), ("MAX_FITTED", 400)):
        monkeypatch.setattr(module, name, value)
    cut = [spread(vectors, weights, 30, chosen=np.array([7]), seed=0) for _ in range(2)]
    assert len(set(cut[0].rows.tolist())) == 30 and 7 not in cut[0].rows
    assert cut[0].rows.tolist() == cut[1].rows.tolist()
    assert coverage(vectors, cut[0].rows) > 0.97 * coverage(vectors, whole.rows)


def test_unknown_rows_give_their_share_in_order_and_ask_for_no_cosines(monkeypatch):
    vectors, seen = unit(600), []
    vectors[100:400] = 0
    for name, value in (("MAX_WHOLE", 500), ("SHARD", 150), ("MAX_FITTED", 400)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "facility_location", lambda rows, *given, **more: (
        seen.append(len(rows)), facility_location(rows, *given, **more))[1])
    found = spread(vectors, np.ones(600), 60, chosen=np.array([101]), seed=0)
    unknown = [row for row in found.rows.tolist() if 100 <= row < 400]
    assert unknown == [100, *range(102, 102 + len(unknown) - 1)] and 29 <= len(unknown) <= 31
    assert len(found.rows) == len(set(found.rows.tolist())) == 60 and sum(seen) == 300


def test_asking_for_more_than_there_is_gives_what_there_is():
    assert sorted(spread(unit(5), np.ones(5), 9, chosen=np.array([0]), seed=0).rows.tolist()) == [1, 2, 3, 4]
    assert spread(np.zeros((0, 3)), np.zeros(0), 2, chosen=NOBODY, seed=0).rows.tolist() == []


def test_coverage_is_the_mean_cosine_to_the_nearest_chosen_row():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]])
    assert coverage(vectors, np.array([0])) == pytest.approx((1 + 0 + 0.6 + 0) / 4)
    assert coverage(vectors, np.array([0, 1])) == pytest.approx((1 + 1 + 0.8 + 0) / 4)
    assert coverage(vectors, NOBODY) == 0
    assert np.isnan(coverage(np.zeros((0, 2)), NOBODY))


def test_shares_add_up():
    assert shares_of(10, np.array([50, 30, 20])).tolist() == [5, 3, 2]
    assert shares_of(4, np.array([1, 1, 1])).tolist() == [2, 1, 1]
