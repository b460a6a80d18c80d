import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import similar_pairs
from curation.similar_pairs import BLOCK, pairs_in_rows, prepare, shards


def on_circle(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def random_rows(n, dimension=16, seed=0, spread=0.15):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, n // 4), dimension))
    rows = centres[random.integers(len(centres), size=n)] + spread * random.normal(size=(n, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def all_pairs(prepared, *bounds):
    found = [part for start, stop in bounds or [(0, prepared.n)] for part in pairs_in_rows(prepared, start, stop)]
    return {(int(a), int(b)): float(cosine) for part in found for a, b, cosine in zip(*part, strict=True)}


def by_hand(rows, threshold):
    cosines = rows.astype(float) @ rows.astype(float).T
    return set(zip(*map(np.ndarray.tolist, np.nonzero(np.triu(cosines >= threshold, k=1))), strict=True))


def test_pairs_are_those_from_the_threshold_up():
    found = all_pairs(prepare(on_circle(0, 90, 10, 95), threshold=np.cos(np.radians(10.5))))
    assert found == {(0, 2): pytest.approx(np.cos(np.radians(10))), (1, 3): pytest.approx(np.cos(np.radians(5)))}


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 120), width=st.integers(1, 16), block=st.integers(1, 70), seed=st.integers(0, 9),
       threshold=st.sampled_from([0.3, 0.9, 0.97, 1.0]))
def test_no_width_and_no_block_misses_or_adds_a_pair(n, width, block, seed, threshold):
    rows = random_rows(n, seed=seed)
    rows[::7] = rows[:1]  # some rows are equal
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar_pairs, "BLOCK", block)
        found = all_pairs(prepare(rows, threshold=threshold, width=width))
    wanted = by_hand(rows, threshold)
    near = by_hand(rows, threshold - 1e-6) - by_hand(rows, threshold + 1e-6)  # where doubles differ in their last bits
    assert set(found) - near == wanted - near
    assert all(cosine == pytest.approx(float(rows[a] @ rows[b]), abs=2e-6) for (a, b), cosine in found.items())


def test_shards_together_find_each_pair_once():
    rows = random_rows(3 * BLOCK, dimension=24)
    prepared = prepare(rows, threshold=0.95, width=8)
    whole = all_pairs(prepared)
    bounds = shards(len(rows), 2)
    assert len(bounds) == 2 and len(whole) > 500
    parts = [all_pairs(prepared, one) for one in bounds]
    assert parts[0] | parts[1] == whole and not parts[0].keys() & parts[1].keys()


@pytest.mark.parametrize(("n", "n_shards"), [(0, 3), (1, 1), (5000, 4), (100_000, 7), (1025, 50)])
def test_shards_cover_everything_in_about_equal_parts(n, n_shards):
    bounds = shards(n, n_shards)
    assert [start for start, _ in bounds[1:]] == [stop for _, stop in bounds[:-1]]
    assert not n or (bounds[0][0], bounds[-1][1]) == (0, n)
    work = [n * (stop - start) - (stop * stop - start * start) / 2 for start, stop in bounds]
    if n > 50_000:
        assert max(work) < 1.2 * min(work)


def test_only_the_rows_asked_for_are_compared():
    found = all_pairs(prepare(on_circle(0, 1, 2, 3, 4), threshold=0.99, rows=np.array([0, 2, 4])))
    assert set(found) == {(0, 2), (0, 4), (2, 4)}


def test_a_block_where_the_bound_does_not_help_is_multiplied_in_full():
    rows = random_rows(300, dimension=64, spread=0.02)
    rows[:] = (rows[:1] + 0.1 * rows) / np.linalg.norm(rows[:1] + 0.1 * rows, axis=1, keepdims=True)  # all alike
    assert set(all_pairs(prepare(rows, threshold=0.9, width=4))) == by_hand(rows, 0.9)


def test_the_bound_is_used_where_it_pays_and_only_there():
    random = np.random.default_rng(0)
    flat = random.normal(size=(5000, 128))
    steep = flat * np.arange(1, 129) ** -1.0
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (flat, steep)]
    assert prepare(unit[0], threshold=0.5).width == 128  # nearly all that is left out could still make up for it
    assert prepare(unit[1], threshold=0.95).width == 16


@pytest.mark.parametrize("row", [[3.0, 4.0], [0.0, 0.0], [np.nan, 0.0]])
def test_a_row_of_another_length_is_refused(row):
    with pytest.raises(ValueError, match=r"row 1 has (5\.000|0\.000|nan)"):
        prepare(np.array([[1.0, 0.0], row]), threshold=0.9)


@pytest.mark.parametrize("threshold", [0, -1, 1.01])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        prepare(on_circle(0, 90), threshold=threshold)
