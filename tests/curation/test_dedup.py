import numpy as np
import pytest

from curation import dedup
from curation.dedup import DuplicatePairs, clusters, find_clusters, near_duplicate_pairs


def on_circle(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def random_rows(n, dimension=16, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(n // 4, dimension))
    rows = centres[random.integers(len(centres), size=n)] + 0.15 * random.normal(size=(n, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_pairs_are_those_from_the_threshold_up():
    pairs = near_duplicate_pairs(on_circle(0, 90, 10, 95), threshold=np.cos(np.radians(10.5)))
    assert (pairs.rows_a.tolist(), pairs.rows_b.tolist()) == ([0, 1], [2, 3])
    assert pairs.similarity == pytest.approx(np.cos(np.radians([10, 5])))
    assert pairs.is_complete


@pytest.mark.parametrize("block", [1, 7, 64, 300, 1000])
def test_pairs_are_exact_whatever_the_block(block):
    rows = random_rows(300)
    cosines = rows.astype(float) @ rows.astype(float).T
    rows_a, rows_b = np.nonzero(np.triu(cosines, k=1) >= 0.9)
    assert len(rows_a) > 100
    pairs = near_duplicate_pairs(rows, threshold=0.9, block=block)
    assert (pairs.rows_a == rows_a).all()
    assert (pairs.rows_b == rows_b).all()
    assert pairs.similarity == pytest.approx(cosines[rows_a, rows_b], abs=1e-6)


def test_a_chain_is_one_cluster_numbered_by_its_first_row():
    found = find_clusters(on_circle(200, 0, 10, 205, 20, 90), list("abcdef"), threshold=np.cos(np.radians(11)))
    assert found.cluster.tolist() == [0, 1, 1, 0, 1, 2]


def test_rows_with_equal_content_are_one_cluster_however_far_apart():
    found = find_clusters(on_circle(0, 90, 180, 5), ["x", "y", "x", "z"], threshold=0.99)
    assert found.cluster.tolist() == [0, 1, 0, 0]
    assert (found.pairs.rows_a.tolist(), found.pairs.rows_b.tolist()) == ([0], [3])


def test_pairs_are_between_the_first_rows_of_each_content():
    found = find_clusters(on_circle(0, 0, 0, 5, 5), ["x", "x", "x", "z", "z"], threshold=0.99)
    assert (found.pairs.rows_a.tolist(), found.pairs.rows_b.tolist()) == ([0], [3])
    assert found.cluster.tolist() == [0] * 5


def test_clusters_of_no_pairs_are_single_rows():
    nothing = DuplicatePairs(np.empty(0, int), np.empty(0, int), np.empty(0))
    assert clusters(3, nothing).tolist() == [0, 1, 2]
    assert clusters(0, nothing).tolist() == []


def test_no_rows_have_no_clusters():
    assert find_clusters(np.empty((0, 8)), [], threshold=0.9).cluster.tolist() == []


def test_too_many_pairs_are_thinned_without_changing_the_clusters(monkeypatch):
    rows = random_rows(400)
    whole = find_clusters(rows, np.arange(400), threshold=0.9)
    monkeypatch.setattr(dedup, "MAX_PAIRS", 50)
    monkeypatch.setattr(dedup.near_duplicate_pairs, "__kwdefaults__",
                        dedup.near_duplicate_pairs.__kwdefaults__ | {"block": 32})
    thinned = find_clusters(rows, np.arange(400), threshold=0.9)
    assert not thinned.pairs.is_complete
    assert len(thinned.pairs.rows_a) < len(whole.pairs.rows_a)
    assert (thinned.cluster == whole.cluster).all()
    assert (clusters(400, thinned.pairs) == whole.cluster).all()
    cosine = np.einsum("nd,nd->n", rows[thinned.pairs.rows_a], rows[thinned.pairs.rows_b])
    assert thinned.pairs.similarity == pytest.approx(cosine, abs=1e-5)


def test_planted_copies_are_found():
    random = np.random.default_rng(1)
    originals = random.normal(size=(500, 64))
    copies = originals[:25] + 0.2 * random.normal(size=(25, 64))  # cosine about .98
    rows = np.vstack([originals, copies])
    found = find_clusters(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.arange(525), threshold=0.9)
    assert (found.cluster[500:] == found.cluster[:25]).all()
    assert len(np.unique(found.cluster)) == 500


def test_progress_counts_the_blocks():
    reports = []
    near_duplicate_pairs(random_rows(100), threshold=0.9, block=50, progress=lambda *report: reports.append(report))
    assert [report[1:] for report in reports] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("row", [[3.0, 4.0], [0.0, 0.0], [np.nan, 0.0]])
def test_a_row_of_another_length_is_refused(row):
    with pytest.raises(ValueError, match=r"row 1 has (5\.000|0\.000|nan)"):
        near_duplicate_pairs(np.array([[1.0, 0.0], row]), threshold=0.9)


@pytest.mark.parametrize("threshold", [0, -1, 1.01])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        near_duplicate_pairs(on_circle(0, 90), threshold=threshold)


def test_one_content_id_per_row_is_needed():
    with pytest.raises(ValueError, match="got 1 for 2 rows"):
        find_clusters(on_circle(0, 90), ["a"], threshold=0.9)
