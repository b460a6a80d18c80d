"""Groups of like texts, which take the place of labels where answers are free."""

from dataclasses import dataclass

import numpy as np

MAX_GROUPS = 50
MAX_FITTED = 10_000  # k-means is fitted on a sample of so many texts; the others join the nearest centre


@dataclass(frozen=True)
class Groups:
    """group: (n,) int, 0 to k - 1, the largest group first; central: (k,) int, the row nearest to each centre."""

    group: np.ndarray
    central: np.ndarray


def group_texts(embeddings: np.ndarray, *, seed: int) -> Groups:
    """Return about √(n/2) groups of like texts, at least 1 and at most MAX_GROUPS; equal input gives equal groups.

    embeddings: (n, d) float array, every row of length 1, n ≥ 1. Fewer groups if fewer texts differ.
    Method: k-means. The number of groups is a rule of thumb (Mardia, Kent & Bibby 1979, Multivariate Analysis,
    chapter 13): the groups only spread a selection, so their number need not be right.
    """
    from sklearn.cluster import KMeans  # here: those who import this module seldom call it

    n = len(embeddings)
    if not n:
        raise ValueError("groups need at least 1 text, got 0")
    vectors = embeddings.astype(np.float32)
    sample = vectors if n <= MAX_FITTED else vectors[
        np.sort(np.random.default_rng(seed).choice(n, MAX_FITTED, replace=False))]
    n_different = len(np.unique(sample, axis=0))
    k = min(MAX_GROUPS, max(1, round((n / 2) ** 0.5)), n_different)
    model = KMeans(n_clusters=k, n_init=4, random_state=seed).fit(sample)
    nearest = model.predict(vectors)
    order = np.argsort(-np.bincount(nearest, minlength=k), kind="stable")
    order = order[np.bincount(nearest, minlength=k)[order] > 0]
    rank = np.full(k, -1)
    rank[order] = np.arange(len(order))
    distance = np.linalg.norm(vectors - model.cluster_centers_[nearest], axis=1)
    group = rank[nearest]
    central = np.array([rows[distance[rows].argmin()] for rows in
                        (np.flatnonzero(group == number) for number in range(len(order)))], dtype=np.intp)
    return Groups(group, central)
