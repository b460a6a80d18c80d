"""Which given labels look wrong, and what several annotators say together. The only module that imports cleanlab."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelQuality:
    """Per row: `label_quality` in [0, 1], low is bad; `is_label_issue` bool; `predicted_label` int column number."""

    label_quality: np.ndarray
    is_label_issue: np.ndarray
    predicted_label: np.ndarray


@dataclass(frozen=True)
class Consensus:
    """What several annotators and a classifier say together about each example.

    consensus_label: (n,) int column numbers.
    consensus_quality: (n,) float in [0, 1], low is bad.
    annotator_agreement: (n,) float in [0, 1], the share of the example's annotators who gave the consensus label.
    annotator_quality: annotator index -> quality in [0, 1]; whoever shares no example with another is left out.
    """

    consensus_label: np.ndarray
    consensus_quality: np.ndarray
    annotator_agreement: np.ndarray
    annotator_quality: dict[int, float]


def score_labels(labels: np.ndarray, pred_probs: np.ndarray) -> LabelQuality:
    """Score given labels against out-of-sample probabilities.

    labels: (n,) int column numbers in [0, K).
    pred_probs: (n, K) float, rows sum to 1, each from a classifier that did not see the row or a duplicate of it.
    Quality is the normalised margin, (p[given] - max p[other] + 1) / 2. An issue is a row that confident learning's
    two counts both point at ("both"): a suggestion for review, never a reason to change a label unseen.
    Raises ValueError if shapes differ or a label is no column.
    Source: Northcutt et al. 2021, Confident Learning, JAIR 70.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels = np.asarray(labels)
    _check(labels, pred_probs)
    if not len(labels):
        return LabelQuality(np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=np.intp))
    quality = get_label_quality_scores(labels, pred_probs, method="normalized_margin")
    # Worker processes cannot be started inside a Celery worker, so n_jobs stays 1.
    issues = find_label_issues(labels, pred_probs, filter_by="both", n_jobs=1)
    return LabelQuality(np.asarray(quality, dtype=float), np.asarray(issues, dtype=bool), pred_probs.argmax(axis=1))


def consensus(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray,
              pred_probs: np.ndarray) -> Consensus:
    """Return CROWDLAB's consensus of all votes.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each: the row of `pred_probs`, any
    number that names the annotator, the column of `pred_probs`. The order of the votes does not matter.
    pred_probs: (n, K) float, rows sum to 1, out of sample; every row needs a vote.
    Raises ValueError if no example has two votes, an example has none, somebody votes twice on one example, or a
    label is no column.
    Source: Goh et al. 2022, CROWDLAB, arXiv 2210.06812.
    """
    from cleanlab.multiannotator import get_label_quality_multiannotator

    annotators, annotator = np.unique(annotator_index, return_inverse=True)
    _check_votes(np.asarray(example_index), annotator, np.asarray(label_index), pred_probs, len(annotators))
    votes = np.full((len(pred_probs), len(annotators)), np.nan)
    votes[example_index, annotator] = label_index
    found = get_label_quality_multiannotator(votes, pred_probs, return_detailed_quality=False, verbose=False)
    per_example, per_annotator = found["label_quality"], found["annotator_stats"]
    return Consensus(
        consensus_label=per_example["consensus_label"].to_numpy(dtype=np.intp),
        consensus_quality=per_example["consensus_quality_score"].to_numpy(dtype=float),
        annotator_agreement=per_example["annotator_agreement"].to_numpy(dtype=float),
        annotator_quality={int(annotators[k]): float(quality)
                           for k, quality in per_annotator["annotator_quality"].dropna().sort_index().items()})


def _check(labels: np.ndarray, pred_probs: np.ndarray) -> None:
    if pred_probs.ndim != 2 or labels.shape != (len(pred_probs),):
        raise ValueError(f"pred_probs must be (n, K) with one label per row, got {pred_probs.shape} and {labels.shape}")
    _check_columns(labels, pred_probs)


def _check_columns(labels: np.ndarray, pred_probs: np.ndarray) -> None:
    outside = np.flatnonzero((labels < 0) | (labels >= pred_probs.shape[1]))
    if len(outside):
        raise ValueError(f"labels must be in [0, {pred_probs.shape[1]}), number {outside[0]} is {labels[outside[0]]}")


def _check_votes(example: np.ndarray, annotator: np.ndarray, label: np.ndarray, pred_probs: np.ndarray,
                 n_annotators: int) -> None:
    n = len(pred_probs)
    _check_columns(label, pred_probs)
    if len(example) and not 0 <= example.min() <= example.max() < n:
        raise ValueError(f"example_index must be in [0, {n}), got {example.min()} to {example.max()}")
    votes, n_given = np.unique(example * n_annotators + annotator, return_counts=True)
    if n_given.size and n_given.max() > 1:
        row = votes[n_given.argmax()] // n_annotators
        raise ValueError(f"an annotator votes once per example, on example {row} one has {n_given.max()} votes")
    votes_of_example = np.bincount(example, minlength=n)
    if votes_of_example.min(initial=1) == 0:
        raise ValueError(f"every example needs a vote, example {votes_of_example.argmin()} has none")
    if votes_of_example.max(initial=0) < 2:
        raise ValueError("at least some examples need labels from two annotators, none has more than "
                         f"{votes_of_example.max(initial=0)}")
