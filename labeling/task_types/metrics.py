"""What scoring predicted values against gold values gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Parts = dict[str, np.ndarray]


@dataclass(frozen=True)
class Metrics:
    """`value` is the metric named `primary`; `parts` has all metrics by name, that one included, each in [0, 1].

    n: the number of rows.
    """

    primary: str
    value: float
    parts: dict[str, float]
    n: int


@dataclass(frozen=True)
class Counts:
    """What metrics are made of, row by row: sums of rows, however often each was drawn, give every metric again.

    by_row: (n, p) floats, n >= 1. of_sums: `metrics_of` of their task type.
    """

    by_row: np.ndarray
    of_sums: Callable[[np.ndarray], Parts]

    @property
    def metrics(self) -> Metrics:
        """The metrics of all rows together."""
        parts = {name: float(value) for name, value in self.of_sums(self.by_row.sum(axis=0)).items()}
        primary = next(iter(parts))
        return Metrics(primary, parts[primary], parts, len(self.by_row))

    @property
    def row_scores(self) -> np.ndarray:
        """(n,) floats in [0, 1]: the primary metric of every row alone."""
        return next(iter(self.of_sums(self.by_row).values()))


def check_rows(gold: Sequence[Any], predicted: Sequence[Any]) -> None:
    """Raises ValueError unless there is at least one row, and one prediction per row."""
    if len(gold) != len(predicted) or not gold:
        raise ValueError("gold and predicted must have one value per row and at least one row, got "
                         f"{len(gold)} and {len(predicted)}")


def f1(n_right: float, n_gold: float, n_predicted: float) -> float:
    """Return 2 · right / (gold + predicted), in [0, 1]; 1 where there was nothing to find and nothing was found."""
    return 2 * n_right / (n_gold + n_predicted) if n_gold + n_predicted else 1.0


def f1s(n_right: np.ndarray, n_both: np.ndarray) -> np.ndarray:
    """Return `f1` of each entry; n_both: how many are in gold and how many in predicted, together."""
    return np.divide(2 * n_right, n_both, out=np.ones(np.shape(n_both)), where=n_both > 0)


def macro(f1_of: np.ndarray, occurs: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of the entries that occur; 1 where none does."""
    n = occurs.sum(axis=-1)
    return np.divide((f1_of * occurs).sum(axis=-1), n, out=np.ones(np.shape(n)), where=n > 0)


def one_label_counts(gold: Sequence[Any], predicted: Sequence[Any]) -> np.ndarray:
    """Return (n, 2): whether the row is right, and 1."""
    return np.array([[a == b, 1] for a, b in zip(gold, predicted, strict=True)], dtype=float)


def label_counts(gold: Sequence[set[str]], predicted: Sequence[set[str]], labels: Sequence[str]) -> np.ndarray:
    """Return (n, 2 K): for every label whether both have it, then for every label how many of the two have it."""
    wanted, given = (np.array([[label in row for label in labels] for row in rows], dtype=float).reshape(
        len(rows), len(labels)) for rows in (gold, predicted))
    return np.hstack([wanted * given, wanted + given])
