import numpy as np
import pytest

from training.sets_probe import fit_sets_probe


def rows(n, seed):
    """Unit vectors; the first coordinate says a, the second b, and both may be there."""
    random = np.random.default_rng(seed)
    has = random.random((n, 2)) < 0.6
    has[~has.any(axis=1), 0] = True
    vectors = np.hstack([np.where(has, 1.0, -1.0), random.normal(0, 0.1, (n, 4))])
    labels = ["\n".join(name for name, there in zip("ab", row, strict=True) if there) for row in has]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def test_it_learns_sets_that_can_be_told_apart():
    train, dev, test = rows(80, 0), rows(20, 1), rows(40, 2)
    probe = fit_sets_probe(*train, *dev, seed=0)
    assert probe.labels == ("a", "b") and probe.dev_score == 1
    assert probe.predict(test[0]) == test[1]


def test_every_row_gets_at_least_one_label():
    vectors = np.eye(4)
    probe = fit_sets_probe(vectors, ["a", "b", "c", "d"], vectors, ["a", "b", "c", "d"], seed=0, choices=(0.01,))
    assert all(probe.predict(vectors))


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="got 0 and 0"):
        fit_sets_probe(np.zeros((0, 2)), [], np.zeros((0, 2)), [], seed=0)
