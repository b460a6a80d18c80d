"""How far two who judge the same items agree, beyond what chance would give."""

import numpy as np

from stats.intervals import Interval, percentiles, resampled_sums


def cohen_kappa(first: np.ndarray, second: np.ndarray, *, n_labels: int) -> float:
    """Return Cohen's kappa of two (n,) int arrays in [0, n_labels): 1 is full agreement, 0 what chance gives.

    nan where undefined: no item, or both say one and the same label throughout.
    Source: Cohen 1960, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20.
    """
    return float(_kappas(_cells(first, second, n_labels).sum(axis=0, keepdims=True), n_labels)[0])


def kappa_interval(first: np.ndarray, second: np.ndarray, *, n_labels: int, groups: np.ndarray, seed: int = 0,
                   n_resamples: int = 2000) -> Interval:
    """Return kappa with its 95 % percentile interval over groups drawn anew; nan throughout where it is undefined.

    groups: (n,); items with equal values are drawn together. Resamples in which kappa is undefined are left out.
    """
    n, cells = len(first), _cells(first, second, n_labels)
    if not n:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    kinds = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((kinds.max() + 1, cells.shape[1]))
    np.add.at(sums, kinds, cells)
    low, high = percentiles(_kappas(resampled_sums(sums, n_resamples=n_resamples, seed=seed), n_labels), 0.95)
    return Interval(cohen_kappa(first, second, n_labels=n_labels), low, high, n)


def _cells(first: np.ndarray, second: np.ndarray, n_labels: int) -> np.ndarray:
    """(n, n_labels²): in which cell of the table of both each item stands."""
    return np.eye(n_labels**2)[np.asarray(first, dtype=int) * n_labels + np.asarray(second, dtype=int)]


def _kappas(sums: np.ndarray, n_labels: int) -> np.ndarray:
    table = sums.reshape(-1, n_labels, n_labels)
    with np.errstate(divide="ignore", invalid="ignore"):
        table = table / table.sum(axis=(1, 2), keepdims=True)
        agreed = np.trace(table, axis1=1, axis2=2)
        by_chance = (table.sum(axis=1) * table.sum(axis=2)).sum(axis=1)
        return np.where(by_chance < 1 - 1e-12, (agreed - by_chance) / (1 - by_chance), np.nan)
