"""Texts that say the same and carry different labels: what scoring flags, duplicates show, and snapshots must not hold.

Which texts say the same depends on what their answers are made of (`conflict_groups`).
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from curation.answers import Answers

Groups = np.ndarray | Sequence[Hashable]


def conflict_groups(answers: Answers, *, near: Groups, equal: Groups) -> Groups | None:
    """Of two groupings of the same rows, the one in which different answers contradict each other.

    near: groups of near-duplicates, each like its centre; where an answer means the same for every text.
    equal: groups of equal texts; of records and spans, which follow the wording.
    None of free text: two good answers may share hardly a word.
    """
    if answers.is_free_text:
        return None
    return near if answers.are_names else equal


@dataclass(frozen=True)
class Conflict:
    """Row `row`: of the n_others labelled texts that say the same, n_against carry another label, mostly `other`."""

    row: int
    other: str
    n_against: int
    n_others: int


def find_conflicts(groups: Groups, labels: Sequence[str | None]) -> list[Conflict]:
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
