"""Similar pairs among too many rows to compare all: each row is compared within the cells of like rows next to it.

1. k-means on a sample gives about √n centres; a row lives in the cell of its nearest one.
2. A row visits the few cells next nearest to it and is compared with those who live there.
3. How many cells are visited follows from a sample of rows that are compared with all others: as few as find
   ENOUGH of their pairs. Another sample, which chose nothing, says the recall.
Source of the scheme: the inverted file of Jégou, Douze & Schmid 2011, Product quantization, IEEE TPAMI 33.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curation.similar_pairs import BLOCK, Pairs, Prepared, Search
from jobs.progress import Progress, silent
from stats.intervals import Interval, wilson

PARTITION_FROM = 300_000  # rows; below, comparing all takes minutes
VISITS = (2, 4, 8)  # cells a row is compared in, its own among them
ENOUGH = 0.995
FITTED_PER_CELL = 32
N_CHOOSING, N_JUDGING = 1024, 2048  # sampled rows that choose the number of visits, and others that say the recall


@dataclass(frozen=True)
class Cells:
    """Where rows live and whom they visit, as positions in `Prepared.rows`.

    visited: (m, visits) int32, the nearest cells of each row, the one it lives in first.
    residents, guests: positions ordered by cell; those of cell c are at [from[c], from[c + 1]).
    recall: share of the pairs of sampled rows that the cells find, with its interval; None if they have no pair.
    """

    visited: np.ndarray
    residents: np.ndarray
    residents_from: np.ndarray
    guests: np.ndarray
    guests_from: np.ndarray
    recall: Interval | None

    @property
    def n(self) -> int:
        return len(self.residents_from) - 1


def make_cells(prepared: Prepared, *, seed: int = 0, n_cells: int | None = None, progress: Progress = silent) -> Cells:
    """Divide the compared rows into about √m cells; equal input gives equal cells."""
    from sklearn.cluster import KMeans  # here: those who import this module seldom call it

    m = prepared.n
    n_cells = n_cells or max(VISITS[-1], round(m**0.5))
    random = np.random.default_rng(seed)
    progress("Dividing the texts", 0, m)
    fitted = prepared.vectors[prepared.rows[np.sort(random.permutation(m)[:FITTED_PER_CELL * n_cells])]]
    centres = KMeans(n_cells, init="random", n_init=1, max_iter=10, random_state=seed).fit(fitted).cluster_centers_
    visited: np.ndarray = np.empty((m, VISITS[-1]), dtype=np.int32)
    for start in range(0, m, BLOCK):
        visited[start:start + BLOCK] = _nearest(prepared.vectors[prepared.rows[start:start + BLOCK]], centres)
        progress("Dividing the texts", start, m)
    choosing, judging = np.split(random.permutation(m)[:N_CHOOSING + N_JUDGING], [min(N_CHOOSING, m // 3)])
    chosen_by, judged_by = (_pairs_with_all(prepared, np.sort(part), progress) for part in (choosing, judging))
    n_visits = next((n for n in VISITS if _n_found(visited[:, :n], *chosen_by) >= ENOUGH * len(chosen_by[0])),
                    VISITS[-1])
    visited = np.ascontiguousarray(visited[:, :n_visits])
    recall = wilson(_n_found(visited, *judged_by), len(judged_by[0])) if len(judged_by[0]) else None
    residents, residents_from = _by_cell(visited[:, :1], n_cells)
    guests, guests_from = _by_cell(visited[:, 1:], n_cells)
    return Cells(visited, residents, residents_from, guests, guests_from, recall)


def pairs_in_cells(prepared: Prepared, cells: Cells, start: int, stop: int) -> Iterator[Pairs]:
    """Yield the pairs (a, b), a < b, that the cells [start, stop) find; each pair is found in one cell only.

    As `similar_pairs.pairs_in_rows`, but for pairs whose rows do not visit each other's cells.
    """
    for cell in range(start, stop):
        residents = cells.residents[cells.residents_from[cell]:cells.residents_from[cell + 1]]
        guests = cells.guests[cells.guests_from[cell]:cells.guests_from[cell + 1]]
        for begin in range(0, len(residents), BLOCK):
            search = Search(prepared, residents[begin:begin + BLOCK])
            for others, are_guests in ((residents[begin:], False), (guests, True)):
                for other in range(0, len(others), BLOCK):
                    a, b, cosine = search.against(others[other:other + BLOCK])
                    keep = (a < b) | _is_found_here_only(cells.visited, a, b) if are_guests else a < b
                    if keep.any():
                        low, high = np.minimum(a[keep], b[keep]), np.maximum(a[keep], b[keep])
                        yield prepared.rows[low], prepared.rows[high], cosine[keep]


def _is_found_here_only(visited: np.ndarray, residents: np.ndarray, guests: np.ndarray) -> np.ndarray:
    """Whether the resident does not visit the guest's cell, where the pair would be found as well."""
    is_guest_there: np.ndarray = (visited[residents, 1:] == visited[guests, :1]).any(axis=1)
    return ~is_guest_there


def _n_found(visited: np.ndarray, a: np.ndarray, b: np.ndarray) -> int:
    return int(((visited[a] == visited[b, :1]) | (visited[b] == visited[a, :1])).any(axis=1).sum())


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The numbers of the nearest centres, nearest first."""
    distance = (centres**2).sum(axis=1) - 2 * (vectors @ centres.T.astype(np.float32))
    found = np.argpartition(distance, VISITS[-1] - 1, axis=1)[:, :VISITS[-1]]
    order = np.argsort(np.take_along_axis(distance, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1).astype(np.int32)


def _pairs_with_all(prepared: Prepared, sample: np.ndarray, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of the sampled positions, compared with every other row."""
    searches = [Search(prepared, sample[begin:begin + BLOCK]) for begin in range(0, len(sample), BLOCK)]
    parts = []
    for start in range(0, prepared.n, BLOCK):
        for search in searches:
            a, b, _ = search.against(np.arange(start, min(start + BLOCK, prepared.n)))
            parts.append((a[a != b].astype(np.int32), b[a != b].astype(np.int32)))
        progress("Checking the division", start, prepared.n)
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])


def _by_cell(visited: np.ndarray, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions ordered by the cell that they are in, then by position, and where each cell's begin."""
    position = np.repeat(np.arange(len(visited), dtype=np.int32), visited.shape[1])
    order = np.argsort(visited.ravel(), kind="stable")
    return position[order], np.concatenate([[0], np.cumsum(np.bincount(visited.ravel(), minlength=n_cells))])
