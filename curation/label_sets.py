"""What classifiers on embeddings believe about sets of labels that they have not seen, label by label."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from curation.probabilities import out_of_sample_probabilities
from jobs.progress import Progress, silent

WITHOUT, WITH = "without", "with"


@dataclass(frozen=True)
class OutOfSampleSets:
    """For each row and label the probability that the label belongs, by a classifier that saw no duplicate of the row.

    pred_probs: (n, K) float in [0, 1], columns follow `labels_order`; nan in rows that are not scored.
    rows_scored: (n,) bool. labels_order: the K labels that were scored. left_out: label → why it was not, in words.
    accuracy, majority_share: the means over the scored labels of the share of rows where the classifier, or always
    saying the commoner of “with” and “without”, agrees with what was given.
    """

    pred_probs: np.ndarray
    rows_scored: np.ndarray
    labels_order: list[str]
    left_out: dict[str, str]
    accuracy: float
    majority_share: float


def out_of_sample_sets(embeddings: np.ndarray, sets: Sequence[Collection[str] | None], clusters: np.ndarray, *,
                       labels_order: Sequence[str], seed: int, n_folds: int = 5,
                       progress: Progress = silent) -> OutOfSampleSets:
    """Return out-of-sample probabilities, one label against the rest at a time.

    embeddings, clusters: as in `out_of_sample_probabilities`. sets: the labels given to each row; None is a row that is
    neither fitted nor scored. A label is left out if fewer than n_folds clusters have it or lack it, or if its
    classifier is hardly better than always saying the commoner answer.
    Raises ValueError, in words, if no label is left.
    """
    is_given = np.array([row is not None for row in sets], dtype=bool)
    columns, order, left_out, shares = [], [], {}, []
    scored = is_given.copy()
    for number, label in enumerate(labels_order, 1):
        has = [None if row is None else WITH if label in row else WITHOUT for row in sets]
        progress(f"Scoring “{label}”", number, len(labels_order))
        n_with = len({cluster for cluster, answer in zip(clusters.tolist(), has, strict=True) if answer == WITH})
        n_without = len({cluster for cluster, answer in zip(clusters.tolist(), has, strict=True) if answer == WITHOUT})
        if min(n_with, n_without) < n_folds:
            left_out[label] = (f"{n_with} distinct examples have it and {n_without} do not, at least {n_folds} of each "
                               "are needed")
            continue
        found = out_of_sample_probabilities(embeddings, has, clusters, labels_order=[WITHOUT, WITH], seed=seed,
                                            n_folds=n_folds)
        if not found.is_better_than_chance:
            left_out[label] = (f"a model that read the texts is right about it in {found.accuracy:.1%} of them, hardly "
                               f"more than by always saying the commoner answer ({found.majority_share:.1%})")
            continue
        scored &= found.rows_scored
        order.append(label)
        columns.append(found.pred_probs[:, 1])
        shares.append((found.accuracy, found.majority_share))
    if not order:
        why = "; ".join(f"“{label}”: {reason}" for label, reason in list(left_out.items())[:3])
        raise ValueError(f"No label can be judged by a model yet. {why}.")
    pred_probs = np.where(scored[:, None], np.stack(columns, axis=1), np.nan)
    accuracy, majority_share = np.mean(shares, axis=0)
    return OutOfSampleSets(pred_probs, scored, order, left_out, float(accuracy), float(majority_share))
