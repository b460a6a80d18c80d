"""Which examples make the gold set.

1. Hard filter: what was excluded, is undecided, or is too doubtful leaves.
2. One example of each duplicate cluster stays, the one with the best quality.
3. Each label gets a quota between its share of what is left and an equal share. Where an answer is not one label, the
   caller names what takes its place: a set's rarest label, or the group of like texts that the example lies in.
4. Within a label a seeded draw decides. Quality is a filter, never the ranking: the best-scored examples are the
   easiest ones, and a set of only those teaches least.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class LeftOut(StrEnum):
    """Why an example is not in the gold set; where several hold, the first in this order is given."""

    EXCLUDED = "excluded"  # somebody decided so
    NO_LABEL = "no label"
    UNDER_DISCUSSION = "under discussion"
    CROSSES_SPLIT = "duplicate of a dev or test example"
    LABEL_ISSUE = "undecided label issue"
    LOW_QUALITY = "low quality"
    DUPLICATE = "duplicate"  # a better member of its cluster stays
    NOT_DRAWN = "not drawn"  # its label's quota is full


@dataclass(frozen=True)
class GoldRule:
    """What the gold set should be; equal rules on equal candidates select equal rows.

    size: number of examples wanted, >= 1.
    min_quality: in [0, 1]; candidates below leave.
    min_per_label: as far as a label has that many, and as far as `size` reaches for all labels.
    allow_flagged: keep candidates whose label issue nobody has decided.
    """

    size: int
    seed: int
    min_quality: float
    min_per_label: int = 20
    allow_flagged: bool = False


@dataclass(frozen=True)
class Candidates:
    """The n examples to choose from, in an order that only grows (for example by primary key), as (n,) arrays.

    labels: the label each would be trained on, None where there is none yet.
    quality: in [0, 1], nan where not scored; a nan passes min_quality and comes last within its cluster.
    clusters: int, equal for duplicates.
    is_excluded, is_label_issue (undecided), is_under_discussion, crosses_split (its cluster has a member in dev or
    test): bool.
    strata: what each row counts for in the quotas, None where it has no label; the labels themselves if left out.
    """

    labels: Sequence[str | None]
    quality: np.ndarray
    clusters: np.ndarray
    is_excluded: np.ndarray
    is_label_issue: np.ndarray
    is_under_discussion: np.ndarray
    crosses_split: np.ndarray
    strata: Sequence[str | None] | None = None


@dataclass(frozen=True)
class LabelCounts:
    """One label's way through the selection: candidates, those available after filter and duplicates, selected."""

    label: str
    n_candidates: int
    n_available: int
    n_selected: int


@dataclass(frozen=True)
class Selection:
    """`rows` selected, int in ascending order; every other row is in `left_out` with its reason.

    quota: label -> number selected; table: the same with what it was selected from, in label order.
    """

    rows: np.ndarray
    left_out: dict[int, LeftOut]
    quota: dict[str, int]
    table: list[LabelCounts]


def select_gold(candidates: Candidates, rule: GoldRule) -> Selection:
    """Return the gold set: rule.size rows, or all that are available if there are fewer.

    A row that leaves later is replaced by one row of its label; the others stay as drawn.
    """
    _check(candidates, rule)
    reasons = _filtered(candidates, rule)
    _keep_best_of_cluster(candidates, reasons)
    strata = candidates.labels if candidates.strata is None else candidates.strata
    names = sorted({name for name in strata if name is not None})
    column = {name: k for k, name in enumerate(names)}
    code = np.array([-1 if name is None else column[name] for name in strata], dtype=np.intp)
    is_free = np.array([reason is None for reason in reasons], dtype=bool)
    available = np.bincount(code[is_free], minlength=len(names))
    quota = quotas(available, rule.size, rule.min_per_label)
    draw = np.random.default_rng(rule.seed).random(len(code))  # row i's number does not depend on rows after it
    for k, n_wanted in enumerate(quota):
        rows = np.flatnonzero(is_free & (code == k))
        for row in rows[np.argsort(draw[rows])][n_wanted:]:
            reasons[row] = LeftOut.NOT_DRAWN
    rows = np.array([row for row, reason in enumerate(reasons) if reason is None], dtype=np.intp)
    n_candidates = np.bincount(code[code >= 0], minlength=len(names))
    return Selection(
        rows, {row: reason for row, reason in enumerate(reasons) if reason is not None},
        {name: int(n) for name, n in zip(names, quota, strict=True)},
        [LabelCounts(name, int(n_candidates[k]), int(available[k]), int(quota[k])) for k, name in enumerate(names)])


