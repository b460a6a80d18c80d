"""How far people agree when several label the same items."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from stats.intervals import Interval, percentiles, resampled_sums
from stats.votes import ordered_votes

Value = TypeVar("Value")


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


def alpha_of_distances(values: Sequence[Value], item_index: np.ndarray, distance: Callable[[Value, Value], float], *,
                       seed: int, max_pairs: int = 50_000, n_resamples: int = 1000,
                       confidence: float = 0.95) -> Interval:
    """Return Krippendorff's alpha for answers of any kind (spans, JSON, text), with its interval over items.

    values: all answers; item_index: (n_values,) int, equal for answers to the same item.
    distance: called with two values; symmetric, 0 for equal ones, larger the more they differ. With 0 for equal and 1
    for unequal labels, alpha is `krippendorff_alpha`; a squared difference gives alpha for numbers.
    Items with fewer than two answers are ignored; the interval's n counts the others. Disagreement within items is
    taken over all pairs. The disagreement that chance gives is taken over all pairs of answers if there are at most
    max_pairs, else over that many drawn by `seed`. nan where undefined: no item has two answers, or no two answers
    anywhere differ.
    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section E.
    """
    if len(values) != len(item_index):
        raise ValueError(f"values and item_index must have one entry per answer, got {len(values)} and "
                         f"{len(item_index)}")
    _, item, n_of_item = np.unique(item_index, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(n_of_item[item] >= 2)
    if not len(kept):
        return Interval(float("nan"), float("nan"), float("nan"), 0, confidence)
    _, item, n_of_item = np.unique(item[kept], return_inverse=True, return_counts=True)
    answers = [values[row] for row in kept]
    random = np.random.default_rng(seed)
    first, second, n_pairs = _pairs(len(answers), max_pairs, random)
    apart = np.array([distance(answers[i], answers[j]) for i, j in zip(first, second, strict=True)], dtype=float)
    observed = _observed_by_item(answers, item, n_of_item, distance)

    def alpha(times: np.ndarray) -> float:
        """Alpha when each item is drawn `times` (int per item)."""
        n = float(times @ n_of_item)
        expected = 2 * float(np.sum(times[item[first]] * times[item[second]] * apart)) * n_pairs / len(apart) / (n - 1)
        return 1 - float(times @ observed) / expected if expected > 0 else float("nan")

    n_items = len(n_of_item)
    drawn = random.multinomial(n_items, np.full(n_items, 1 / n_items), size=n_resamples)
    low, high = percentiles(np.array([alpha(times) for times in drawn]), confidence)
    return Interval(alpha(np.ones(n_items, dtype=int)), low, high, n_items, confidence)


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


def confusion_between(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray, *, first: int,
                      second: int, n_labels: int) -> np.ndarray:
    """Return (K, K) int: on examples that both labelled, how often `first` gave the row's, `second` the column's label.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each, at most one of each annotator on
    an example. first, second: two annotators' numbers.
    """
    example, annotator, label = np.asarray(example_index), np.asarray(annotator_index), np.asarray(label_index)
    of_first, of_second = annotator == first, annotator == second
    _, at_first, at_second = np.intersect1d(example[of_first], example[of_second], return_indices=True)
    return _table(label[of_first][at_first], label[of_second][at_second], n_labels)


def confusion_with_consensus(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray,
                             consensus_label: np.ndarray, *, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the annotators' numbers (m,), ascending, and (m, K, K) int: row the consensus, column the given label.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each; every example needs a vote.
    consensus_label: (n,) int. Its sum over annotators is the confusion of all of them with the consensus. Where it is
    their own consensus, the diagonal flatters whoever labels alone.
    """
    consensus = np.asarray(consensus_label)
    votes = ordered_votes(example_index, annotator_index, label_index, n_examples=len(consensus), n_labels=n_labels)
    m = len(votes.annotators)
    place = (votes.annotator * n_labels + consensus[votes.example]) * n_labels + votes.label
    return votes.annotators, np.bincount(place, minlength=m * n_labels**2).reshape(m, n_labels, n_labels)


def _table(row: np.ndarray, column: np.ndarray, n_labels: int) -> np.ndarray:
    return np.bincount(row * n_labels + column, minlength=n_labels**2).reshape(n_labels, n_labels)


def _pairs(n: int, max_pairs: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """Return all pairs i < j of n answers, or max_pairs drawn of them (repeats allowed), and how many there are."""
    n_pairs = n * (n - 1) // 2
    if n_pairs <= max_pairs:
        first, second = np.triu_indices(n, k=1)
        return first, second, n_pairs
    first = random.integers(n, size=max_pairs)
    second = (first + random.integers(1, n, size=max_pairs)) % n
    return first, second, n_pairs


def _observed_by_item(answers: Sequence[Value], item: np.ndarray, n_of_item: np.ndarray,
                      distance: Callable[[Value, Value], float]) -> np.ndarray:
    """Return (n_items,): the sum of distances over ordered pairs within the item, divided by its answers - 1."""
    observed = np.zeros(len(n_of_item))
    rows_of_item = np.split(np.argsort(item, kind="stable"), np.cumsum(n_of_item)[:-1])
    for k, rows in enumerate(rows_of_item):
        pairs = (distance(answers[i], answers[j]) for at, i in enumerate(rows) for j in rows[at + 1:])
        observed[k] = 2 * sum(pairs) / (len(rows) - 1)
    return observed


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
