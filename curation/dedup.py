"""Rows that say the same: pairs of similar embeddings, and the clusters they make.

1. Rows with equal content are one row (`content_ids`).
2. All pairs of the rest with a cosine from the threshold up are found, exactly, block by block.
3. Rows connected by such pairs, in however many steps, are one cluster. Over-merging is what a split wants: no
   pair of similar rows may stand on both sides of the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from jobs.progress import Progress, silent

MAX_PAIRS = 5_000_000  # about 100 MB; a group of g similar rows has g * (g - 1) / 2 of them
LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class DuplicatePairs:
    """Pairs of rows, `rows_a[i] < rows_b[i]`, in the order of (a, b), with their cosine `similarity` in [-1, 1].

    is_complete: False if there were more than MAX_PAIRS; then these are fewer, and still connect the same rows.
    """

    rows_a: np.ndarray
    rows_b: np.ndarray
    similarity: np.ndarray
    is_complete: bool = True


@dataclass(frozen=True)
class Clusters:
    """`cluster` (n,) int: equal for rows of one cluster, numbered from 0 by first row.

    pairs: the near-duplicates that made them, between the first rows of each content.
    """

    cluster: np.ndarray
    pairs: DuplicatePairs


def find_clusters(embeddings: np.ndarray, content_ids: Sequence[str] | np.ndarray, *, threshold: float,
                  progress: Progress = silent) -> Clusters:
    """Return the duplicate clusters of all rows.

    embeddings: (n, d) float array, every row of length 1.
    content_ids: n hashes; rows with equal hashes are one cluster, and only the first of them is in `pairs`.
    threshold: cosine in (0, 1] from which two rows count as the same.
    """
    n = len(embeddings)
    if len(content_ids) != n:
        raise ValueError(f"content_ids must have one id per row, got {len(content_ids)} for {n} rows")
    _, first_of_id, id_of_row = np.unique(np.asarray(content_ids), return_index=True, return_inverse=True)
    firsts = np.sort(first_of_id)
    found = near_duplicate_pairs(embeddings[firsts], threshold=threshold, progress=progress)
    pairs = DuplicatePairs(firsts[found.rows_a], firsts[found.rows_b], found.similarity, found.is_complete)
    rows_a = np.concatenate([pairs.rows_a, first_of_id[id_of_row]])
    rows_b = np.concatenate([pairs.rows_b, np.arange(n)])
    return Clusters(_components(n, rows_a, rows_b), pairs)


def near_duplicate_pairs(embeddings: np.ndarray, *, threshold: float, block: int = 2048,
                         progress: Progress = silent) -> DuplicatePairs:
    """Return every pair of rows with a cosine of at least `threshold`; exact, nothing is sampled or indexed.

    embeddings: (n, d) float array, every row of length 1; products are taken in float32, so a cosine is right to
    about 1e-6. Time grows with n squared; memory with the input, block squared and the pairs (see MAX_PAIRS).
    Raises ValueError if a row is not of length 1 or the threshold is outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    vectors = _checked(embeddings)
    n = len(vectors)
    blocks = [(i, j) for i in range(0, n, block) for j in range(i, n, block)]
    parts: list[_Pairs] = []
    n_held, is_complete = 0, True
    for n_done, (i, j) in enumerate(blocks, start=1):
        parts.append(_pairs_of_blocks(vectors, i, j, block, threshold))
        n_held += len(parts[-1][0])
        if n_held > MAX_PAIRS:
            parts = [_connecting_pairs(n, _joined(parts))]
            n_held, is_complete = len(parts[0][0]), False
        progress("Looking for duplicates", n_done, len(blocks))
    rows_a, rows_b, similarity = _joined(parts)
    order = np.lexsort((rows_b, rows_a))
    return DuplicatePairs(rows_a[order], rows_b[order], similarity[order], is_complete)


def clusters(n: int, pairs: DuplicatePairs) -> np.ndarray:
    """Return (n,) int cluster ids: the connected components of `pairs`, numbered from 0 by their first row."""
    return _components(n, pairs.rows_a, pairs.rows_b)


_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows a, rows b, similarity


def _pairs_of_blocks(vectors: np.ndarray, i: int, j: int, block: int, threshold: float) -> _Pairs:
    """Return the pairs between the block of rows from i and the block of rows from j >= i."""
    cosines = vectors[i:i + block] @ vectors[j:j + block].T
    flat = np.flatnonzero(cosines.ravel() >= np.float32(threshold))  # much faster than nonzero on two dimensions
    a, b = np.divmod(flat, cosines.shape[1])
    similarity = cosines.ravel()[flat]
    if i == j:
        above = a < b
        a, b, similarity = a[above], b[above], similarity[above]
    return a + i, b + j, np.minimum(similarity, np.float32(1))


def _joined(parts: list[_Pairs]) -> _Pairs:
    if not parts:
        return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32)
    rows_a, rows_b, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    return rows_a, rows_b, similarity


def _connecting_pairs(n: int, pairs: _Pairs) -> _Pairs:
    """Return at most n - 1 of the pairs, the most similar ones that still connect the same rows."""
    rows_a, rows_b, similarity = pairs
    weights = coo_array((2 - similarity.astype(float), (rows_a, rows_b)), shape=(n, n)).tocsr()  # 0 would be no edge
    tree = minimum_spanning_tree(weights).tocoo()
    return tree.row.astype(np.intp), tree.col.astype(np.intp), (2 - tree.data).astype(np.float32)


def _components(n: int, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    edges = coo_array((np.ones(len(rows_a), dtype=bool), (rows_a, rows_b)), shape=(n, n))
    _, component = connected_components(edges, directed=False)
    _, first_row, cluster = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first_row), dtype=np.intp)
    rank[np.argsort(first_row)] = np.arange(len(first_row))
    return rank[cluster]


def _checked(embeddings: np.ndarray) -> np.ndarray:
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be a 2D array, got shape {embeddings.shape}")
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))  # a nan is wrong as well
    if len(wrong):
        raise ValueError(f"embeddings must have length 1, row {wrong[0]} has {lengths[wrong[0]]:.3f}")
    return vectors
