"""Two independent samples: by how much a share or a median differs. For rows answered twice see `stats.paired`."""

import math

import numpy as np

from stats.intervals import Interval, percentiles, wilson


def share_difference(n_right_first: int, n_first: int, n_right_second: int, n_second: int, *,
                     confidence: float = 0.95) -> Interval:
    """Return the first share minus the second with its interval; `n` is that of the smaller sample.

    The estimate is nan and the interval as wide as it may be where a sample is empty.
    Raises ValueError unless 0 <= n_right <= n for both.
    Source: Newcombe 1998, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17, method 10: the Wilson intervals of both shares joined.
    """
    first = wilson(n_right_first, n_first, confidence=confidence)
    second = wilson(n_right_second, n_second, confidence=confidence)
    n = min(n_first, n_second)
    if n == 0:
        return Interval(float("nan"), -1.0, 1.0, 0, confidence)
    difference = first.estimate - second.estimate
    below = math.hypot(first.estimate - first.low, second.high - second.estimate)
    above = math.hypot(first.high - first.estimate, second.estimate - second.low)
    return Interval(difference, difference - below, difference + above, n, confidence)


def median_difference(first: np.ndarray, second: np.ndarray, *, seed: int, n_resamples: int = 2000,
                      confidence: float = 0.95) -> Interval:
    """Return the first median minus the second with its percentile bootstrap interval; `n` is of the smaller sample.

    first, second: float arrays, each of at least one value; both are drawn anew, each with replacement.
    Raises ValueError if one is empty.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.
    """
    if not len(first) or not len(second):
        raise ValueError(f"both samples need at least one value, got {len(first)} and {len(second)}")
    random = np.random.default_rng(seed)
    values = _resampled_medians(first, random, n_resamples) - _resampled_medians(second, random, n_resamples)
    low, high = percentiles(values, confidence)
    return Interval(float(np.median(first) - np.median(second)), low, high, min(len(first), len(second)), confidence)


def _resampled_medians(values: np.ndarray, random: np.random.Generator, n_resamples: int) -> np.ndarray:
    """Return (n_resamples,) medians of n draws with replacement, without drawing them.

    The m-th smallest of n uniform numbers in [0, 1) is Beta(m, n + 1 - m), and the next one stands at Beta(1, n - m) of
    what is left above it; times n and rounded down they are the places of the draws among the sorted values.
    """
    ordered, n = np.sort(values), len(values)
    m = (n + 1) // 2
    lower = random.beta(m, n + 1 - m, n_resamples)
    if n % 2:
        return np.asarray(ordered[_places(lower, n)])
    upper = lower + (1 - lower) * random.beta(1, n - m, n_resamples)
    return np.asarray((ordered[_places(lower, n)] + ordered[_places(upper, n)]) / 2)


def _places(uniform: np.ndarray, n: int) -> np.ndarray:
    return np.minimum((uniform * n).astype(np.intp), n - 1)