def quotas(available: np.ndarray, size: int, min_per_label: int) -> np.ndarray:
    """Return (K,) int: how many examples of each label to take; their sum is min(size, available.sum()).

    available: (K,) int counts. The aim for a label is size * (half its share + half an equal share), at least
    min_per_label (or size // K if smaller) and at most what is available; what one label cannot give goes to the
    others in proportion to their aims; fractions by largest remainder, ties to the earlier label.
    """
    total = min(size, int(available.sum()))
    n_labels = np.count_nonzero(available)
    if not total:
        return np.zeros(len(available), dtype=np.intp)
    aims = np.where(available > 0, available / available.sum() / 2 + 1 / (2 * n_labels), 0)
    floor = np.minimum(min(min_per_label, total // n_labels), available)
    exact = _scaled_to(total, aims, floor, available)
    whole = np.floor(exact + 1e-9).astype(np.intp)
    order = np.argsort(-(exact - whole), kind="stable")
    order = order[whole[order] < available[order]]
    whole[order[:total - whole.sum()]] += 1
    return whole


def _scaled_to(total: int, aims: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """Return clip(aims * scale, floor, ceiling) with the scale at which it sums to `total`, by bisection."""
    low, high = 0.0, float(2 * ceiling.sum() / aims[aims > 0].min())
    for _ in range(200):
        scale = (low + high) / 2
        low, high = (scale, high) if np.clip(aims * scale, floor, ceiling).sum() < total else (low, scale)
    return np.clip(aims * high, floor, ceiling)


def _filtered(candidates: Candidates, rule: GoldRule) -> list[LeftOut | None]:
    """Return each row's reason to leave at the hard filter, None for the rows that stay."""
    has_no_label = np.array([label is None for label in candidates.labels], dtype=bool)
    tests = [
        (LeftOut.EXCLUDED, candidates.is_excluded),
        (LeftOut.NO_LABEL, has_no_label),
        (LeftOut.UNDER_DISCUSSION, candidates.is_under_discussion),
        (LeftOut.CROSSES_SPLIT, candidates.crosses_split),
        (LeftOut.LABEL_ISSUE, candidates.is_label_issue & (not rule.allow_flagged)),
        (LeftOut.LOW_QUALITY, candidates.quality < rule.min_quality),
    ]
    reasons: list[LeftOut | None] = [None] * len(candidates.labels)
    for reason, holds in tests:
        for row in np.flatnonzero(holds):
            reasons[row] = reasons[row] or reason
    return reasons


def _keep_best_of_cluster(candidates: Candidates, reasons: list[LeftOut | None]) -> None:
    rows = np.array([row for row, reason in enumerate(reasons) if reason is None], dtype=np.intp)
    quality = np.nan_to_num(candidates.quality[rows], nan=-1.0)
    best_first = rows[np.lexsort((rows, -quality))]
    _, first = np.unique(candidates.clusters[best_first], return_index=True)
    for row in np.setdiff1d(rows, best_first[first]):
        reasons[row] = LeftOut.DUPLICATE


def _check(candidates: Candidates, rule: GoldRule) -> None:
    if rule.size < 1:
        raise ValueError(f"size must be at least 1, got {rule.size}")
    if not 0 <= rule.min_quality <= 1:
        raise ValueError(f"min_quality must be in [0, 1], got {rule.min_quality}")
    n = len(candidates.labels)
    for name in ("quality", "clusters", "is_excluded", "is_label_issue", "is_under_discussion", "crosses_split"):
        if len(getattr(candidates, name)) != n:
            raise ValueError(f"{name} must have one value per row, got {len(getattr(candidates, name))} for {n} rows")
    if candidates.strata is None:
        return
    if len(candidates.strata) != n:
        raise ValueError(f"strata must have one name per row, got {len(candidates.strata)} for {n} rows")
    for row, (label, stratum) in enumerate(zip(candidates.labels, candidates.strata, strict=True)):
        if (label is None) != (stratum is None):
            raise ValueError(f"a row has a stratum if it has a label, row {row} has {stratum!r} and {label!r:.50}")
