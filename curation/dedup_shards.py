"""Near-duplicate pairs as pieces of work that need not be done on one machine.

A piece is a range of rows; each is compared with itself and with all later rows, so every pair is looked at once. The
ranges hold about equally many comparisons. As a program, `python -m curation.dedup_shards <folder>`, it finds the pairs
of a job's `vectors.npy`.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from curation.dedup import DuplicatePairs, near_duplicate_pairs
from curation.shards import Spread, here, shards_of
from jobs.child import child_main
from jobs.progress import Progress, silent

BLOCK = 2048
N_PIECES = 64


def spread_pairs(embeddings: np.ndarray, *, threshold: float, spread: Spread = here, n_pieces: int = N_PIECES,
                 progress: Progress = silent) -> DuplicatePairs:
    """Return what `near_duplicate_pairs` returns, found piece by piece wherever `spread` sends them.

    embeddings: (n, d) float array, every row of length 1; sent to every node as float32.
    """
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    near_duplicate_pairs(vectors[:0], threshold=threshold)  # says what is wrong with the threshold
    pieces = row_ranges(len(vectors), n_pieces)
    sizes = [stop - start for start, stop in pieces]
    parts: list[Any] = [None] * len(pieces)
    for number, found in spread(pairs_of_piece, pieces, shared=(vectors, threshold), sizes=sizes,
                                stage="Looking for duplicates", progress=progress):
        parts[number] = found
    if not parts:
        return near_duplicate_pairs(vectors, threshold=threshold)
    rows_a, rows_b, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((rows_b, rows_a))
    return DuplicatePairs(rows_a[order], rows_b[order], similarity[order])


def pairs_of_piece(shared: tuple[np.ndarray, float], piece: tuple[int, int], progress: Progress) -> Any:
    """Return (rows a, rows b, similarity) of the pairs whose first row is in the range: one shard of the work."""
    vectors, threshold = shared
    start, stop = piece
    found = []
    for i in range(start, stop, BLOCK):
        end = min(i + BLOCK, stop)
        for j in range(i, len(vectors), BLOCK):
            cosines = vectors[i:end] @ vectors[j:j + BLOCK].T
            flat = np.flatnonzero(cosines.ravel() >= np.float32(threshold))
            a, b = np.divmod(flat, cosines.shape[1])
            is_pair = a + i < b + j
            found.append((a[is_pair] + i, b[is_pair] + j, np.minimum(cosines.ravel()[flat[is_pair]], np.float32(1))))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def row_ranges(n: int, n_pieces: int) -> list[tuple[int, int]]:
    """Return at most n_pieces ranges (start, stop) of n rows, in order, with about equally many pairs each."""
    shares = np.arange(n_pieces + 1) / n_pieces
    edges = np.unique(np.round(n * (1 - np.sqrt(1 - shares))).astype(int))
    return [(start, stop) for start, stop in pairwise(edges.tolist())]


def find_pairs(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """Write rows_a, rows_b and similarity of vectors.npy's pairs into pairs.npz.

    spec: `threshold`, and `shards`, the dotted path of the Spread.
    """
    vectors = np.load(folder / "vectors.npy", allow_pickle=False)
    pairs = spread_pairs(vectors, threshold=spec["threshold"], spread=shards_of(spec["shards"]), progress=progress)
    np.savez(folder / "pairs.npz", rows_a=pairs.rows_a, rows_b=pairs.rows_b, similarity=pairs.similarity)
    return {"n_pairs": len(pairs.rows_a)}


if __name__ == "__main__":
    child_main(find_pairs)
