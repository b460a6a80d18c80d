"""Which examples make the gold set.

1. Hard filter: what was excluded, is undecided, or is too doubtful leaves.
2. One example of each duplicate cluster stays, the one with the best quality.
3. Each label gets a quota between its share of what is left and an equal share. Where an answer is not one label, the
   caller names what takes its place: a set's rarest label, or the group of like texts that the example lies in.
4. Some places are kept: for rows drawn at random, which people check to learn how many labels are wrong; for rows of
   batches that somebody favours, such as those that hold what is new in the traffic; and for rows that were hard and
   that somebody has settled.
5. Within a label the other places go to the rows that best stand for all of it (facility location, weighted by
   quality). Quality is a filter and a weight, never the ranking: the best-scored examples are the easiest ones, and a
   set of only those teaches least.

The method “draw” has no steps 4 and 5: a seeded draw fills the quotas. It is what a spread selection has to beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from curation.facility_location import spread
from jobs.progress import Progress, silent


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
    COVERED = "others stand for it"  # its label's quota is full of rows that add more


class Method(StrEnum):
    """How the places of a label are filled."""

    DRAW = "draw"
    SPREAD = "spread"


class Taken(StrEnum):
    """Why an example is in the gold set."""

    DRAWN = "drawn"
    SPREAD = "stands for others"
    FAVOURED = "of a batch that is favoured"
    UNCERTAIN = "hard, and settled by a person"
    AUDIT = "drawn for the check by hand"


@dataclass(frozen=True)
class GoldRule:
    """What the gold set should be; equal rules on equal candidates select equal rows.

    size: number of examples wanted, >= 1.
    min_quality: in [0, 1]; candidates below leave.
    min_per_label: as far as a label has that many, and as far as `size` reaches for all labels.
    allow_flagged: keep candidates whose label issue nobody has decided.
    method: rules from before there was a choice have none, and drew.
    uncertain_share, audit_share, favoured_share: in [0, 1], of `size`; only where the method is “spread”.
    favoured_batches: numbers of the batches that the last one is for; those of a label get no more than its quota.
    """

    size: int
    seed: int
    min_quality: float
    min_per_label: int = 20
    allow_flagged: bool = False
    method: str = Method.DRAW
    uncertain_share: float = 0.0
    audit_share: float = 0.0
    favoured_share: float = 0.0
    favoured_batches: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "favoured_batches", tuple(self.favoured_batches))  # a list, where it comes from JSON


@dataclass(frozen=True)
class Candidates:
    """The n examples to choose from, in an order that only grows (for example by primary key), as (n,) arrays.

    labels: the label each would be trained on, None where there is none yet.
    quality: in [0, 1], nan where not scored; a nan passes min_quality and comes last within its cluster.
    clusters: int, equal for duplicates.
    is_excluded, is_label_issue (undecided), is_under_discussion, crosses_split (its cluster has a member in dev or
    test): bool.
    strata: what each row counts for in the quotas, None where it has no label; the labels themselves if left out.
    The method “spread” asks for four more, and takes them for all False and all unknown if left out:
    is_settled: bool, somebody has decided on the label; it is then as sure as can be, whatever its quality says.
    was_flagged: bool, it looked wrong now or when it was decided on, so it is no random sample of anything.
    is_favoured: bool, it was asked for in one of the rule's favoured batches.
    embeddings: (n, d) float, rows of length 1, or 0 where unknown; such rows are like no other, and are drawn.
    """

    labels: Sequence[str | None]
    quality: np.ndarray
    clusters: np.ndarray
    is_excluded: np.ndarray
    is_label_issue: np.ndarray
    is_under_discussion: np.ndarray
    crosses_split: np.ndarray
    strata: Sequence[str | None] | None = None
    is_settled: np.ndarray | None = None
    was_flagged: np.ndarray | None = None
    is_favoured: np.ndarray | None = None
    embeddings: np.ndarray | None = None


@dataclass(frozen=True)
class Pick:
    """Why a row was taken, as the how manieth (from 0), and what it added to how well its label is stood for.

    gain: share in [0, 1] of the weight of its label; None where it was not taken for that.
    """

    why: Taken
    place: int
    gain: float | None = None


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
    picks: row -> why it was taken.
    """

    rows: np.ndarray
    left_out: dict[int, LeftOut]
    quota: dict[str, int]
    table: list[LabelCounts]
    picks: dict[int, Pick] = field(default_factory=dict)

    @property
    def n_available(self) -> int:
        return sum(row.n_available for row in self.table)


