"""How well predicted labels agree with gold labels."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

Labels = Sequence[Hashable] | np.ndarray


@dataclass(frozen=True)
class LabelScore:
    """One label's precision, recall and F1, each in [0, 1] and 0 where undefined; `n` is its number of gold rows."""

    label: Hashable
    precision: float
    recall: float
    f1: float
    n: int


def accuracy(gold: Labels, predicted: Labels) -> float:
    """Return the share of rows whose predicted label is the gold label; nan without rows."""
    _check_lengths(gold, predicted)
    if not len(gold):
        return float("nan")
    if isinstance(gold, np.ndarray) and isinstance(predicted, np.ndarray):
        return float(np.mean(gold == predicted))
    return sum(g == p for g, p in zip(gold, predicted, strict=True)) / len(gold)


def macro_f1(gold: Labels, predicted: Labels, labels: Labels) -> float:
    """Return the mean F1 over those of `labels` that occur in gold or predicted; nan without rows.

    A prediction that is none of `labels` (an answer that could not be read) counts as a miss.
    """
    n_right, n_gold, n_predicted = _counts(gold, predicted, labels)
    occurs = n_gold + n_predicted > 0
    if not occurs.any():
        return float("nan")
    return float(np.mean(2 * n_right[occurs] / (n_gold + n_predicted)[occurs]))


def scores_by_label(gold: Labels, predicted: Labels, labels: Labels) -> list[LabelScore]:
    """Return precision, recall, F1 and n of every label, in the order of `labels`."""
    n_right, n_gold, n_predicted = _counts(gold, predicted, labels)
    precision = n_right / np.maximum(n_predicted, 1)
    recall = n_right / np.maximum(n_gold, 1)
    f1 = 2 * n_right / np.maximum(n_gold + n_predicted, 1)
    return [LabelScore(label, float(precision[k]), float(recall[k]), float(f1[k]), int(n_gold[k]))
            for k, label in enumerate(labels)]


def confusion(gold: Labels, predicted: Labels, labels: Labels) -> np.ndarray:
    """Return the (K, K) int counts of rows by gold label (row) and predicted label (column), in `labels` order.

    A prediction that is none of `labels` is in no column, so a row may sum to less than the label's gold count.
    """
    rows, columns = _codes_of_both(gold, predicted, labels)
    known = columns >= 0
    cells = rows[known] * len(labels) + columns[known]
    return np.bincount(cells, minlength=len(labels) ** 2).reshape(len(labels), len(labels))


def label_codes(values: Labels, labels: Labels) -> np.ndarray:
    """Return the (n,) int positions of `values` in `labels`, -1 for a value that is none of them."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":  # the hot path of resampling
        known = np.asarray(labels)
        order = np.argsort(known)
        found = order[np.searchsorted(known, values, sorter=order).clip(max=len(known) - 1)]
        return np.where(known[found] == values, found, -1)
    position = {label: k for k, label in enumerate(labels)}
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return np.fromiter((position.get(value, -1) for value in listed), dtype=np.intp, count=len(values))


def _counts(gold: Labels, predicted: Labels, labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return right, gold and predicted counts, each (K,)."""
    rows, columns = _codes_of_both(gold, predicted, labels)
    n_labels = len(labels)
    n_right = np.bincount(rows[rows == columns], minlength=n_labels)
    n_predicted = np.bincount(columns[columns >= 0], minlength=n_labels)
    return n_right, np.bincount(rows, minlength=n_labels), n_predicted


def _codes_of_both(gold: Labels, predicted: Labels, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    _check_lengths(gold, predicted)
    if not len(labels):
        raise ValueError("labels must name at least one label, got none")
    gold_codes = label_codes(gold, labels)
    if len(gold_codes) and gold_codes.min() < 0:
        row = int(np.argmin(gold_codes))
        raise ValueError(f"gold labels must be among the {len(labels)} labels, row {row} has {gold[row]!r}")
    return gold_codes, label_codes(predicted, labels)


def _check_lengths(gold: Labels, predicted: Labels) -> None:
    if len(gold) != len(predicted):
        raise ValueError(f"gold and predicted must have one value per row, got {len(gold)} and {len(predicted)}")
