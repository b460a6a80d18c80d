import numpy as np
import pytest
from hypothesis import given, settings

from stats.dawid_skene import dawid_skene
from tests.stats.crowd import simulated, tied_votes


def dense(votes, n, n_labels, n_iterations, smoothing):
    """EM by loops over a full table: posterior, confusion [annotator, true, given] and prior."""
    example, annotator, label = votes
    m = annotator.max() + 1
    posterior = np.zeros((n, n_labels))
    np.add.at(posterior, (example, label), 1)
    posterior /= posterior.sum(axis=1, keepdims=True)
    for _ in range(n_iterations):
        prior, confusion = maximised(votes, posterior, m, smoothing)
        log = np.tile(np.log(np.maximum(prior, 1e-10)), (n, 1))
        for i, j, k in zip(example, annotator, label, strict=True):
            log[i] += np.log(confusion[j, :, k])
        posterior = np.exp(log - log.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
    prior, confusion = maximised(votes, posterior, m, smoothing)
    return posterior, confusion, prior


def maximised(votes, posterior, m, smoothing):
    n_labels = posterior.shape[1]
    confusion = np.full((m, n_labels, n_labels), max(smoothing, 1e-10))
    for i, j, k in zip(*votes, strict=True):
        confusion[j, :, k] += posterior[i]
    return posterior.mean(axis=0), confusion / confusion.sum(axis=2, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(tied_votes(needs_shared=False))
def test_a_few_votes_give_what_loops_over_a_table_give(case):
    votes, pred_probs = case
    n, n_labels = pred_probs.shape
    found = dawid_skene(*votes, n_examples=n, n_labels=n_labels, smoothing=0.1, max_iterations=5, tolerance=0)
    posterior, confusion, prior = dense(votes, n, n_labels, found.n_iterations, 0.1)
    np.testing.assert_allclose(found.posterior, posterior, atol=1e-6)
    np.testing.assert_allclose(found.confusion, confusion, atol=1e-6)
    np.testing.assert_allclose(found.class_prior, np.maximum(prior, 1e-10), atol=1e-6)


@pytest.mark.parametrize(("n", "n_annotators", "n_labels"), [(300, 6, 3), (200, 20, 8)])
def test_simulated_votes_give_what_loops_over_a_table_give(n, n_annotators, n_labels):
    votes, _, _ = simulated(n, n_annotators, n_labels, seed=0, votes_per_example=(2, 3, 5))
    found = dawid_skene(*votes, n_examples=n, n_labels=n_labels, max_iterations=15, tolerance=0)
    posterior, confusion, _ = dense(votes, n, n_labels, 15, 0.01)
    np.testing.assert_allclose(found.posterior, posterior, atol=1e-6)
    np.testing.assert_allclose(found.confusion, confusion, atol=1e-6)


def test_without_smoothing_it_is_what_crowd_kit_finds():
    crowdkit = pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is not installed")
    pandas = pytest.importorskip("pandas")
    (example, annotator, label), _, _ = simulated(500, 8, 4, seed=1, votes_per_example=(3, 4))
    theirs = crowdkit.DawidSkene(n_iter=20, tol=-1.0).fit(  # a tolerance below 0 is never reached
        pandas.DataFrame({"task": example, "worker": annotator, "label": label}))
    ours = dawid_skene(example, annotator, label, n_examples=500, n_labels=4, smoothing=0, max_iterations=20,
                       tolerance=0)
    np.testing.assert_allclose(ours.posterior, theirs.probas_.sort_index()[range(4)], atol=1e-6)
    by_given = theirs.errors_.sort_index()[range(4)].to_numpy().reshape(8, 4, 4)
    np.testing.assert_allclose(ours.confusion, by_given.swapaxes(1, 2), atol=1e-6)


def test_it_finds_the_truth_and_who_confuses_what():
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 600)
    label = np.tile(truth[:, None], (1, 4))
    label[:, 3] = np.where(truth == 2, 1, truth)  # the fourth annotator says 1 for every 2
    is_noise = random.random(label.shape) < 0.1
    label[is_noise] = random.integers(0, 3, is_noise.sum())
    example, annotator = np.nonzero(label >= 0)
    found = dawid_skene(example, annotator, label.ravel(), n_examples=600, n_labels=3)
    assert found.has_converged
    assert np.mean(found.consensus == truth) > 0.99
    assert found.confusion[3, 2, 1] > 0.9
    assert found.confusion[:3, 2, 2].min() > 0.9
    assert found.confusion.sum(axis=2) == pytest.approx(np.ones((4, 3)))
    assert found.class_prior == pytest.approx(np.bincount(truth) / 600, abs=0.02)


def test_order_and_names_do_not_matter_and_nothing_is_random():
    (example, annotator, label), _, _ = simulated(200, 5, 3, seed=2)
    plain = dawid_skene(example, annotator, label, n_examples=200, n_labels=3)
    shuffled = np.random.default_rng(0).permutation(len(example))
    other = dawid_skene(example[shuffled], annotator[shuffled] + 50, label[shuffled], n_examples=200, n_labels=3)
    assert (other.posterior == plain.posterior).all()
    assert other.annotators.tolist() == [50, 51, 52, 53, 54]


def test_settings_out_of_range_are_refused():
    votes = np.zeros((3, 1), dtype=int)
    with pytest.raises(ValueError, match="got -1"):
        dawid_skene(*votes, n_examples=1, n_labels=2, smoothing=-1)
    with pytest.raises(ValueError, match="got 0"):
        dawid_skene(*votes, n_examples=1, n_labels=2, max_iterations=0)