def select_gold(candidates: Candidates, rule: GoldRule, *, progress: Progress = silent) -> Selection:
    """Return the gold set: rule.size rows, or all that are available if there are fewer.

    A row that leaves later is replaced by one row of its label. By “draw” the others stay. By “spread” other labels
    stay, and of its own label nearly all that were taken before it; those after it are chosen anew, because what they
    add depends on it.
    """
    free = _free(candidates, rule)
    picks = (_spread if rule.method == Method.SPREAD else _drawn)(candidates, rule, free, progress)
    rows = np.array(sorted(picks), dtype=np.intp)
    is_picked = np.zeros(len(candidates.labels), dtype=bool)
    is_picked[rows] = True
    full = LeftOut.COVERED if rule.method == Method.SPREAD else LeftOut.NOT_DRAWN
    n_candidates = np.bincount(free.code[free.code >= 0], minlength=len(free.names))
    available = np.bincount(free.code[free.is_free], minlength=len(free.names))
    return Selection(
        rows, {row: reason or full for row, reason in enumerate(free.reasons) if not is_picked[row]},
        {name: int(n) for name, n in zip(free.names, free.quota, strict=True)},
        [LabelCounts(name, int(n_candidates[k]), int(available[k]), int(free.quota[k]))
         for k, name in enumerate(free.names)], picks)


def count_gold(candidates: Candidates, rule: GoldRule) -> int:
    """Return how many rows `select_gold` would select, without choosing them."""
    return int(_free(candidates, rule).quota.sum())


def matched_draws(candidates: Candidates, rule: GoldRule, seeds: Sequence[int]) -> list[np.ndarray]:
    """Return for each seed the rows that a draw takes from what the rule leaves, label by label as many as the rule.

    The arm that a spread selection has to beat: all that differs is which rows of a label are taken. A seed draws
    otherwise than the same seed as rule.seed, or a draw would be held against itself.
    """
    free = _free(candidates, rule)
    drawn = (_drawn(candidates, replace(rule, seed=10_000_019 + seed), free, silent) for seed in seeds)
    return [np.array(sorted(picks), dtype=np.intp) for picks in drawn]


def audit_order(candidates: Candidates, rule: GoldRule) -> np.ndarray:
    """Return the rows that people check by hand to learn how many unsuspected labels are wrong, in the order to check.

    A random order of the rows with a label that were never flagged, settled or excluded since or not: what was decided
    on the first k of them is a random sample.
    """
    has_label = np.array([label is not None for label in candidates.labels], dtype=bool)
    unsuspected = has_label & ~_or_nobody(candidates.was_flagged, candidates) & ~candidates.crosses_split
    unsuspected &= ~(candidates.quality < rule.min_quality)
    rows = np.flatnonzero(unsuspected)
    return rows[np.argsort(_draw(candidates, rule)[rows], kind="stable")]


@dataclass(frozen=True)
class _Free:
    """What filter and duplicates leave, and how many of each label to take; `code` is -1 where there is no label."""

    reasons: list[LeftOut | None]
    names: list[str]
    code: np.ndarray
    is_free: np.ndarray
    quota: np.ndarray


def _free(candidates: Candidates, rule: GoldRule) -> _Free:
    _check(candidates, rule)
    if rule.method == Method.SPREAD and candidates.is_settled is not None:  # a person's word is as good as any score
        candidates = replace(candidates, quality=np.where(candidates.is_settled, 1.0, candidates.quality))
    reasons = _filtered(candidates, rule)
    _keep_best_of_cluster(candidates, reasons)
    strata = candidates.labels if candidates.strata is None else candidates.strata
    names = sorted({name for name in strata if name is not None})
    column = {name: k for k, name in enumerate(names)}
    code = np.array([-1 if name is None else column[name] for name in strata], dtype=np.intp)
    is_free = np.array([reason is None for reason in reasons], dtype=bool)
    available = np.bincount(code[is_free], minlength=len(names))
    return _Free(reasons, names, code, is_free, quotas(available, rule.size, rule.min_per_label))


