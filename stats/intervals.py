"""Intervals for shares and for any statistic over groups of rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy

MAX_CELLS = 2_000_000  # of one block of resampling counts: 16 MB


@dataclass(frozen=True)
class Interval:
    """`estimate` with its two-sided interval [low, high]; `n` is the number of rows (or items) behind it."""

    estimate: float
    low: float
    high: float
    n: int
    confidence: float = 0.95


def wilson(n_right: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return the share n_right / n with its two-sided Wilson interval; nan in [0, 1] where n is 0.

    Raises ValueError unless 0 <= n_right <= n.
    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference, JASA 22.
    """
    if not 0 <= n_right <= n:
        raise ValueError(f"n_right must be in [0, n], got {n_right} of {n}")
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0, 0, confidence)
    bounds = scipy.stats.binomtest(n_right, n).proportion_ci(confidence, method="wilson")
    return Interval(n_right / n, float(bounds.low), float(bounds.high), n, confidence)


def wilson_of_share(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's two-sided bounds of a share in [0, 1] known as well as from n > 0 rows; n need not be whole."""
    z2 = float(scipy.stats.norm.isf((1 - confidence) / 2)) ** 2
    centre, spread = share + z2 / (2 * n), math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    return max(0.0, (centre - spread) / (1 + z2 / n)), min(1.0, (centre + spread) / (1 + z2 / n))


def wilson_bounds(n_right: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the lower and the upper one-sided Wilson bound of a share, each at `confidence`; (0, 1) where n is 0.

    For gates: "at least the lower bound" is wrong in about 1 - confidence of all samples, and so is "at most the
    upper bound"; taken together they are a two-sided interval of 2 * confidence - 1 only.
    """
    interval = wilson(n_right, n, confidence=2 * confidence - 1)
    return interval.low, interval.high


def bootstrap_interval(statistic: Callable[[np.ndarray], float], groups: np.ndarray, *, n_resamples: int = 2000,
                       confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return `statistic` of all rows with its percentile interval when whole groups are drawn anew.

    statistic: called with an int array of row numbers (repeats allowed) and returns a float.
    groups: (n,) array; rows with equal values belong together (a customer, a thread, a cluster of duplicates).
    Resamples where the statistic is nan are left out. Raises ValueError if there are no rows.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; by groups: Field & Welsh 2007,
    Bootstrapping clustered data, JRSS B 69.
    """
    n = len(groups)
    if n == 0:
        raise ValueError("groups must have at least one row, got 0")
    values = np.array([statistic(rows) for rows in _drawn_rows(groups, n_resamples, seed)], dtype=float)
    low, high = percentiles(values, confidence)
    return Interval(float(statistic(np.arange(n))), low, high, n, confidence)


def resampled_sums(values: np.ndarray, *, n_resamples: int, seed: int) -> np.ndarray:
    """Return (n_resamples, p) column sums of `values` (n, p), each over n of its rows drawn with replacement.

    Equal rows are drawn as one kind, by a multinomial count: the same distribution as drawing row by row, in time
    and memory that follow the number of different rows.
    """
    kinds, n_of_kind = np.unique(values, axis=0, return_counts=True)
    random = np.random.default_rng(seed)
    sums = np.empty((n_resamples, values.shape[1]))
    step = max(1, MAX_CELLS // len(kinds))
    for start in range(0, n_resamples, step):
        stop = min(start + step, n_resamples)
        counts = random.multinomial(len(values), n_of_kind / len(values), size=stop - start)
        sums[start:stop] = counts @ kinds
    return sums


def percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the two-sided percentile bounds of resampled `values` without their nans; (nan, nan) if none is left."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _drawn_rows(groups: np.ndarray, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of one resample after the other: as many groups as there are, with replacement."""
    _, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rows = np.argsort(group_of_row, kind="stable")
    starts = np.cumsum(sizes) - sizes
    random = np.random.default_rng(seed)
    for _ in range(n_resamples):
        drawn = random.integers(len(sizes), size=len(sizes))
        lengths = sizes[drawn]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield rows[np.repeat(starts[drawn], lengths) + within]
