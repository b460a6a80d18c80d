import warnings
from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest
from cleanlab.internal.multiannotator_utils import find_best_temp_scaler
from cleanlab.multiannotator import get_active_learning_scores
from hypothesis import assume, example, given, settings

from stats.activelab import activelab, at_temperature, choose_batch
from tests.stats.crowd import lowest_instead_of_random, simulated, table_of, tied_votes

NOBODY = (np.empty(0, dtype=int),) * 3


def shares_in_their_columns(labels, num_classes):
    """Count float labels where they belong: cleanlab 2.9.0 fills the first columns instead."""
    return np.bincount(labels.astype(int), minlength=num_classes)


def of_cleanlab(votes, pred_probs, pred_probs_unlabelled=None, *, is_mended=True):
    mended = mock.patch("cleanlab.internal.multiannotator_utils.value_counts", shares_in_their_columns)
    with lowest_instead_of_random(), mended if is_mended else nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_active_learning_scores(table_of(votes, len(pred_probs)), pred_probs, pred_probs_unlabelled)


def assert_equals_cleanlab(votes, pred_probs, pred_probs_unlabelled=None):
    ours = activelab(*votes, pred_probs, pred_probs_unlabelled)
    labelled, unlabelled = of_cleanlab(votes, pred_probs, pred_probs_unlabelled)
    np.testing.assert_allclose(ours.labelled, labelled, atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.unlabelled, unlabelled, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "n_annotators", "n_labels", "votes_per_example"), [
    (200, 6, 3, (1, 2, 3)), (100, 40, 10, (1, 2)), (100, 20, 77, (2, 5)), (60, 5, 4, (1,)), (60, 1, 4, (1,)),
])
def test_scores_are_cleanlabs(n, n_annotators, n_labels, votes_per_example, seed):
    votes, pred_probs, _ = simulated(n, n_annotators, n_labels, seed=seed, votes_per_example=votes_per_example)
    unlabelled = np.random.default_rng(seed).dirichlet(np.full(n_labels, 0.5), 50)
    assert_equals_cleanlab(votes, pred_probs, unlabelled)
    assert_equals_cleanlab(votes, pred_probs)


@pytest.mark.parametrize("seed", range(5))
def test_at_cleanlabs_temperature_scores_are_those_of_cleanlab_as_it_is(seed):
    votes, pred_probs, _ = simulated(200, 6, 3, seed=seed)
    temperature = find_best_temp_scaler(table_of(votes, 200), pred_probs)
    ours = activelab(*votes, pred_probs, pred_probs, temperature=temperature)
    labelled, unlabelled = of_cleanlab(votes, pred_probs, pred_probs, is_mended=False)
    np.testing.assert_allclose(ours.labelled, labelled, atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.unlabelled, unlabelled, atol=1e-9, rtol=0)
    assert ours.temperature != activelab(*votes, pred_probs).temperature


def probable_by_a_hair():
    """The labels 1 and 2 of the last but one example have a vote each and differ, if at all, in the last bit."""
    table = np.array([[0, 0, 0, 0], [0, 0, 0, 1], *[[0, 0, 1, 1]] * 3, [0, 1, -1, -1], [0, 0, 1, 2], [0, -1, -1, -1]])
    pred_probs = np.full((8, 4), 0.25)
    pred_probs[6] = np.array([1, 3, 3, 2]) / 9
    return (*np.nonzero(table >= 0), table[table >= 0]), pred_probs


@settings(max_examples=150, deadline=None)
@given(tied_votes(needs_shared=False))
@example(probable_by_a_hair())
def test_scores_are_cleanlabs_where_much_is_tied_or_certain(case):
    votes, pred_probs = case
    # Certain and even probabilities make many temperatures fit alike, and rounding would choose one: it is given.
    with mock.patch("cleanlab.multiannotator.find_best_temp_scaler", return_value=0.8):
        try:
            labelled, unlabelled = of_cleanlab(votes, pred_probs, pred_probs[::-1])
        except (ValueError, IndexError):  # as in CROWDLAB, it fails where no example has a clear majority
            assume(False)
    ours = activelab(*votes, pred_probs, pred_probs[::-1], temperature=0.8)
    np.testing.assert_allclose(ours.labelled, labelled, atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.unlabelled, unlabelled, atol=1e-9, rtol=0)


