"""ActiveLab: which example gains most from one more label, be it the first or a further one.

1. A temperature makes the classifier's probabilities as sure as the votes are.
2. CROWDLAB gives the quality of each consensus and the weights of annotators and classifier.
3. A score is that quality, pulled towards 1 / K the more, the less evidence stands behind it.

Source: Goh & Mueller 2023, ActiveLab, arXiv 2301.11856. At the same temperature scores equal those of cleanlab 2.9. It
fits the temperature to shares of votes that it puts into the wrong columns where an example's votes leave a label out
(its labels are floats, which its count takes for names), so its own temperature is another one and has no meaning.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stats.crowdlab import crowdlab
from stats.votes import Votes, ordered_votes

COARSE_TEMPERATURES = (0.1, 0.2, 0.5, 0.8, 1.0, 2.0, 3.0, 5.0, 8.0)
STEPS_BETWEEN = 4
LEAST_PROBABILITY = 1e-30


@dataclass(frozen=True)
class ActiveLab:
    """Scores in [0, 1], comparable with each other; the lowest gains most from one more label.

    labelled: (n,) float; unlabelled: (u,) float.
    temperature: what the probabilities were softened by; 1 where no example has two votes.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    temperature: float


def activelab(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray, pred_probs: np.ndarray,
              pred_probs_unlabelled: np.ndarray | None = None, *, temperature: float | None = None) -> ActiveLab:
    """Return the score of each example with votes and of each without.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each: the row of `pred_probs`, any
    number that names the annotator, the column of `pred_probs`. The order of the votes does not matter.
    pred_probs: (n, K) float, K >= 2, rows sum to 1, out of sample; every row needs a vote; n may be 0.
    pred_probs_unlabelled: (u, K) float, rows sum to 1, of the examples that nobody has labelled yet.
    temperature: above 0; None is the one that fits the votes best.
    Where no example has two votes, annotators and classifier weigh alike, quality is the probability of the label, and
    the temperature is 1.
    Raises ValueError where `crowdlab` does, except for single votes.
    """
    pred_probs = np.asarray(pred_probs, dtype=float)
    n, n_labels = pred_probs.shape
    unlabelled = np.empty((0, n_labels)) if pred_probs_unlabelled is None else np.asarray(pred_probs_unlabelled)
    if n_labels < 2 or unlabelled.shape[1:] != (n_labels,):
        raise ValueError("pred_probs and pred_probs_unlabelled must have the same two or more columns, got "
                         f"{pred_probs.shape} and {unlabelled.shape}")
    votes = ordered_votes(example_index, annotator_index, label_index, n_examples=n, n_labels=n_labels)
    if votes.n_of_example.max(initial=0) < 2:
        temperature, model_weight, annotator_weight = 1.0, 1.0, np.ones(max(len(votes.annotators), 1))
        quality = pred_probs[votes.example, votes.label]
    else:
        if temperature is None:
            temperature = best_temperature(votes, pred_probs)
        crowd = crowdlab(votes.example, votes.annotator, votes.label, at_temperature(pred_probs, temperature))
        model_weight, annotator_weight, quality = crowd.model_weight, crowd.annotator_weight, crowd.consensus_quality
    of_one_more = annotator_weight.mean()
    evidence = np.bincount(votes.example, weights=annotator_weight[votes.annotator], minlength=n) + model_weight
    labelled = (quality * evidence + of_one_more / n_labels) / (evidence + of_one_more)
    surest = at_temperature(unlabelled, temperature).max(axis=1)
    return ActiveLab(
        labelled=labelled, temperature=temperature,
        unlabelled=(surest * model_weight + of_one_more / n_labels) / (model_weight + of_one_more))


def best_temperature(votes: Votes, pred_probs: np.ndarray) -> float:
    """Return the temperature under which the probabilities fit the shares of the votes best, of equal ones the lowest.

    It is the one with the least cross-entropy of COARSE_TEMPERATURES, then of STEPS_BETWEEN steps to each neighbour; so
    the highest is 7.25.
    """
    coarse = np.array(COARSE_TEMPERATURES)
    at = int(np.argmin([_cross_entropy(votes, pred_probs, temperature) for temperature in coarse]))
    knots = coarse[max(at - 1, 0):at + 2]
    fine = np.concatenate([np.linspace(low, high, STEPS_BETWEEN, endpoint=False) for low, high in pairwise(knots)])
    if at + 1 < len(coarse):
        fine = np.append(fine, knots[-1])
    return float(fine[np.argmin([_cross_entropy(votes, pred_probs, temperature) for temperature in fine])])


def at_temperature(pred_probs: np.ndarray, temperature: float) -> np.ndarray:
    """Return (n, K) probabilities, surer below temperature 1, less sure above; rows sum to 1.

    Rows are divided by their sum before and twice after, as cleanlab does it: the last bit of a probability decides
    whether CROWDLAB takes two labels for equally probable, and with that what the example's consensus is.
    """
    divided = _divided_by_sums(np.maximum(pred_probs, LEAST_PROBABILITY))
    return _divided_by_sums(_divided_by_sums(_powers(divided, temperature)))


def _divided_by_sums(rows: np.ndarray) -> np.ndarray:
    return rows / rows.sum(axis=1, keepdims=True)


def choose_batch(scores: np.ndarray, embeddings: np.ndarray, n: int, *, candidates_per_pick: int = 4) -> np.ndarray:
    """Return (n,) int rows to label next, in the order of choice: low scores, but unlike each other.

    scores: (u,) float, low first; embeddings: (u, d) float, every row of length 1.
    Candidates are the n * candidates_per_pick rows with the lowest scores, of equal ones the earlier. The lowest is
    taken first, then always the candidate whose nearest taken row is farthest (of equal ones the lower score): a heap
    of near-copies gives one. With candidates_per_pick=1 only the order differs from the n lowest scores. Fewer than n
    rows are all returned.
    Source: greedy k-center, Gonzalez 1985, Clustering to minimize the maximum intercluster distance, TCS 38; for
    choosing what to label, Sener & Savarese 2018, arXiv 1708.00489.
    """
    if len(scores) != len(embeddings):
        raise ValueError(f"scores and embeddings must have one row per example, got {len(scores)} and "
                         f"{len(embeddings)}")
    if n < 0 or candidates_per_pick < 1:
        raise ValueError(f"n must be at least 0 and candidates_per_pick at least 1, got {n} and {candidates_per_pick}")
    candidates = np.argsort(scores, kind="stable")[:n * candidates_per_pick]
    vectors = embeddings[candidates]
    chosen: list[int] = []
    nearest = np.full(len(candidates), -np.inf)  # cosine to the nearest row taken
    for _ in range(min(n, len(candidates))):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
        nearest[chosen[-1]] = np.inf
    return candidates[chosen]


def _cross_entropy(votes: Votes, pred_probs: np.ndarray, temperature: float) -> float:
    """Return the mean over examples of the cross-entropy between the shares of their votes and the probabilities."""
    scaled = _powers(pred_probs, temperature)
    of_votes = scaled[votes.example, votes.label] / scaled.sum(axis=1)[votes.example]
    return -float(np.sum(np.log(np.maximum(of_votes, LEAST_PROBABILITY)) / votes.n_of_example[votes.example]))


def _powers(pred_probs: np.ndarray, temperature: float) -> np.ndarray:
    with np.errstate(divide="ignore"):  # log 0 = -inf, whose exponential is 0 again
        return np.exp(np.log(pred_probs) / temperature)
