"""Which requests are worth a label beside the random ones: those the model is unsure of, users dislike, or are new."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

UNSURE = 0.5  # of an uncertainty in [0, 1]: from here on it is named as a reason
UNKNOWN = 0.5  # the uncertainty where the model says none
MIN_REFERENCE = 30  # texts, below which nothing is told to be new
FAR_SHARE = 0.01  # of the reference is as far from the rest of it
THUMBS_DOWN, NEW, SIGNAL, UNSURE_NAME = "thumbs down", "new", "signal", "unsure"


@dataclass(frozen=True)
class Priority:
    """value: (n,) float >= 0, the sum of uncertainty and one for every other reason. why: of each row, in words."""

    value: np.ndarray
    why: list[list[str]]


def priority_of(probability: Sequence[float | None], *, is_readable: Sequence[bool], is_disliked: Sequence[bool],
                is_new: Sequence[bool], warned: Iterable[int] = ()) -> Priority:
    """Return the priority of n requests.

    probability: of the answer in [0, 1], None where the model says none. is_readable: an answer that cannot be read is
    as unsure as can be. warned: row numbers that a warning signal names as most unlike what was before.
    """
    named = set(warned)
    values, why = np.zeros(len(probability)), []
    for row, (chance, readable) in enumerate(zip(probability, is_readable, strict=True)):
        unsure = 1.0 if not readable else UNKNOWN if chance is None else 1 - chance
        reasons = [name for name, holds in (
            (UNSURE_NAME, unsure > UNSURE), (THUMBS_DOWN, is_disliked[row]), (NEW, is_new[row]), (SIGNAL, row in named))
            if holds]
        values[row] = unsure + sum(reason != UNSURE_NAME for reason in reasons)
        why.append(reasons)
    return Priority(values, why)


def nearest(rows: np.ndarray, others: np.ndarray, block: int = 1000) -> np.ndarray:
    """Return (n,) the cosine of each row with the nearest of the others; -1 where there are none.

    rows, others: (n, d) and (m, d) float arrays of rows of length 1.
    """
    if not len(rows) or not len(others):
        return np.full(len(rows), -1.0)
    return np.concatenate([(rows[start:start + block] @ others.T).max(axis=1) for start in range(0, len(rows), block)])


def border_of(reference: np.ndarray) -> float:
    """Return the cosine below which a text is new: all but FAR_SHARE of the reference are nearer to the rest of it.

    reference: (m, d) rows of length 1. -1, so that nothing is new, with fewer than MIN_REFERENCE of them.
    """
    if len(reference) < MIN_REFERENCE:
        return -1.0
    cosines = reference @ reference.T
    np.fill_diagonal(cosines, -1.0)
    return float(np.quantile(cosines.max(axis=1), FAR_SHARE))
