import numpy as np
import pytest

from training.calibration import contextual, cross_fitted, fit_label_bias, probabilities


def test_probabilities_sum_to_one_even_for_huge_scores():
    assert probabilities(np.array([[-1000.0, -1000.0], [0.0, -5000.0]])).tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_contextual_calibration_takes_away_what_nothing_is_answered_with():
    scores = np.log([[0.8, 0.2], [0.9, 0.1]])
    nothing = np.log([[0.8, 0.2], [0.9, 0.1]])
    calibrated = contextual(scores, nothing)
    assert calibrated[0] == pytest.approx([np.log(0.8 / 0.85), np.log(0.2 / 0.15)])
    assert calibrated.argmax(axis=1).tolist() == [1, 0]


def test_without_penalty_the_bias_makes_the_mean_probabilities_the_shares():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(300, 3)) - [3.0, 0.0, 1.0], rng.choice(3, size=300, p=[0.5, 0.3, 0.2])
    bias = fit_label_bias(scores, labels, l2=0)
    assert probabilities(scores + bias).mean(axis=0) == pytest.approx(np.bincount(labels) / 300, abs=1e-9)
    assert bias.sum() == pytest.approx(0, abs=1e-9)


def test_a_label_without_dev_rows_gets_a_finite_bias():
    bias = fit_label_bias(np.zeros((4, 3)), np.array([0, 0, 1, 1]))
    assert np.isfinite(bias).all() and bias.argmin() == 2


def test_a_bias_that_helps_is_credited_only_on_rows_it_has_not_seen():
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=400)
    scores = np.stack([np.zeros(400), np.where(labels == 1, 1.0, -1.0) + 5], axis=1)
    assert (scores.argmax(axis=1) == labels).mean() < 0.6
    assert cross_fitted(scores, labels, range(400)).mean() == 1.0


def test_a_bias_on_noise_gains_nothing():
    rng = np.random.default_rng(2)
    labels = rng.integers(4, size=2000)
    right = cross_fitted(rng.normal(size=(2000, 4)), labels, range(2000))
    assert abs(right.mean() - 0.25) < 0.04


def test_a_group_stays_in_one_fold():
    groups = [f"customer {n % 2}" for n in range(20)]
    scores, labels = np.zeros((20, 2)), np.array([n % 2 for n in range(20)])
    # Each fold is one customer, whose label the other fold has never seen.
    assert not cross_fitted(scores, labels, groups, folds=2).any()


@pytest.mark.parametrize(("arguments", "words"), [
    ({"labels": np.array([0, 3])}, r"\[0, 2\)"),
    ({"labels": np.array([0])}, "got"),
    ({"l2": -1.0}, "at least 0"),
])
def test_a_bad_value_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        fit_label_bias(**{"scores": np.zeros((2, 2)), "labels": np.array([0, 1]), **arguments})


def test_more_folds_than_groups_are_refused():
    with pytest.raises(ValueError, match="folds"):
        cross_fitted(np.zeros((4, 2)), np.array([0, 1, 0, 1]), ["a"] * 4)
