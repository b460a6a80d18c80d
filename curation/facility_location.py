"""Rows that stand for all the others: facility location, maximised greedily.

The value of a set A is the sum over all rows i of weight_i · max over j in A of max(0, cosine of i and j). Greedy
choice reaches at least 1 − 1/e of the best possible value. Source: Nemhauser, Wolsey & Fisher 1978, An analysis of
approximations for maximizing submodular set functions I, Mathematical Programming 14.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jobs.progress import Progress, silent

MAX_WHOLE = 5_000  # more rows are cut into shards of like rows; the cosines of so many take 100 MB
SHARD = 4_000
BATCH = 16  # rows whose gain is looked at anew at once
MAX_FITTED = 10_000


@dataclass(frozen=True)
class Spread:
    """rows: (k,) int in the order taken. gains: (k,) float, what each added to the value, as a share of all weights."""

    rows: np.ndarray
    gains: np.ndarray


def spread(embeddings: np.ndarray, weights: np.ndarray, size: int, *, chosen: np.ndarray, seed: int,
           progress: Progress = silent) -> Spread:
    """Return `size` further rows, or all there are, that with `chosen` stand best for all rows.

    embeddings: (n, d) float array, rows of length 1, or 0 where unknown. weights: (n,) float, at least 0.
    chosen: (m,) int, rows that are in already. Equal gains go to the earlier row.
    Above MAX_WHOLE rows k-means makes shards of about SHARD like rows first, and each gives its share: a row then
    stands for its own shard only, so that the value is a little lower and the time linear.
    """
    if len(embeddings) <= MAX_WHOLE:
        return facility_location(embeddings, weights, size, chosen=chosen)
    from sklearn.cluster import KMeans  # here, so that models, which name the methods, do not wait for it

    vectors = np.asarray(embeddings, dtype=np.float32)
    n_shards = -(-len(vectors) // SHARD)
    sample = np.random.default_rng(seed).choice(len(vectors), min(MAX_FITTED, len(vectors)), replace=False)
    shard = KMeans(n_shards, n_init=1, random_state=seed).fit(vectors[np.sort(sample)]).predict(vectors)
    shard[~vectors.any(axis=1)] = n_shards  # like no other: their cosines, a square of zeros, are not asked for
    is_chosen = np.zeros(len(vectors), dtype=bool)
    is_chosen[chosen] = True
    room = np.bincount(shard[~is_chosen], minlength=n_shards + 1)
    rows, gains = [], []
    for number, n_wanted in enumerate(shares_of(min(size, int(room.sum())), room)):
        members = np.flatnonzero(shard == number)
        if number == n_shards:
            rows.append(members[~is_chosen[members]][:n_wanted])
            gains.append(np.zeros(n_wanted))
            continue
        found = facility_location(vectors[members], weights[members], int(n_wanted),
                                  chosen=np.flatnonzero(is_chosen[members]))
        rows.append(members[found.rows])
        gains.append(found.gains * weights[members].sum() / (weights.sum() or 1.0))
        progress("Spreading the choice", number + 1, n_shards)
    return Spread(np.concatenate(rows), np.concatenate(gains))


def facility_location(embeddings: np.ndarray, weights: np.ndarray, size: int, *, chosen: np.ndarray) -> Spread:
    """Return what plain greedy choice would take, row for row, by lazy evaluation; parameters as in `spread`.

    What a row would add only falls while others are taken, so a gain from an earlier step bounds it from above: only
    rows whose bound is among the highest are looked at anew. Source: Minoux 1978, Accelerated greedy algorithms for
    maximizing submodular set functions, Optimization Techniques, LNCIS 7.
    """
    vectors = np.asarray(embeddings, dtype=np.float32)
    n, similar = len(vectors), _similar(vectors)
    near = similar(chosen).max(axis=0) if len(chosen) else np.zeros(n, dtype=np.float32)
    mass = np.asarray(weights, dtype=np.float32)
    bounds = np.concatenate([_gains(similar(block), near, mass) for block in np.array_split(
        np.arange(n), max(1, n // 512))]) if n else np.zeros(0)
    bounds[chosen] = -1.0
    size = min(size, n - len(chosen))
    rows, gains = np.zeros(size, dtype=np.intp), np.zeros(size)
    is_fresh = np.ones(n, dtype=bool)
    for step in range(size):
        while not is_fresh[best := int(bounds.argmax())]:
            highest = np.argpartition(-bounds, min(BATCH, n - 1))[:BATCH]
            stale = np.unique(np.append(highest[~is_fresh[highest] & (bounds[highest] >= 0)], best))
            bounds[stale] = _gains(similar(stale), near, mass)
            is_fresh[stale] = True
        rows[step], gains[step] = best, bounds[best]
        near = np.maximum(near, similar(np.array([best]))[0])
        bounds[best] = -1.0
        is_fresh[:] = False
    return Spread(rows, gains / (float(mass.sum()) or 1.0))


def coverage(embeddings: np.ndarray, chosen: np.ndarray) -> float:
    """Return the mean over all rows of the cosine to the nearest chosen row, in [0, 1]; nan without rows.

    embeddings: (n, d) float array, rows of length 1. A chosen row is its own nearest. Cosines below 0 count as 0.
    """
    if not len(embeddings):
        return float("nan")
    centres = embeddings[chosen].T
    nearest = [(embeddings[start:start + 4096] @ centres).max(axis=1, initial=0.0)
               for start in range(0, len(embeddings), 4096)]
    return float(np.clip(np.concatenate(nearest), 0, 1).mean())


def shares_of(total: int, room: np.ndarray) -> np.ndarray:
    """Return (k,) int: `total` cut in proportion to `room`, by largest remainder, ties to the earlier; total ≤ room."""
    exact = total * room / max(int(room.sum()), 1)
    whole = np.floor(exact + 1e-9).astype(np.intp)
    whole[np.argsort(-(exact - whole), kind="stable")[:total - whole.sum()]] += 1
    return whole


def _similar(vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Rows (k,) → their cosines with all rows (k, n), at least 0."""
    kept = vectors @ vectors.T
    np.maximum(kept, 0, out=kept)
    return lambda rows: kept[rows]


def _gains(similar: np.ndarray, near: np.ndarray, mass: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(similar - near, 0) @ mass, dtype=float)
