"""How far people agree when several label the same items."""

import numpy as np

from stats.intervals import Interval, percentiles, resampled_sums


def krippendorff_alpha(counts: np.ndarray) -> float:
    """Return Krippendorff's alpha for labels without order: 1 is full agreement, 0 what chance gives.

    counts: (n_items, K) int array, the number of votes for each label on each item.
    Items with fewer than two votes are ignored. nan where undefined: no item has two votes, or all votes of those
    that do are for one label.
    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    items = _pairable(counts)
    return float(_alphas(_sums_of_items(items).sum(axis=0, keepdims=True))[0])


def alpha_interval(counts: np.ndarray, *, seed: int, n_resamples: int = 1000, confidence: float = 0.95) -> Interval:
    """Return alpha with its percentile interval over items drawn anew; its n counts items with two votes or more.

    Resamples in which alpha is undefined are left out. nan throughout where no item has two votes.
    """
    items = _pairable(counts)
    if not len(items):
        return Interval(float("nan"), float("nan"), float("nan"), 0, confidence)
    sums = _sums_of_items(items)
    low, high = percentiles(_alphas(resampled_sums(sums, n_resamples=n_resamples, seed=seed)), confidence)
    return Interval(float(_alphas(sums.sum(axis=0, keepdims=True))[0]), low, high, len(items), confidence)


def raw_agreement(counts: np.ndarray) -> float:
    """Return the mean, over items with two votes or more, of the share of pairs of votes that agree; nan if none."""
    items = _pairable(counts)
    if not len(items):
        return float("nan")
    votes = items.sum(axis=1)
    return float(np.mean((items * (items - 1)).sum(axis=1) / (votes * (votes - 1))))


def noise_ceiling(counts: np.ndarray, *, seed: int, n_resamples: int = 1000, confidence: float = 0.95) -> Interval:
    """Return how often one annotator, drawn at random, gives the label that most of the others gave.

    counts: (n_items, K) int array, the number of votes for each label on each item. Items with fewer than two votes are
    ignored; the interval, a percentile bootstrap over items, counts the others. Where j labels share the most votes of
    the others, giving one of them counts 1 / j. nan where no item has two votes.
    What it is: about the best accuracy that any model can be measured at against single people's labels like these; one
    that scores above it has learned these people's errors, or the test leaks. What it is not: a bound against majority
    labels, which are better than one person's, so there a model can truly score higher; nor does it see errors that the
    annotators share. With two votes an item it is their raw agreement; three and more make it a better estimate.
    """
    items = _pairable(counts)
    if not len(items):
        return Interval(float("nan"), float("nan"), float("nan"), 0, confidence)
    agreement = _agreement_with_most_others(items)[:, None]
    sums = resampled_sums(agreement, n_resamples=n_resamples, seed=seed)
    low, high = percentiles(sums[:, 0] / len(items), confidence)
    return Interval(float(agreement.mean()), low, high, len(items), confidence)


def _agreement_with_most_others(items: np.ndarray) -> np.ndarray:
    """Return (n,): the share of an item's votes that agree with most of its other votes.

    Only votes for the item's single commonest label can: without one of its M votes that label still leads, or is level
    with those that have M - 1.
    """
    most = items.max(axis=1, keepdims=True)
    is_clear = (items == most).sum(axis=1) == 1
    n_level = 1 + (items == most - 1).sum(axis=1)
    return np.where(is_clear, most[:, 0] / items.sum(axis=1) / n_level, 0.0)


def _pairable(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 2:
        raise ValueError(f"counts must have one row per item and one column per label, got shape {counts.shape}")
    if counts.size and counts.min() < 0:
        raise ValueError(f"counts must not be negative, got {counts.min()}")
    return counts[counts.sum(axis=1) >= 2].astype(float)


def _sums_of_items(items: np.ndarray) -> np.ndarray:
    """Return (n, K + 1): each item's votes by label and its observed disagreement."""
    votes = items.sum(axis=1)
    observed = (items * (votes[:, None] - items)).sum(axis=1) / np.maximum(votes - 1, 1)
    return np.column_stack([items, observed])


def _alphas(sums: np.ndarray) -> np.ndarray:
    """Return alpha from each row of summed votes and observed disagreement."""
    by_label, observed = sums[:, :-1], sums[:, -1]
    n = by_label.sum(axis=1)
    expected = (n**2 - (by_label**2).sum(axis=1)) / np.maximum(n - 1, 1)
    alphas = np.full(len(sums), np.nan)
    defined = expected > 0
    alphas[defined] = 1 - observed[defined] / expected[defined]
    return alphas
