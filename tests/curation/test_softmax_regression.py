import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from curation.softmax_regression import fit_softmax, principal_components, softmax_in_place


def world(n=400, dimension=12, seed=0):
    random = np.random.default_rng(seed)
    given = random.integers(0, 4, n)
    rows = np.eye(dimension)[given] + 0.6 * random.normal(size=(n, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), given


def test_components_keep_all_variance_in_order_and_turn_new_rows_the_same_way():
    rows, _ = world()
    found = principal_components(rows)
    assert found.scores.shape == (400, 13) and (found.scores[:, -1] == 1).all()
    assert (np.diff(found.variance) <= 0).all()
    assert found.variance.sum() == pytest.approx(((rows - rows.mean(axis=0)) ** 2).sum(), rel=1e-4)
    assert found.turn(rows[:5]) == pytest.approx(found.scores[:5], abs=1e-5)
    assert principal_components(rows, n_components=3).scores.shape == (400, 4)
    assert principal_components(rows, n_components=3).variance == pytest.approx(found.variance[:3], rel=1e-4)


def test_a_few_steps_predict_what_the_fit_to_the_end_does():
    rows, given = world()
    found = principal_components(rows)
    weights = fit_softmax(found, np.arange(300), given[:300], 4, inverse_regularisation=10.0)
    probs = softmax_in_place(found.scores[300:] @ weights)
    other = LogisticRegression(C=10.0, max_iter=1000).fit(rows[:300], given[:300]).predict_proba(rows[300:])
    assert np.abs(probs - other).mean() < 0.01


def test_a_label_that_no_row_has_gets_hardly_any_probability():
    rows, given = world()
    found = principal_components(rows)
    some = np.flatnonzero(given != 2)
    probs = softmax_in_place(found.scores @ fit_softmax(found, some, given[some], 4, inverse_regularisation=10.0))
    assert np.isfinite(probs).all() and probs[:, 2].max() < 0.02


def test_equal_rows_are_no_trouble():
    rows = np.tile(np.eye(5)[0], (20, 1))
    found = principal_components(rows)
    given = np.arange(20) % 2
    probs = softmax_in_place(found.scores @ fit_softmax(found, np.arange(20), given, 2, inverse_regularisation=10.0))
    assert probs == pytest.approx(0.5, abs=1e-3)


def test_softmax_in_place_is_softmax():
    logits = np.random.default_rng(0).normal(size=(6, 3)) * 50
    assert softmax_in_place(logits.copy()) == pytest.approx(softmax(logits, axis=1))
