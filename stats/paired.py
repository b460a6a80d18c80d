"""Two sets of answers to the same rows: which is better, and by how much."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from stats.intervals import Interval, bootstrap_interval, percentiles, resampled_sums


@dataclass(frozen=True)
class PairedComparison:
    """The 2 x 2 table of n rows answered twice, its test, and the difference in accuracy (second minus first).

    p_value: of the two-sided exact McNemar test; 1 where the two never differ. It takes rows as independent;
    the interval of `difference`, a percentile bootstrap over groups, does not.
    """

    n: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float
    difference: Interval


def compare_right_wrong(first: np.ndarray, second: np.ndarray, *, groups: np.ndarray, seed: int,
                        n_resamples: int = 10_000) -> PairedComparison:
    """Compare two answers to each row, given as right (True) or wrong.

    first, second: (n,) bool arrays over the same rows in the same order, n >= 1.
    groups: (n,) array; rows with equal values are drawn together when resampling.
    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions,
    Psychometrika 12.
    """
    first, second = _checked(first, second, groups)
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    n_discordant = only_first + only_second
    low, high = percentiles(_resampled_differences(first, second, groups, seed, n_resamples), 0.95)
    return PairedComparison(
        n=len(first), both_right=int(np.sum(first & second)), only_first=only_first, only_second=only_second,
        both_wrong=int(np.sum(~first & ~second)),
        p_value=float(binomtest(only_second, n_discordant).pvalue) if n_discordant else 1.0,
        difference=Interval((only_second - only_first) / len(first), low, high, len(first)))


def difference_lower_bound(first: np.ndarray, second: np.ndarray, *, groups: np.ndarray, seed: int,
                           confidence: float = 0.95, n_resamples: int = 10_000) -> float:
    """Return the one-sided lower bound, at `confidence`, of accuracy(second) - accuracy(first); for gates."""
    first, second = _checked(first, second, groups)
    return float(np.quantile(_resampled_differences(first, second, groups, seed, n_resamples), 1 - confidence))


def paired_difference(metric: Callable[[np.ndarray, np.ndarray], float], gold: np.ndarray, first: np.ndarray,
                      second: np.ndarray, *, groups: np.ndarray, seed: int, n_resamples: int = 2000,
                      confidence: float = 0.95) -> Interval:
    """Return metric(gold, second) - metric(gold, first) with its interval, both on the same resampled groups.

    metric: called with two arrays of equal length, e.g. `partial(macro_f1, labels=labels)`; int codes are fastest.
    """
    if not len(gold) == len(first) == len(second) == len(groups):
        raise ValueError(f"gold, first, second and groups must have one value per row, got {len(gold)}, "
                         f"{len(first)}, {len(second)} and {len(groups)}")

    def difference(rows: np.ndarray) -> float:
        return metric(gold[rows], second[rows]) - metric(gold[rows], first[rows])

    return bootstrap_interval(difference, groups, n_resamples=n_resamples, confidence=confidence, seed=seed)


def _resampled_differences(first: np.ndarray, second: np.ndarray, groups: np.ndarray, seed: int,
                           n_resamples: int) -> np.ndarray:
    """Return (n_resamples,) differences in accuracy over groups drawn anew.

    Two groups of one row, one won by each side, are added: without them, answers that hardly ever differ look
    certain to be equal (100 rows, 1 % truly lost: the 95 % lower bound is too high in 35 % of samples, with them in
    none). Source: in the manner of Agresti & Min 2005, Simple improved confidence intervals for comparing matched
    proportions, Statistics in Medicine 24.
    """
    _, group = np.unique(groups, return_inverse=True)
    gains = np.append(np.bincount(group, weights=second.astype(float) - first), [1, -1])
    sizes = np.append(np.bincount(group), [1, 1])
    sums = resampled_sums(np.column_stack([gains, sizes]), n_resamples=n_resamples, seed=seed)
    return np.asarray(sums[:, 0] / sums[:, 1])


def _checked(first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if not len(first) == len(second) == len(groups) or not len(first):
        raise ValueError("first, second and groups must have one value per row and at least one row, got "
                         f"{len(first)}, {len(second)} and {len(groups)}")
    return first, second
