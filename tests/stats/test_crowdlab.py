import warnings

import numpy as np
import pytest
from cleanlab.multiannotator import get_label_quality_multiannotator
from hypothesis import assume, given, settings

from stats.crowdlab import crowdlab
from tests.stats.crowd import lowest_instead_of_random, simulated, table_of, tied_votes


def of_cleanlab(votes, pred_probs):
    with lowest_instead_of_random(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_label_quality_multiannotator(table_of(votes, len(pred_probs)), pred_probs, verbose=False,
                                                return_detailed_quality=False, return_weights=True)


def assert_equals_cleanlab(votes, pred_probs):
    ours, theirs = crowdlab(*votes, pred_probs), of_cleanlab(votes, pred_probs)
    examples, annotators = theirs["label_quality"], theirs["annotator_stats"].sort_index()
    assert ours.consensus_label.tolist() == examples["consensus_label"].tolist()
    for name, value in [("consensus_quality_score", ours.consensus_quality),
                        ("annotator_agreement", ours.annotator_agreement)]:
        np.testing.assert_allclose(value, examples[name], atol=1e-9, rtol=0)
    for name, value in [("annotator_quality", ours.annotator_quality), ("num_examples_labeled", ours.n_labels),
                        ("agreement_with_consensus", ours.agreement_with_consensus)]:
        np.testing.assert_allclose(value, annotators[name], atol=1e-9, rtol=0, equal_nan=True)
    np.testing.assert_allclose(ours.annotator_weight, theirs["annotator_weight"], atol=1e-9, rtol=0)
    assert ours.model_weight == pytest.approx(theirs["model_weight"], abs=1e-9)
    np.testing.assert_allclose(ours.posterior.sum(axis=1), 1, atol=1e-9)
    for position, (mine, other) in enumerate(zip(ours.worst_class, annotators["worst_class"], strict=True)):
        assert mine == other or is_level(votes, ours, position, mine, other)


def is_level(votes, found, position, mine, other):
    """Whether two labels of an annotator are equally bad but for the rounding of a mean."""
    example, annotator, label = votes

    def measures(k):
        chosen = (annotator == found.annotators[position]) & (label == k)
        return [np.mean(found.consensus_label[example[chosen]] == k), chosen.sum(),
                found.consensus_quality[example[chosen]].mean()]

    return measures(mine) == pytest.approx(measures(other), abs=1e-12)


@settings(max_examples=400, deadline=None)
@given(tied_votes())
def test_ties_of_every_kind_fall_as_in_cleanlab(case):
    votes, pred_probs = case
    try:
        of_cleanlab(votes, pred_probs)
    except (ValueError, IndexError):  # it fails where a tie is left and no example has a clear majority
        assume(False)
    assert_equals_cleanlab(votes, pred_probs)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "n_annotators", "n_labels", "votes_per_example"), [
    (300, 8, 3, (1, 2, 3)), (200, 40, 10, (1, 1, 1, 2)), (400, 20, 77, (2, 3, 5)), (50, 12, 2, (10, 12)),
])
def test_random_votes_give_what_cleanlab_gives(n, n_annotators, n_labels, votes_per_example, seed):
    votes, pred_probs, _ = simulated(n, n_annotators, n_labels, seed=seed, votes_per_example=votes_per_example)
    assert_equals_cleanlab(votes, pred_probs)


def test_labels_that_nobody_gave_change_nothing_that_cleanlab_would_not():
    votes, pred_probs, _ = simulated(200, 6, 9, seed=0, n_unseen_labels=4)
    assert_equals_cleanlab(votes, pred_probs)


def test_one_label_for_everything_is_what_cleanlab_says():
    example, annotator = np.repeat(np.arange(5), 2), np.tile([0, 1], 5)
    assert_equals_cleanlab((example, annotator, np.full(10, 2)), np.full((5, 3), 1 / 3))


def test_annotators_who_share_nothing_get_the_others_weight_and_no_quality():
    votes, pred_probs, _ = simulated(100, 4, 3, seed=1, votes_per_example=(2, 3))
    loner = (np.arange(100, 130), np.full(30, 9), np.zeros(30, dtype=int))
    votes = tuple(np.concatenate(pair) for pair in zip(votes, loner, strict=True))
    pred_probs = np.vstack([pred_probs, np.full((30, 3), 1 / 3)])
    assert_equals_cleanlab(votes, pred_probs)
    found = crowdlab(*votes, pred_probs)
    assert found.annotators.tolist() == [0, 1, 2, 3, 9]
    assert np.isnan(found.annotator_quality).tolist() == [False, False, False, False, True]
    assert found.annotator_weight[4] > 0


def test_one_example_worked_by_hand():
    # Three annotators; the first two agree on all four shared examples, the third on half of them with each.
    label = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 1], [1, 1, 0]])
    pred_probs = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]])
    example, annotator = np.nonzero(label >= 0)
    found = crowdlab(example, annotator, label.ravel(), pred_probs)
    right = (1 + 1 + 2 / 3 + 2 / 3) / 4
    weight = np.array([1 - 0.25 / 0.5, 1 - 0.25 / 0.5, 1e-6])  # agreement .75, .75, .5; the baseline errs in half
    model = np.sqrt(3)  # it never errs; three votes an example
    assert found.consensus_label.tolist() == [0, 1, 0, 1]
    assert found.annotator_weight == pytest.approx(weight)
    assert found.model_weight == pytest.approx(model)
    assert found.consensus_quality[0] == pytest.approx((0.9 * model + right * weight.sum()) / (model + weight.sum()))
    assert found.worst_class.tolist() == [0, 0, 0]


def test_the_order_and_the_names_of_votes_do_not_matter():
    votes, pred_probs, _ = simulated(200, 6, 4, seed=2)
    plain = crowdlab(*votes, pred_probs)
    shuffled = np.random.default_rng(0).permutation(len(votes[0]))
    example, annotator, label = (part[shuffled] for part in votes)
    other = crowdlab(example, annotator * 1_000_003 + 5, label, pred_probs)
    assert (other.posterior == plain.posterior).all()
    assert (other.consensus_label == plain.consensus_label).all()
    assert other.annotators.tolist() == (plain.annotators * 1_000_003 + 5).tolist()


def test_ties_without_any_clear_majority_fall_to_the_lowest_label():
    votes = (np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0]))
    assert crowdlab(*votes, np.full((2, 2), 0.5)).consensus_label.tolist() == [0, 0]


def test_the_consensus_is_more_often_right_than_the_majority():
    votes, pred_probs, truth = simulated(3000, 10, 5, seed=3, votes_per_example=(2,))
    example, _, label = votes
    first_vote = label[np.searchsorted(example, np.arange(3000))]
    assert np.mean(crowdlab(*votes, pred_probs).consensus_label == truth) > np.mean(first_vote == truth) + 0.1


def test_single_votes_and_impossible_probabilities_are_refused():
    with pytest.raises(ValueError, match="two annotators, none has more than 1"):
        crowdlab(np.array([0, 1]), np.array([0, 1]), np.array([0, 1]), np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="at least 0, the least is nan"):
        crowdlab(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), np.array([[np.nan, 0.5]]))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        crowdlab(np.array([0, 0]), np.array([0, 1]), np.array([0, 1]), np.array([0.5, 0.5]))
