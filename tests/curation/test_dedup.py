import numpy as np
import pytest

from curation import dedup
from curation.cells import make_cells, pairs_in_cells
from curation.dedup import Components, find_clusters, near_duplicate_pairs
from curation.similar_pairs import prepare
from tests.curation.test_similar_pairs import all_pairs, on_circle, random_rows


def test_a_chain_is_one_cluster_numbered_by_its_first_row():
    found = find_clusters(on_circle(200, 0, 10, 205, 20, 90), list("abcdef"), threshold=np.cos(np.radians(11)))
    assert found.cluster.tolist() == [0, 1, 1, 0, 1, 2]
    assert found.degree.tolist() == [1, 1, 2, 1, 1, 0] and found.n_pairs == 3


def test_rows_with_equal_content_are_one_cluster_however_far_apart():
    found = find_clusters(on_circle(0, 90, 180, 5), ["x", "y", "x", "z"], threshold=0.99)
    assert found.cluster.tolist() == [0, 1, 0, 0]
    assert found.first.tolist() == [0, 1, 0, 3] and found.degree.tolist() == [1, 0, 0, 1]


def test_copies_are_compared_once():
    found = find_clusters(on_circle(0, 0, 0, 5, 5), ["x", "x", "x", "z", "z"], threshold=0.99)
    assert found.n_pairs == 1 and found.cluster.tolist() == [0] * 5


def test_no_rows_have_no_clusters():
    assert find_clusters(np.empty((0, 8)), [], threshold=0.9).cluster.tolist() == []


def test_links_join_what_is_alike_for_another_reason():
    found = find_clusters(on_circle(0, 90, 180, 270), list("abcd"), threshold=0.9, links=np.array([[0, 3]]))
    assert found.cluster.tolist() == [0, 1, 2, 0]


def test_what_people_call_different_is_not_joined_but_others_may_connect_it():
    rows = on_circle(0, 10, 200, 20)
    cosine = np.cos(np.radians(11))
    apart = find_clusters(rows, list("abcd"), threshold=cosine, apart=np.array([[1, 0]]))
    assert apart.cluster.tolist() == [0, 1, 2, 1]
    wide = find_clusters(rows, list("abcd"), threshold=np.cos(np.radians(21)), apart=np.array([[1, 0]]))
    assert wide.cluster.tolist() == [0, 0, 1, 0] and wide.n_pairs == 2
    linked = find_clusters(rows, list("abcd"), threshold=1.0, links=np.array([[0, 2]]), apart=np.array([[2, 0]]))
    assert linked.cluster.tolist() == [0, 1, 2, 3]


def test_pairs_told_in_any_number_of_steps_connect_the_same(monkeypatch):
    random = np.random.default_rng(0)
    a, b = random.integers(0, 400, 300), random.integers(0, 400, 300)
    at_once, in_steps = Components(400), Components(400)
    at_once.join(a, b)
    monkeypatch.setattr(dedup, "HELD_PAIRS", 7)
    for start in range(0, 300, 11):
        in_steps.join(a[start:start + 11], b[start:start + 11])
    assert (at_once.cluster() == in_steps.cluster()).all() and at_once.cluster().max() > 50


def test_all_pairs_at_once_come_in_order():
    rows = random_rows(2500, dimension=12)
    found = near_duplicate_pairs(rows, threshold=0.97)
    wanted = sorted(all_pairs(prepare(rows, threshold=0.97)))
    assert list(zip(found.rows_a.tolist(), found.rows_b.tolist(), strict=True)) == wanted and len(wanted) > 1000
    assert found.similarity == pytest.approx(np.einsum("nd,nd->n", rows[found.rows_a], rows[found.rows_b]), abs=1e-6)
    assert not len(near_duplicate_pairs(rows[:0], threshold=0.9).rows_a)


def test_planted_copies_are_found():
    random = np.random.default_rng(1)
    originals = random.normal(size=(500, 64))
    copies = originals[:25] + 0.2 * random.normal(size=(25, 64))  # cosine about .98
    rows = np.vstack([originals, copies])
    found = find_clusters(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.arange(525), threshold=0.9)
    assert (found.cluster[500:] == found.cluster[:25]).all()
    assert len(np.unique(found.cluster)) == 500


def test_cells_find_each_pair_once_and_say_how_many_they_miss():
    rows = random_rows(4000, dimension=32)
    prepared = prepare(rows, threshold=0.95)
    cells = make_cells(prepared, n_cells=40)
    parts = [pair for one in pairs_in_cells(prepared, cells, 0, cells.n) for pair in zip(*one[:2], strict=True)]
    wanted = all_pairs(prepared)
    found = {(int(a), int(b)) for a, b in parts}
    assert len(found) == len(parts) and found <= set(wanted)
    assert len(found) >= 0.98 * len(wanted)
    assert cells.recall.low <= len(found) / len(wanted) <= cells.recall.high


def test_many_rows_are_compared_within_cells():
    rows = random_rows(3000, dimension=32)
    found = find_clusters(rows, np.arange(3000), threshold=0.95, partition_from=2000)
    assert found.recall.estimate >= 0.98
    assert find_clusters(rows, np.arange(3000), threshold=0.95).recall is None


def test_progress_ends_at_all_pairs():
    reports = []
    find_clusters(random_rows(100), np.arange(100), threshold=0.9, progress=lambda *report: reports.append(report))
    assert reports[-1][1:] == (4950, 4950)


def test_one_content_id_per_row_is_needed():
    with pytest.raises(ValueError, match="got 1 for 2 rows"):
        find_clusters(on_circle(0, 90), ["a"], threshold=0.9)
