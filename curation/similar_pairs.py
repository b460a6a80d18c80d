"""All pairs of rows with a cosine from a threshold up, exactly, block by block, as work that can be split.

For any projection P, x·y ≤ Px·Py + |x - P'Px| |y - P'Py| (Cauchy–Schwarz). With the first principal directions as P
this bound costs a few columns instead of all d, and only the pairs that it lets through are computed in full. So
nothing is missed, whatever the width; the width only decides how long it takes. It is chosen by what a sample lets
through, and where no width pays, blocks are multiplied in full.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BLOCK = 512  # rows a side; a block of products is 1 MB, which stays in a core's second cache
LENGTH_TOLERANCE = 1e-3
ROUNDING = 4e-6  # more than float32 products of rows of length 1 are ever off; what is closer is decided in float64
WIDTHS = (16, 32, 48, 64, 96, 128)
MAX_WIDTH_SHARE = 0.3  # of d; the narrow copy is most of the memory that a search takes
MIN_FOR_BOUND = 4096  # rows, below which choosing a width takes longer than it saves
N_SAMPLED = 6144  # rows: two thirds give the principal directions, the others say what the bound lets through
# What things cost beside one multiplication and addition inside a large product, measured; they decide the width only.
SCAN = 8.0  # looking at one product
WRITE = 20.0  # writing it, which a product of few columns does not hide
VERIFY = 40.0  # one column of a pair that the bound let through
DENSE = 1 / VERIFY  # share of a block let through from which the block is better multiplied in full

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows a, rows b > a, their cosine in float32


@dataclass(frozen=True)
class Prepared:
    """Rows made ready to be compared; plain arrays, so it can be sent to another process or machine.

    vectors: (n, d) float32, every row of length 1. rows: (m,) the numbers of those that are compared, ascending.
    narrow: (m, width + 1) float32, their first principal coordinates and the length of what is left; None where the
    bound would not pay, and blocks are multiplied in full.
    """

    vectors: np.ndarray
    rows: np.ndarray
    narrow: np.ndarray | None
    threshold: float

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        return self.vectors.shape[1] if self.narrow is None else self.narrow.shape[1] - 1


def prepare(embeddings: np.ndarray, *, threshold: float, rows: np.ndarray | None = None, width: int | None = None,
            seed: int = 0) -> Prepared:
    """Make rows ready for `pairs_in_rows`.

    embeddings: (n, d) float array, every row of length 1; not copied if it is float32. rows: the numbers of those to
    compare, ascending; all if left out. width: of the bound, at least d for none; chosen from a sample if left out.
    Raises ValueError if a row is not of length 1 or the threshold is outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    vectors = _checked(embeddings)
    rows = np.arange(len(vectors)) if rows is None else rows
    if width is None and len(rows) < MIN_FOR_BOUND:
        return Prepared(vectors, rows, None, threshold)
    random = np.random.default_rng(seed)
    sample = vectors[rows[random.permutation(len(rows))[:N_SAMPLED]]]
    fitted, judged = np.split(sample, [2 * len(sample) // 3])  # on its own rows a projection leaves too little over
    directions = np.linalg.eigh(fitted.T @ fitted)[1][:, ::-1].astype(np.float32)  # the largest first
    if width is None:
        width = _cheapest_width(judged, directions, threshold)
    if width >= vectors.shape[1]:
        return Prepared(vectors, rows, None, threshold)
    narrow = np.empty((len(rows), width + 1), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        narrow[start:start + BLOCK] = _narrowed(vectors[rows[start:start + BLOCK]], directions[:, :width])
    return Prepared(vectors, rows, narrow, threshold)


def pairs_in_rows(prepared: Prepared, start: int, stop: int) -> Iterator[Pairs]:
    """Yield every pair (a, b) of compared rows with a cosine from the threshold up, a at a position in [start, stop).

    start, stop: positions in `prepared.rows`; b comes after a, anywhere. So the pairs of [0, m) are those of any shards
    of it, and no shard needs another. Whether a pair counts is decided by its cosine in double precision; the cosine
    given is right to about 1e-6. Nothing is yielded for a block without pairs.
    """
    for begin in range(start, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        search = Search(prepared, np.arange(begin, end))
        for other in range(begin, prepared.n, BLOCK):
            a, b, cosine = search.against(np.arange(other, min(other + BLOCK, prepared.n)))
            later = a < b  # all of them but where the block meets itself
            if other < end:
                a, b, cosine = a[later], b[later], cosine[later]
            if len(a):
                yield prepared.rows[a], prepared.rows[b], cosine


def shards(n: int, n_shards: int) -> list[tuple[int, int]]:
    """Return at most n_shards ranges [start, stop) that make up [0, n), each about as much work; none is empty.

    Row i is compared with the n - i after it, so later shards hold more rows. Bounds are multiples of BLOCK.
    """
    at = n * (1 - np.sqrt(1 - np.arange(1, n_shards) / n_shards))
    bounds = [0, *(np.round(at / BLOCK).astype(int) * BLOCK).tolist(), n]
    return [(start, stop) for start, stop in pairwise(bounds) if start < stop]


class Search:
    """One block of rows, to be held against others. A block where the bound lets too much through is multiplied in
    full, and so are the next 1, 2, 4, … ones while it stays so: a bound that does not help is not asked often."""

    def __init__(self, prepared: Prepared, positions: np.ndarray) -> None:
        self.prepared, self.positions = prepared, positions
        self.whole = _taken(prepared.vectors, _taken(prepared.rows, positions))
        self.lowest = np.float32(prepared.threshold - ROUNDING)
        self.narrow = None if prepared.narrow is None else _taken(prepared.narrow, positions)
        self.n_in_full, self.pause = 0, 1

    def against(self, others: np.ndarray) -> Pairs:
        """Return the pairs as positions: one of this block, one of the others, their cosine."""
        found = self._bounded(others)
        if found is None:
            columns = _taken(self.prepared.vectors, _taken(self.prepared.rows, others))
            products = self.whole @ columns.T
            flat = np.flatnonzero(products.ravel() >= self.lowest)
            cosine = products.ravel()[flat]
        else:
            flat, cosine = found
        a, b = np.divmod(flat, len(others))
        a, b = self.positions[a], others[b]
        doubtful = np.flatnonzero(np.abs(cosine - np.float32(self.prepared.threshold)) <= ROUNDING)
        if len(doubtful):
            exact = self._cosines(a[doubtful], b[doubtful], np.float64)
            keep = np.ones(len(a), dtype=bool)
            keep[doubtful] = exact >= self.prepared.threshold
            a, b, cosine = a[keep], b[keep], cosine[keep]
        return a, b, np.minimum(cosine, np.float32(1))

    def _bounded(self, others: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Flat places and cosines by way of the bound; None if the block is better multiplied in full."""
        if self.narrow is None or self.prepared.narrow is None:
            return None
        if self.n_in_full:
            self.n_in_full -= 1
            return None
        bound = self.narrow @ _taken(self.prepared.narrow, others).T
        flat = np.flatnonzero(bound.ravel() >= self.lowest)  # much faster than nonzero on two dimensions
        if len(flat) > DENSE * bound.size:
            self.n_in_full, self.pause = self.pause, 2 * self.pause
            return None
        self.pause = 1
        a, b = np.divmod(flat, len(others))
        cosine = self._cosines(self.positions[a], others[b], np.float32)
        real = cosine >= self.lowest
        return flat[real], cosine[real]

    def _cosines(self, a: np.ndarray, b: np.ndarray, dtype: type) -> np.ndarray:
        vectors, rows = self.prepared.vectors, self.prepared.rows
        cosine: np.ndarray = np.empty(len(a), dtype=dtype)
        for at in range(0, len(a), BLOCK):  # a few MB at a time
            left, right = vectors[rows[a[at:at + BLOCK]]], vectors[rows[b[at:at + BLOCK]]]
            cosine[at:at + BLOCK] = np.vecdot(left, right, dtype=dtype)
        return cosine


def _taken(array: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """These rows of an array, without a copy where they stand together."""
    first, last = ascending[0], ascending[-1] + 1
    return array[first:last] if last - first == len(ascending) else array[ascending]


def _narrowed(vectors: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Coordinates along the directions, and last the length of what they leave, rounded up."""
    inside = vectors @ directions
    left = np.einsum("nd,nd->n", vectors, vectors) - np.einsum("nw,nw->n", inside, inside)
    return np.concatenate([inside, np.sqrt(np.maximum(left, 0) + ROUNDING)[:, None]], axis=1)


def _cheapest_width(sample: np.ndarray, directions: np.ndarray, threshold: float) -> int:
    """The width whose search costs least by the pairs that its bound lets through between two halves of a sample."""
    d, half = sample.shape[1], len(sample) // 2
    cost_of = {d: d + SCAN}
    for width in WIDTHS:
        if width + 1 + WRITE + SCAN >= min(cost_of.values()):
            break  # no wider one can cost less
        if half and width <= MAX_WIDTH_SHARE * d:
            narrow = _narrowed(sample, directions[:, :width])
            share = float((narrow[:half] @ narrow[half:].T >= threshold - ROUNDING).mean())
            through = d + SCAN if share > DENSE else share * VERIFY * d
            cost_of[width] = width + 1 + WRITE + SCAN + through
    return min(cost_of, key=lambda width: cost_of[width])


def _checked(embeddings: np.ndarray) -> np.ndarray:
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be a 2D array, got shape {embeddings.shape}")
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))  # a nan is wrong as well
    if len(wrong):
        raise ValueError(f"embeddings must have length 1, row {wrong[0]} has {lengths[wrong[0]]:.3f}")
    return vectors
