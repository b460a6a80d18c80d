import subprocess
import sys

import numpy as np
import pytest

from curation.label_quality import consensus, score_labels


def crowd(n=300, accuracies=(0.9, 0.8, 0.6, 0.85), labels_per_example=2, n_labels=3, seed=0):
    """True labels, a classifier's probabilities, and votes in long form by annotators of given accuracy."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_labels, n)
    believed = np.where(random.random(n) < 0.85, truth, random.integers(0, n_labels, n))
    pred_probs = np.full((n, n_labels), 0.1 / (n_labels - 1))
    pred_probs[np.arange(n), believed] = 0.9
    votes = []
    for example in range(n):
        for annotator in random.choice(len(accuracies), labels_per_example, replace=False):
            is_right = random.random() < accuracies[annotator]
            other = (truth[example] + random.integers(1, n_labels)) % n_labels
            votes.append((example, annotator, truth[example] if is_right else other))
    return truth, pred_probs, np.array(votes).T


def test_quality_is_the_normalised_margin():
    pred_probs = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.2, 0.4, 0.4], [0.1, 0.1, 0.8]])
    quality = score_labels(np.array([0, 1, 2, 2]), pred_probs)
    assert quality.label_quality == pytest.approx([0.75, 0.25, 0.5, 0.85])
    assert quality.predicted_label.tolist() == [0, 0, 1, 2]


def test_planted_errors_are_flagged_and_score_lowest():
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 800)
    pred_probs = np.full((800, 4), 0.05)
    pred_probs[np.arange(800), truth] = 0.85
    pred_probs = pred_probs * random.uniform(0.8, 1.2, pred_probs.shape)
    pred_probs /= pred_probs.sum(axis=1, keepdims=True)
    given = truth.copy()
    given[:40] = (given[:40] + 1) % 4
    quality = score_labels(given, pred_probs)
    assert np.flatnonzero(quality.is_label_issue).tolist() == list(range(40))
    assert quality.label_quality[:40].max() < quality.label_quality[40:].min()


def test_a_label_outside_the_columns_is_refused():
    with pytest.raises(ValueError, match="number 1 is 2"):
        score_labels(np.array([0, 2]), np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3,\)"):
        score_labels(np.array([0, 1, 1]), np.full((2, 2), 0.5))


def test_consensus_is_better_than_single_votes_and_knows_the_worst_annotator():
    truth, pred_probs, votes = crowd()
    found = consensus(*votes, pred_probs)
    example, _, label = votes
    assert np.mean(found.consensus_label == truth) > np.mean(label == truth[example]) + 0.1
    assert min(found.annotator_quality, key=found.annotator_quality.__getitem__) == 2
    is_same = label == found.consensus_label[example]
    assert found.annotator_agreement == pytest.approx(np.bincount(example, weights=is_same) / 2)
    assert (found.consensus_quality >= 0).all()
    assert (found.consensus_quality <= 1).all()


def test_annotators_keep_their_own_numbers_and_the_order_of_votes_does_not_matter():
    _, pred_probs, (example, annotator, label) = crowd()
    plain = consensus(example, annotator, label, pred_probs)
    shuffled = np.random.default_rng(0).permutation(len(example))
    other = consensus(example[shuffled], annotator[shuffled] * 100 + 7, label[shuffled], pred_probs)
    assert (other.consensus_label == plain.consensus_label).all()
    assert (other.consensus_quality == plain.consensus_quality).all()
    assert other.annotator_quality == {k * 100 + 7: quality for k, quality in plain.annotator_quality.items()}


def test_examples_with_one_vote_may_stand_beside_those_with_two():
    _, pred_probs, votes = crowd()
    keep = np.ones(votes.shape[1], dtype=bool)
    keep[1:400:2] = False  # of 200 examples the second vote
    found = consensus(*votes[:, keep], pred_probs)
    assert len(found.consensus_label) == 300


def test_an_annotator_who_shares_no_example_has_no_quality():
    _, pred_probs, votes = crowd()
    keep = votes[0] < 200
    loner = np.array([(example, 9, 0) for example in range(200, 300)]).T
    found = consensus(*np.hstack([votes[:, keep], loner]), pred_probs)
    assert sorted(found.annotator_quality) == [0, 1, 2, 3]
    assert not np.isnan(found.consensus_quality).any()


def test_consensus_is_cleanlabs():
    from cleanlab.multiannotator import get_label_quality_multiannotator

    _, pred_probs, (example, annotator, label) = crowd(labels_per_example=3)
    found = consensus(example, annotator, label, pred_probs)
    table = np.full((300, 4), np.nan)
    table[example, annotator] = label
    theirs = get_label_quality_multiannotator(table, pred_probs, verbose=False)
    assert found.consensus_label.tolist() == theirs["label_quality"]["consensus_label"].tolist()
    assert found.consensus_quality == pytest.approx(theirs["label_quality"]["consensus_quality_score"], abs=1e-9)
    assert found.annotator_quality == pytest.approx(theirs["annotator_stats"]["annotator_quality"].to_dict(), abs=1e-9)


def test_no_rows_have_no_quality():
    assert len(score_labels(np.empty(0, dtype=int), np.empty((0, 3))).label_quality) == 0


def test_single_votes_alone_have_no_consensus():
    _, pred_probs, votes = crowd(labels_per_example=1)
    with pytest.raises(ValueError, match="two annotators"):
        consensus(*votes, pred_probs)


@pytest.mark.parametrize(("votes", "message"), [
    ([(0, 0, 1), (0, 1, 1)], "example 1 has none"),
    ([(0, 0, 1), (0, 0, 0), (1, 0, 0)], "example 0 one has 2 votes"),
    ([(0, 0, 1), (0, 1, 2), (1, 0, 0)], "number 1 is 2"),
    ([(0, 0, 1), (0, 1, 1), (2, 0, 0)], "example_index"),
])
def test_votes_that_cannot_be_are_refused(votes, message):
    with pytest.raises(ValueError, match=message):
        consensus(*np.array(votes).T, np.full((2, 2), 0.5))


def test_importing_the_module_leaves_cleanlab_out():
    program = "import sys, curation.label_quality; sys.exit('cleanlab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