def test_unlabelled_examples_alone_are_scored_by_their_probabilities():
    pred_probs = np.array([[0.9, 0.1], [0.5, 0.5]])
    found = activelab(*NOBODY, np.empty((0, 2)), pred_probs)
    _, theirs = get_active_learning_scores(pred_probs_unlabeled=pred_probs)
    assert found.unlabelled == pytest.approx(theirs)
    assert found.unlabelled == pytest.approx([(0.9 + 0.5) / 2, 0.5])
    assert not len(found.labelled)


def test_single_labels_worked_by_hand():
    found = activelab(np.array([0, 1]), np.array([4, 5]), np.array([0, 0]), np.array([[0.8, 0.2], [0.3, 0.7]]))
    assert found.labelled == pytest.approx([(2 * 0.8 + 0.5) / 3, (2 * 0.3 + 0.5) / 3])
    assert found.temperature == 1


def test_disputed_examples_score_lower_and_settled_ones_higher():
    votes, pred_probs, _ = simulated(300, 6, 3, seed=0, votes_per_example=(3,))
    example, _, label = votes
    found = activelab(*votes, pred_probs)
    n_different = np.array([len(set(label[example == k])) for k in range(300)])
    assert found.labelled[n_different == 1].mean() > found.labelled[n_different == 3].mean() + 0.1


def test_a_temperature_sharpens_or_softens_and_keeps_the_order():
    pred_probs = np.array([[0.6, 0.3, 0.1], [1, 0, 0]])
    assert at_temperature(pred_probs, 1.0) == pytest.approx(pred_probs)
    assert at_temperature(pred_probs, 0.5)[0] == pytest.approx(np.array([0.36, 0.09, 0.01]) / 0.46)
    assert at_temperature(pred_probs, 5.0)[0, 0] < 0.6


def test_columns_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\(0, 2\) and \(1, 3\)"):
        activelab(*NOBODY, np.empty((0, 2)), np.full((1, 3), 1 / 3))


def on_circle(*degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_a_batch_takes_one_of_a_heap_of_near_copies():
    scores = np.array([0.10, 0.11, 0.12, 0.30, 0.40, 0.90])
    embeddings = on_circle(0, 1, 2, 90, 180, 270)
    assert choose_batch(scores, embeddings, 3, candidates_per_pick=1).tolist() == [0, 2, 1]
    assert choose_batch(scores, embeddings, 2).tolist() == [0, 4]
    assert choose_batch(scores[:5], embeddings[:5], 3).tolist() == [0, 4, 3]


def test_of_equally_far_rows_a_batch_takes_the_lower_score():
    embeddings = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
    assert choose_batch(np.array([0.1, 0.3, 0.2]), embeddings, 2).tolist() == [0, 2]


def test_a_batch_never_reaches_above_its_candidates_and_has_no_row_twice():
    random = np.random.default_rng(0)
    scores, embeddings = random.random(200), random.normal(size=(200, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    chosen = choose_batch(scores, embeddings, 20)
    assert len(set(chosen.tolist())) == 20
    assert scores[chosen].max() <= np.sort(scores)[79]
    assert chosen[0] == scores.argmin()


def test_a_batch_larger_than_what_there_is_takes_all():
    assert sorted(choose_batch(np.zeros(3), on_circle(0, 10, 20), 9).tolist()) == [0, 1, 2]
    assert len(choose_batch(np.zeros(3), on_circle(0, 10, 20), 0)) == 0
    with pytest.raises(ValueError, match="got 2 and 3"):
        choose_batch(np.zeros(2), on_circle(0, 10, 20), 1)
