import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from curation import projection
from curation.projection import installed_methods, principal, project
from jobs.child import run_child


def random_rows(n=300, d=12, seed=0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, d)) * np.linspace(3, 0.2, d)).astype(np.float32)


def test_the_axes_are_those_of_scikit_learn():
    vectors = random_rows()
    reference = PCA(2).fit(vectors)
    found = project(vectors, method="pca", seed=0)
    theirs = reference.transform(vectors)
    signs = np.sign((found.coordinates * theirs).sum(axis=0))
    assert found.coordinates == pytest.approx(theirs * signs, abs=1e-3)
    assert found.explained == pytest.approx(reference.explained_variance_ratio_.sum(), abs=1e-6)


def test_four_points_on_a_cross_by_hand():
    found = project(np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]]), method="pca", seed=0)
    assert found.coordinates == pytest.approx(np.array([[2, 0], [-2, 0], [0, 1], [0, -1]]), abs=1e-6)
    assert found.explained == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_rows_moves_no_point(seed):
    vectors = random_rows(40, 5, seed)
    order = np.random.default_rng(seed).permutation(len(vectors))
    assert project(vectors[order], method="pca", seed=0).coordinates == pytest.approx(
        project(vectors, method="pca", seed=0).coordinates[order], abs=1e-2)


def test_rows_read_block_by_block_give_the_same_map(monkeypatch):
    vectors = random_rows()
    whole, _ = principal(vectors, 2)
    monkeypatch.setattr(projection, "BLOCK", 7)
    assert principal(vectors, 2)[0] == pytest.approx(whole, abs=1e-4)


def test_rows_that_are_all_equal_are_one_point():
    found = project(np.ones((5, 3)), method="pca", seed=0)
    assert np.allclose(found.coordinates, 0, atol=1e-6) and found.explained == 1.0


@pytest.mark.parametrize(("n", "method", "reason"), [(2, "pca", "at least 3 rows"), (5, "tea", "cannot be used")])
def test_what_cannot_be_drawn_is_refused(n, method, reason):
    with pytest.raises(ValueError, match=reason):
        project(random_rows(n), method=method, seed=0)


def test_the_child_draws_a_file(tmp_path):
    vectors = random_rows(50).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    result = run_child("curation.projection", {"method": "pca", "seed": 0}, folder=tmp_path)
    assert json.dumps(result) and 0 < result["explained"] <= 1
    assert np.load(tmp_path / "coordinates.npy") == pytest.approx(project(vectors, method="pca", seed=0).coordinates)


@pytest.mark.skipif("pacmap" not in installed_methods(), reason="requirements-map.txt is not installed")
def test_pacmap_draws_the_same_map_twice():
    vectors = random_rows()
    once, again = (project(vectors, method="pacmap", seed=3).coordinates for _ in range(2))
    assert (once == again).all()
