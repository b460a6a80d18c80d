"""Which given labels look wrong, and what several annotators say together. The only module that imports cleanlab."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stats.crowdlab import crowdlab


@dataclass(frozen=True)
class LabelQuality:
    """Per row: `label_quality` in [0, 1], low is bad; `is_label_issue` bool; `predicted_label` int column number."""

    label_quality: np.ndarray
    is_label_issue: np.ndarray
    predicted_label: np.ndarray


@dataclass(frozen=True)
class LabelSetQuality:
    """Per row, over all of its labels: `label_quality` in [0, 1], low is bad; `is_label_issue` bool."""

    label_quality: np.ndarray
    is_label_issue: np.ndarray


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


def score_label_sets(sets: Sequence[Sequence[int]], pred_probs: np.ndarray) -> LabelSetQuality:
    """Score given sets of labels against out-of-sample probabilities, one label against the rest at a time.

    sets: for each row the column numbers in [0, K) of the labels given, perhaps none.
    pred_probs: (n, K) float in [0, 1], the probability of each label by a classifier that did not see the row.
    Quality pools the K labels' normalised margins, the worst counting most. An issue is a row in which confident
    learning's two counts both point at one label at least: a suggestion for review.
    Raises ValueError if there is not one set per row or a label is no column.
    Source: Thyagarajan et al. 2023, Identifying Incorrect Annotations in Multi-Label Classification Data,
    arXiv 2211.13895.
    """
    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues

    if pred_probs.ndim != 2 or len(sets) != len(pred_probs):
        raise ValueError(f"pred_probs must be (n, K) with one set per row, got {pred_probs.shape} and {len(sets)} sets")
    outside = [row for row, columns in enumerate(sets) if not all(0 <= k < pred_probs.shape[1] for k in columns)]
    if outside:
        raise ValueError(f"labels must be in [0, {pred_probs.shape[1]}), set {outside[0]} is {sets[outside[0]]}")
    if not len(sets):
        return LabelSetQuality(np.empty(0), np.empty(0, dtype=bool))
    if pred_probs.shape[1] == 1:  # cleanlab takes two labels and more
        binary = score_labels(np.array([len(set(columns)) for columns in sets]),
                              np.hstack([1 - pred_probs, pred_probs]))
        return LabelSetQuality(binary.label_quality, binary.is_label_issue)
    given = [list(columns) for columns in sets]
    quality = get_label_quality_scores(given, pred_probs, method="normalized_margin")
    issues = find_label_issues(given, pred_probs, filter_by="both", n_jobs=1)
    return LabelSetQuality(np.asarray(quality, dtype=float), np.asarray(issues, dtype=bool))


def consensus(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray,
              pred_probs: np.ndarray) -> Consensus:
    """Return CROWDLAB's consensus of all votes.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each: the row of `pred_probs`, any
    number that names the annotator, the column of `pred_probs`. The order of the votes does not matter.
    pred_probs: (n, K) float, rows sum to 1, out of sample; every row needs a vote.
    Raises ValueError if no example has two votes, an example has none, somebody votes twice on one example, or a
    label is no column.
    Source: Goh et al. 2022, CROWDLAB, arXiv 2210.06812; computed by `stats.crowdlab`, which equals cleanlab's.
    """
    found = crowdlab(example_index, annotator_index, label_index, pred_probs)
    return Consensus(
        consensus_label=found.consensus_label, consensus_quality=found.consensus_quality,
        annotator_agreement=found.annotator_agreement,
        annotator_quality={int(annotator): float(quality) for annotator, quality
                           in zip(found.annotators, found.annotator_quality, strict=True) if not np.isnan(quality)})


def _check(labels: np.ndarray, pred_probs: np.ndarray) -> None:
    if pred_probs.ndim != 2 or labels.shape != (len(pred_probs),):
        raise ValueError(f"pred_probs must be (n, K) with one label per row, got {pred_probs.shape} and {labels.shape}")
    outside = np.flatnonzero((labels < 0) | (labels >= pred_probs.shape[1]))
    if len(outside):
        raise ValueError(f"labels must be in [0, {pred_probs.shape[1]}), number {outside[0]} is {labels[outside[0]]}")
