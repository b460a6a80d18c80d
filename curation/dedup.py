"""Rows that say the same: the components that similar pairs connect.

1. Rows with equal content are one row (`content_ids`).
2. All pairs of the rest with a cosine from the threshold up are found, exactly (`curation.similar_pairs`); above
   PARTITION_FROM rows within cells of like rows (`curation.cells`), with a recall that is measured.
3. Rows connected by pairs, in however many steps, are one component. Over-merging is what a split wants: no pair of
   similar rows may stand on both sides of the line. Representatives come from stars inside the components
   (`curation.star_clusters`).
Pairs are used as they come and never kept: a group of g rows has g²/2 of them. Each piece of the search needs only the
rows, so GOLDPAN_BACKENDS can send pieces to other machines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from curation.cells import PARTITION_FROM, Cells, make_cells, pairs_in_cells
from curation.shards import Spread, here
from curation.similar_pairs import BLOCK, Pairs, Prepared, pairs_in_rows, prepare, shards
from jobs.progress import Progress, silent
from stats.intervals import Interval

STAGE = "Looking for duplicates"
CELLS_A_PIECE = 8
HELD_PAIRS = 200_000
NO_PAIRS = np.empty((0, 2), dtype=np.intp)


@dataclass(frozen=True)
class Clusters:
    """`cluster` (n,) int: equal for rows of one component, numbered from 0 by first row.

    first: (n,) int, the first row of the same content. degree: (n,) int, of such a first row how many others have a
    cosine from the threshold up; 0 for its copies. n_pairs: how many pairs that are.
    recall: share of the pairs that were found, as a sample says, where not all were compared; None where all were.
    """

    cluster: np.ndarray
    first: np.ndarray
    degree: np.ndarray
    n_pairs: int
    recall: Interval | None


def find_clusters(embeddings: np.ndarray, content_ids: Sequence[str] | np.ndarray, *, threshold: float,
                  links: np.ndarray = NO_PAIRS, apart: np.ndarray = NO_PAIRS, partition_from: int = PARTITION_FROM,
                  spread: Spread = here, progress: Progress = silent) -> Clusters:
    """Return the duplicate clusters of all rows.

    embeddings: (n, d) float array, every row of length 1.
    content_ids: n hashes; rows with equal hashes are one cluster, and only the first of them is compared.
    threshold: cosine in (0, 1] from which two rows count as the same.
    links: (k, 2) rows that count as the same for another reason. apart: (k, 2) rows that people say are different:
    such a pair does not count, though others may still connect its rows. spread: where the pairs are looked for.
    Memory beside the embeddings: at most 64 MB and 0.4 times theirs, however many pairs there are; where other machines
    look for them, the pairs of a piece as well, 20 bytes each.
    """
    n = len(embeddings)
    if len(content_ids) != n:
        raise ValueError(f"content_ids must have one id per row, got {len(content_ids)} for {n} rows")
    _, first_of_id, id_of_row = np.unique(np.asarray(content_ids), return_index=True, return_inverse=True)
    first = first_of_id[id_of_row]
    components, degree, n_pairs = Components(n), np.zeros(n, dtype=np.intp), 0
    components.join(first, np.arange(n))
    different = np.unique(_keys(np.sort(first[apart], axis=1), n)) if len(apart) else np.empty(0, dtype=np.intp)
    linked = _without(first[links], different, n)
    components.join(linked[:, 0], linked[:, 1])
    found = _Found(embeddings, np.sort(first_of_id), threshold, partition_from, spread, progress)
    for a, b, _ in found.pairs():
        if len(different):
            pair = _without(np.stack([a, b], axis=1), different, n)
            a, b = pair[:, 0], pair[:, 1]
        np.add.at(degree, a, 1)
        np.add.at(degree, b, 1)
        n_pairs += len(a)
        components.join(a, b)
    return Clusters(components.cluster(), first, degree, n_pairs, found.recall)


@dataclass(frozen=True)
class DuplicatePairs:
    """Pairs of rows, `rows_a[i] < rows_b[i]`, in the order of (a, b), with their cosine `similarity` in [-1, 1]."""

    rows_a: np.ndarray
    rows_b: np.ndarray
    similarity: np.ndarray


def near_duplicate_pairs(embeddings: np.ndarray, *, threshold: float, spread: Spread = here,
                         progress: Progress = silent) -> DuplicatePairs:
    """Return every pair of rows with a cosine from the threshold up, all of them at once: for few rows, or few pairs.

    embeddings: (n, d) float array, every row of length 1.
    """
    found = _Found(embeddings, np.arange(len(embeddings)), threshold, len(embeddings), spread, progress)
    rows_a, rows_b, similarity = _at_once(found.pairs())
    order = np.lexsort((rows_b, rows_a))
    return DuplicatePairs(rows_a[order], rows_b[order], similarity[order])


class _Found:
    """The pairs of a search as they come; `recall` is known once they have.

    In this process a block of products at a time; elsewhere in pieces, whose pairs come back piece by piece.
    """

    def __init__(self, embeddings: np.ndarray, rows: np.ndarray, threshold: float, partition_from: int,
                 spread: Spread, progress: Progress) -> None:
        self.prepared = prepare(embeddings, threshold=threshold, rows=rows)
        self.is_partitioned, self.spread, self.progress = len(rows) > partition_from, spread, progress
        self.recall: Interval | None = None

    def pairs(self) -> Iterator[Pairs]:
        n, cells = self.prepared.n, self._cells() if self.is_partitioned else None
        if cells is not None:
            step = 1 if self.spread is here else CELLS_A_PIECE
            pieces = [(start, min(start + step, cells.n)) for start in range(0, cells.n, step)]
            sizes = [stop - start for start, stop in pieces]
        else:
            pieces = shards(n, -(-n // BLOCK))
            sizes = [(stop - start) * (2 * n - start - stop - 1) // 2 for start, stop in pieces]
        shared = self.prepared, cells
        if self.spread is not here:
            for _, found in self.spread(pairs_of_piece, pieces, shared=shared, sizes=sizes, stage=STAGE,
                                        progress=self.progress):
                yield found
            return
        n_done = 0
        for piece, size in zip(pieces, sizes, strict=True):
            yield from _search(shared, piece)
            n_done += size
            self.progress(STAGE, n_done, sum(sizes))

    def _cells(self) -> Cells:
        cells = make_cells(self.prepared, progress=self.progress)
        self.recall = cells.recall
        return cells


Shared = tuple[Prepared, Cells | None]


def pairs_of_piece(shared: Shared, piece: tuple[int, int], progress: Progress) -> Pairs:
    """All pairs of a range of positions, or of cells where there are some: a piece of work for another machine."""
    return _at_once(_search(shared, piece))


def _search(shared: Shared, piece: tuple[int, int]) -> Iterator[Pairs]:
    prepared, cells = shared
    return pairs_in_cells(prepared, cells, *piece) if cells else pairs_in_rows(prepared, *piece)


def _at_once(pairs: Iterator[Pairs]) -> Pairs:
    nothing = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32)
    rows_a, rows_b, similarity = (np.concatenate(column) for column in zip(nothing, *pairs, strict=True))
    return rows_a, rows_b, similarity


class Components:
    """Which of n rows are connected, told pair by pair; memory is that of the rows, not of the pairs."""

    def __init__(self, n: int) -> None:
        self.label = np.arange(n, dtype=np.int32)
        self._held: list[tuple[np.ndarray, np.ndarray]] = []
        self._n_held = 0

    def join(self, rows_a: np.ndarray, rows_b: np.ndarray) -> None:
        for start in range(0, len(rows_a), HELD_PAIRS):
            a, b = self.label[rows_a[start:start + HELD_PAIRS]], self.label[rows_b[start:start + HELD_PAIRS]]
            is_news = a != b
            self._held.append((a[is_news], b[is_news]))
            self._n_held += int(is_news.sum())
            if self._n_held > HELD_PAIRS:
                self._settle()

    def cluster(self) -> np.ndarray:
        """Return (n,) int: equal for connected rows, numbered from 0 by first row."""
        self._settle()
        _, first_row, cluster = np.unique(self.label, return_index=True, return_inverse=True)
        rank = np.empty(len(first_row), dtype=np.intp)
        rank[np.argsort(first_row)] = np.arange(len(first_row))
        return rank[cluster]

    def _settle(self) -> None:
        """Make the held pairs part of the labels, which then are numbers of components."""
        if not self._n_held:
            return
        a, b = (np.concatenate(column) for column in zip(*self._held, strict=True))
        self._held, self._n_held = [], 0
        n = int(self.label.max()) + 1
        edges = scipy.sparse.coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
        self.label = scipy.sparse.csgraph.connected_components(edges, directed=False)[1][self.label].astype(np.int32)


def _keys(pairs: np.ndarray, n: int) -> np.ndarray:
    keys: np.ndarray = pairs[:, 0].astype(np.int64) * n + pairs[:, 1]
    return keys


def _without(pairs: np.ndarray, different: np.ndarray, n: int) -> np.ndarray:
    """The pairs that nobody said are different."""
    return pairs[~np.isin(_keys(np.sort(pairs, axis=1), n), different)] if len(different) else pairs
