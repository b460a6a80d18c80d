import numpy as np
import pytest

from curation.outliers import MAX_COMPARED, find_outliers


def world(n=300, seed=0):
    """n rows around one direction, the last of which points the other way."""
    rows = np.eye(16)[0] + 0.15 * np.random.default_rng(seed).normal(size=(n, 16))
    rows[-1] = -np.eye(16)[0] + 0.3 * np.eye(16)[1]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_row_that_lies_elsewhere_is_far_out():
    found = find_outliers(world(), np.arange(300), seed=0)
    assert np.flatnonzero(found.is_outlier).tolist() == [299]
    assert found.nearest_cosine[299] < 0 < found.cutoff < found.nearest_cosine[0]


def test_the_figure_is_the_mean_cosine_to_the_five_nearest_of_other_clusters():
    rows, clusters = world(60), np.arange(60)
    clusters[1] = 0
    cosines = np.sort(np.delete(rows[0] @ rows.T, [0, 1]))[-5:]
    assert find_outliers(rows, clusters, seed=0).nearest_cosine[0] == pytest.approx(cosines.mean())


def test_a_strange_text_that_was_pasted_ten_times_stays_strange():
    rows, clusters = world(), np.arange(300)
    rows[-10:], clusters[-10:] = rows[-1], 290
    assert np.flatnonzero(find_outliers(rows, clusters, seed=0).is_outlier).tolist() == list(range(290, 300))


def test_few_texts_have_no_outliers():
    found = find_outliers(world(49), np.arange(49), seed=0)
    assert found.cutoff is None and np.isnan(found.nearest_cosine).all() and not found.is_outlier.any()


def test_many_texts_are_compared_with_a_sample_that_the_seed_decides():
    rows = world(MAX_COMPARED + 200)
    one, two = (find_outliers(rows, np.arange(len(rows)), seed=3) for _ in range(2))
    assert (one.nearest_cosine == two.nearest_cosine).all() and one.is_outlier[-1]