def _drawn(candidates: Candidates, rule: GoldRule, free: _Free, progress: Progress) -> dict[int, Pick]:
    draw = _draw(candidates, rule)
    picks: dict[int, Pick] = {}
    for k, n_wanted in enumerate(free.quota):
        rows = np.flatnonzero(free.is_free & (free.code == k))
        for row in rows[np.argsort(draw[rows])][:n_wanted]:
            picks[int(row)] = Pick(Taken.DRAWN, len(picks))
    return picks


def _spread(candidates: Candidates, rule: GoldRule, free: _Free, progress: Progress) -> dict[int, Pick]:
    draw, room = _draw(candidates, rule), free.quota.copy()
    settled = _or_nobody(candidates.is_settled, candidates)
    unsuspected = np.flatnonzero(free.is_free & ~_or_nobody(candidates.was_flagged, candidates))
    picks: dict[int, Pick] = {}

    def keep(order: np.ndarray, share: float, why: Taken) -> None:
        n_wanted = min(round(share * rule.size), len(order))
        for row in order.tolist():
            if n_wanted and row not in picks and room[free.code[row]]:
                picks[row] = Pick(why, len(picks))
                room[free.code[row]] -= 1
                n_wanted -= 1

    keep(unsuspected[np.argsort(draw[unsuspected], kind="stable")], rule.audit_share, Taken.AUDIT)
    favoured = np.flatnonzero(free.is_free & _or_nobody(candidates.is_favoured, candidates))
    keep(favoured[np.argsort(draw[favoured], kind="stable")], rule.favoured_share, Taken.FAVOURED)
    hard = np.flatnonzero(free.is_free & settled & ~np.isnan(candidates.quality))
    keep(hard[np.lexsort((draw[hard], candidates.quality[hard]))], rule.uncertain_share, Taken.UNCERTAIN)
    known = candidates.quality[free.is_free & ~np.isnan(candidates.quality)]
    weights = np.where(settled, 1.0, np.nan_to_num(candidates.quality, nan=float(known.mean()) if len(known) else 1.0))
    vectors = np.zeros((len(draw), 1), dtype=np.float32) if candidates.embeddings is None else candidates.embeddings
    for k in np.flatnonzero(room):
        progress("Spreading the choice", int(k), len(room))
        rows = np.flatnonzero(free.is_free & (free.code == k))
        rows = rows[np.argsort(draw[rows], kind="stable")]  # among rows that add equally much, the draw decides
        kept = np.array([number for number, row in enumerate(rows) if int(row) in picks], dtype=np.intp)
        found = spread(vectors[rows], weights[rows], int(room[k]), chosen=kept, seed=rule.seed, progress=progress)
        for row, gain in zip(rows[found.rows].tolist(), found.gains.tolist(), strict=True):
            picks[row] = Pick(Taken.SPREAD, len(picks), gain)
    return picks


def _draw(candidates: Candidates, rule: GoldRule) -> np.ndarray:
    """A number per row; row i's does not depend on the rows after it."""
    return np.random.default_rng(rule.seed).random(len(candidates.labels))


def _or_nobody(column: np.ndarray | None, candidates: Candidates) -> np.ndarray:
    return np.zeros(len(candidates.labels), dtype=bool) if column is None else column


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
    if rule.method not in list(Method):
        raise ValueError(f"method must be one of {', '.join(Method)}, got {rule.method!r}")
    shares = (rule.uncertain_share, rule.audit_share, rule.favoured_share)
    if not (min(shares) >= 0 and sum(shares) <= 1 + 1e-9):
        raise ValueError("uncertain_share, audit_share and favoured_share must be in [0, 1] and not more together, got "
                         f"{', '.join(map(str, shares))}")
    n = len(candidates.labels)
    for name in ("quality", "clusters", "is_excluded", "is_label_issue", "is_under_discussion", "crosses_split",
                 "is_settled", "was_flagged", "is_favoured", "embeddings"):
        column = getattr(candidates, name)
        if column is not None and len(column) != n:
            raise ValueError(f"{name} must have one value per row, got {len(column)} for {n} rows")
    if candidates.strata is None:
        return
    if len(candidates.strata) != n:
        raise ValueError(f"strata must have one name per row, got {len(candidates.strata)} for {n} rows")
    for row, (label, stratum) in enumerate(zip(candidates.labels, candidates.strata, strict=True)):
        if (label is None) != (stratum is None):
            raise ValueError(f"a row has a stratum if it has a label, row {row} has {stratum!r} and {label!r:.50}")
