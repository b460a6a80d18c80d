import numpy as np
import pytest

from curation.label_quality import score_label_sets
from curation.label_sets import out_of_sample_sets


def world(n=150, seed=0):
    """Texts in three directions; “a” and “b” belong to a direction each, “c” is drawn by lot, “d” is given twice."""
    random = np.random.default_rng(seed)
    direction = random.integers(0, 3, n)
    vectors = np.eye(8)[direction] + random.normal(0, 0.1, (n, 8))
    lot = random.random(n) < 0.5
    has = {"a": direction != 1, "b": direction == 2, "c": lot, "d": np.arange(n) < 2}
    sets = [{name for name in has if has[name][i]} for i in range(n)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), sets


def test_each_label_is_judged_on_its_own_and_what_cannot_be_judged_is_named():
    vectors, sets = world()
    found = out_of_sample_sets(vectors, sets, np.arange(150), labels_order=["a", "b", "c", "d"], seed=0)
    assert found.labels_order == ["a", "b"] and found.rows_scored.all()
    assert "hardly more than" in found.left_out["c"] and found.left_out["d"].startswith("2 distinct examples have it")
    given = np.array([["a" in labels, "b" in labels] for labels in sets])
    assert ((found.pred_probs > 0.5) == given).mean() > 0.97


def test_rows_without_a_set_are_neither_fitted_nor_scored():
    vectors, sets = world()
    found = out_of_sample_sets(vectors, [None, *sets[1:]], np.arange(150), labels_order=["a", "b"], seed=0)
    assert not found.rows_scored[0] and np.isnan(found.pred_probs[0]).all() and found.rows_scored[1:].all()


def test_if_no_label_can_be_judged_it_says_why():
    vectors, sets = world()
    with pytest.raises(ValueError, match=r"No label can be judged by a model yet. “c”: a model that read"):
        out_of_sample_sets(vectors, sets, np.arange(150), labels_order=["c", "d"], seed=0)


def test_a_planted_wrong_set_has_the_lowest_quality_and_is_flagged():
    random = np.random.default_rng(0)
    probs = random.choice([0.05, 0.95], size=(200, 3))
    sets = [list(np.flatnonzero(row > 0.5)) for row in probs]
    sets[7] = [k for k in range(3) if k not in sets[7]]
    found = score_label_sets(sets, probs)
    assert found.label_quality.argmin() == 7 and np.flatnonzero(found.is_label_issue).tolist() == [7]


def test_one_label_alone_is_judged_too():
    probs = np.random.default_rng(0).choice([0.05, 0.95], size=(200, 1))
    sets = [[0] if row[0] > 0.5 else [] for row in probs]
    sets[3] = [0] if not sets[3] else []
    found = score_label_sets(sets, probs)
    assert found.label_quality[3] == pytest.approx(0.05) and np.flatnonzero(found.is_label_issue).tolist() == [3]


def test_sets_that_do_not_fit_the_probabilities_are_refused():
    with pytest.raises(ValueError, match="one set per row"):
        score_label_sets([[0]], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"set 1 is \[5\]"):
        score_label_sets([[0], [5]], np.zeros((2, 2)))
    assert len(score_label_sets([], np.zeros((0, 2))).label_quality) == 0
