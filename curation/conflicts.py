"""Texts that say the same and carry different labels."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Conflict:
    """Row `row`: of the n_others labelled texts that say the same, n_against carry another label, mostly `other`."""

    row: int
    other: str
    n_against: int
    n_others: int


def find_conflicts(groups: np.ndarray | Sequence[str], labels: Sequence[str | None]) -> list[Conflict]:
    """Return every row of a group whose labels differ, in row order; of equally frequent others the first by name.

    groups: n values, equal for texts that say the same. labels: n labels; rows with None are no part of it.
    """
    rows_of: defaultdict[object, list[int]] = defaultdict(list)
    for row, (group, label) in enumerate(zip(groups, labels, strict=True)):
        if label is not None:
            rows_of[group].append(row)
    found = []
    for rows in rows_of.values():
        n_of = Counter(labels[row] for row in rows)
        if len(n_of) < 2:
            continue
        for row in rows:
            other, _ = min(((label, -n) for label, n in n_of.items() if label != labels[row]),
                           key=lambda item: (item[1], str(item[0])))
            found.append(Conflict(row, str(other), len(rows) - n_of[labels[row]], len(rows) - 1))
    return sorted(found, key=lambda conflict: conflict.row)
