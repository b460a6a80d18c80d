"""Rows of a batch packed into few sequences: what all of them begin with stands there once, the rows behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.encoding import IGNORED, EncodedRow

PACK_TOKENS = 512  # attention to masked tokens costs time too, so longer rows stand alone
WIDTHS = 32  # lengths are multiples of it: for every new shape the kernels keep memory, and take time to be made


@dataclass(frozen=True)
class Packed:
    """A batch of rows as b sequences of t tokens; all arrays int64 (b, t).

    segments: 0 for the shared beginning, 1, 2, … for the rows behind it, -1 for padding.
    targets: the token to be predicted at each position, `encoding.IGNORED` where nothing is learned.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    targets: np.ndarray

    @property
    def allowed(self) -> np.ndarray:
        """(b, t, t) booleans: a token sees the shared beginning and its own row, up to itself."""
        same = self.segments[:, :, None] == self.segments[:, None, :]
        shared = self.segments[:, None, :] == 0
        return np.asarray((same | shared) & np.tri(self.segments.shape[1], dtype=bool))


def pack(rows: Sequence[tuple[Sequence[int], Sequence[int]]], n_shared: int, pad_token: int) -> Packed:
    """Pack (input_ids, labels) rows that agree in their first `n_shared` ids, into few and equally long sequences.

    Their length is the next multiple of `WIDTHS`.
    Every row's own part goes where it fits first, longest row first; a sequence has at most `PACK_TOKENS` tokens
    unless a single row is longer. The first `n_shared` ids must not be learned.
    """
    bins: list[list[int]] = []
    sizes: list[int] = []
    for row in sorted(range(len(rows)), key=lambda n: -len(rows[n][0])):
        own = len(rows[row][0]) - n_shared
        place = next((b for b, size in enumerate(sizes) if size + own <= PACK_TOKENS), len(bins))
        if place == len(bins):
            bins.append([])
            sizes.append(n_shared)
        bins[place].append(row)
        sizes[place] += own
    shape = (len(bins), -(-max(sizes) // WIDTHS) * WIDTHS)
    packed = Packed(np.full(shape, pad_token), np.zeros(shape, dtype=np.int64), np.full(shape, -1),
                    np.full(shape, IGNORED))
    for place, members in enumerate(bins):
        _fill(packed, place, [rows[n] for n in members], n_shared)
    return packed


def _fill(packed: Packed, place: int, rows: Sequence[tuple[Sequence[int], Sequence[int]]], n_shared: int) -> None:
    ids, positions = packed.input_ids[place], packed.positions[place]
    ids[:n_shared], positions[:n_shared], packed.segments[place, :n_shared] = rows[0][0][:n_shared], range(n_shared), 0
    start = n_shared
    for segment, (input_ids, labels) in enumerate(rows, start=1):
        stop = start + len(input_ids) - n_shared
        ids[start:stop], positions[start:stop] = input_ids[n_shared:], range(n_shared, len(input_ids))
        packed.segments[place, start:stop] = segment
        packed.targets[place, start : stop - 1] = labels[n_shared + 1 :]  # each position predicts the next token
        start = stop


def shared_length(rows: Sequence[EncodedRow]) -> int:
    """How many ids all rows begin with, before the first that is learned or differs."""
    shortest = min(len(row.input_ids) - row.n_completion - 1 for row in rows)
    first = rows[0].input_ids
    for place in range(shortest):
        if any(row.input_ids[place] != first[place] for row in rows):
            return place
    return shortest
