"""Dawid-Skene: true labels and each annotator's confusions from votes alone, without a classifier.

It needs about three votes an example and several votes of each annotator for each label; with fewer, CROWDLAB or the
majority is more often right.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from stats.votes import Votes, ordered_votes

LEAST_PROBABILITY = 1e-10


@dataclass(frozen=True)
class DawidSkene:
    """What EM found for n examples, m annotators and K labels.

    posterior: (n, K) float; rows sum to 1.
    consensus: (n,) int, the most probable label, of equal ones the lowest.
    annotators: (m,) int, the numbers that name them, ascending.
    confusion: (m, K, K) float; confusion[j, true, given] is the chance that annotator j gives a label; rows sum to 1.
    class_prior: (K,) float; sums to 1.
    """

    posterior: np.ndarray
    consensus: np.ndarray
    annotators: np.ndarray
    confusion: np.ndarray
    class_prior: np.ndarray
    n_iterations: int
    has_converged: bool


def dawid_skene(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray, *, n_examples: int,
                n_labels: int, smoothing: float = 0.01, max_iterations: int = 100,
                tolerance: float = 1e-6) -> DawidSkene:
    """Return the labels and confusions under which the votes are most likely, by EM from the shares of the votes.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each: a number in [0, n_examples), any
    number that names the annotator, a number in [0, n_labels). The order of the votes does not matter.
    smoothing: votes added to each cell of each confusion, >= 0; it keeps a label that an annotator never gave possible.
    EM ends when no posterior moves by more than `tolerance`, or after max_iterations. It has no randomness.
    Raises ValueError if a number is out of its range, somebody votes twice on one example, or an example has no vote.
    Source: Dawid & Skene 1979, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm,
    JRSS C 28.
    """
    if smoothing < 0:
        raise ValueError(f"smoothing must be at least 0, got {smoothing}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")
    votes = ordered_votes(example_index, annotator_index, label_index, n_examples=n_examples, n_labels=n_labels)
    # One column for each (annotator, label) that occurs: sums over votes become products of sparse matrices.
    pair = votes.annotator * n_labels + votes.label
    occurs = np.bincount(pair, minlength=len(votes.annotators) * n_labels) > 0
    kind, column = np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[pair]
    starts = np.concatenate([[0], np.cumsum(votes.n_of_example)])
    said = scipy.sparse.csr_array((np.ones(len(pair)), column, starts), shape=(n_examples, len(kind)))
    said_by_kind = said.T.tocsr()
    annotator = kind // n_labels
    posterior = votes.counts() / votes.n_of_example[:, None]
    moved, n_iterations = np.inf, 0
    while moved > tolerance and n_iterations < max_iterations:
        prior, confusion = _prior(posterior), _confusion(said_by_kind @ posterior, annotator, n_labels, smoothing)
        new = said @ np.log(confusion)
        new += np.log(prior)
        _to_shares(new)
        posterior -= new
        moved = float(max(posterior.max(initial=0), -posterior.min(initial=0)))
        posterior, n_iterations = new, n_iterations + 1
    return DawidSkene(
        posterior=posterior, consensus=posterior.argmax(axis=1), annotators=votes.annotators,
        confusion=_dense_confusion(votes, said_by_kind @ posterior, kind, smoothing), class_prior=_prior(posterior),
        n_iterations=n_iterations, has_converged=moved <= tolerance)


def _to_shares(logs: np.ndarray) -> None:
    """Turn each row of logarithms, in place, into shares of their exponentials."""
    logs -= np.ascontiguousarray(logs.T).max(axis=0)[:, None]  # numpy is several times slower along short rows
    np.exp(logs, out=logs)
    logs /= (logs @ np.ones(logs.shape[1]))[:, None]


def _prior(posterior: np.ndarray) -> np.ndarray:
    return np.maximum(np.full(len(posterior), 1 / max(len(posterior), 1)) @ posterior, LEAST_PROBABILITY)


def _confusion(counts: np.ndarray, annotator: np.ndarray, n_labels: int, smoothing: float) -> np.ndarray:
    """Return (n_kinds, K): the chance that an annotator gives a label, for each true label.

    counts: (n_kinds, K), how often the annotator gave the label, by true label; annotator: (n_kinds,) ascending.
    """
    starts = np.flatnonzero(np.diff(annotator, prepend=-1))
    totals = np.add.reduceat(counts, starts, axis=0)[annotator] + n_labels * max(smoothing, LEAST_PROBABILITY)
    return (counts + max(smoothing, LEAST_PROBABILITY)) / totals


def _dense_confusion(votes: Votes, counts: np.ndarray, kind: np.ndarray, smoothing: float) -> np.ndarray:
    given = np.zeros((len(votes.annotators), votes.n_labels, votes.n_labels))
    given[kind // votes.n_labels, kind % votes.n_labels] = counts
    given += max(smoothing, LEAST_PROBABILITY)
    confusion = given.swapaxes(1, 2)
    return confusion / confusion.sum(axis=2, keepdims=True)
