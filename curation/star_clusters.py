"""Stars inside components: every member is like its centre, so a chain does not swallow texts that say something else.

Source: Aslam, Pelekhov & Rus 2004, The star clustering algorithm, J. Graph Algorithms Appl. 8 (its offline variant).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from jobs.progress import Progress, silent

HELD = 4_000_000  # products at once, 16 MB
COLUMNS = 2048

Alike = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Stars:
    """centre: (n,) int, the row that each row gathers around, itself for a centre. similarity: (n,) cosine to it."""

    centre: np.ndarray
    similarity: np.ndarray


def star_clusters(embeddings: np.ndarray, cluster: np.ndarray, degree: np.ndarray, *, threshold: float,
                  rows: np.ndarray | None = None, alike: Alike | None = None, progress: Progress = silent) -> Stars:
    """Return a star for every row; stars never cross clusters.

    embeddings: (n, d) float32, every row of length 1. cluster: (n,) int. degree: (n,) int, how many rows are like it.
    The row of the highest degree that is in no star yet is the next centre, the earlier one of a tie; whatever is in no
    star yet and has a cosine of at least `threshold` to it is its member.
    rows: the numbers of those to gather; all if left out. The others are stars of their own.
    alike: centre, rows → (len(rows),) bool: whether a row belongs to the centre for another reason than its cosine.
    """
    n = len(embeddings)
    centre, similarity = np.arange(n), np.ones(n, dtype=np.float32)
    rows = np.arange(n) if rows is None else rows
    order = rows[np.lexsort((rows, -degree[rows], cluster[rows]))]
    bounds = np.flatnonzero(np.diff(cluster[order], prepend=-1, append=-1))
    for number, (start, stop) in enumerate(pairwise(bounds)):
        if stop - start > 1:
            _gather(embeddings, order[start:stop], threshold, alike, centre, similarity)
        if not number % 1000:
            progress("Choosing representatives", number, len(bounds))
    return Stars(centre, similarity)


def _gather(embeddings: np.ndarray, free: np.ndarray, threshold: float, alike: Alike | None, centre: np.ndarray,
            similarity: np.ndarray) -> None:
    """Fill in centre and similarity of one cluster's rows, which come in the order in which they may be centres."""
    while len(free):
        heads = free[:max(1, HELD // len(free))][:COLUMNS]
        cosines = np.empty((len(heads), len(free)), dtype=np.float32)
        for start in range(0, len(free), COLUMNS):
            cosines[:, start:start + COLUMNS] = embeddings[heads] @ embeddings[free[start:start + COLUMNS]].T
        is_free = np.ones(len(free), dtype=bool)
        for number, head in enumerate(heads):
            if not is_free[number]:
                continue
            is_member = is_free & (cosines[number] >= threshold)
            if alike is not None:
                others = np.flatnonzero(is_free & ~is_member)
                is_member[others] = alike(int(head), free[others])
            is_member[number] = True
            centre[free[is_member]] = head
            similarity[free[is_member]] = np.minimum(cosines[number][is_member], 1)
            similarity[head] = 1
            is_free &= ~is_member
        free = free[is_free]
