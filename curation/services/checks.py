"""What must hold of a snapshot before somebody approves it, looked up in its files and in the ledger, never assumed."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from curation.canonical import canonical_line
from curation.models import ExampleScore, Snapshot, SnapshotRow
from curation.services.labels import majority
from curation.services.snapshots import MIN_BLIND_LABELS, read_rows
from labeling.models import Annotation
from projects.errors import UserError

HELD_OUT = ("dev", "test")


@dataclass(frozen=True)
class Check:
    """A claim, whether it holds, and the figures that decided it."""

    claim: str
    holds: bool
    found: str


def check_snapshot(snapshot: Snapshot) -> list[Check]:
    """Return every check, in the order a reader wants them: leaks, held-out labels, classes, bytes."""
    rows = list(snapshot.rows.select_related("example").defer("example__text", "example__data"))
    return [_clusters(snapshot, rows), _groups(rows), _blind_labels(snapshot, rows), _classes(snapshot, rows),
            _bytes(snapshot, rows)]


def _clusters(snapshot: Snapshot, rows: list[SnapshotRow]) -> Check:
    cluster_of = dict(ExampleScore.objects.filter(report=snapshot.report_id, example__snapshot_rows__snapshot=snapshot)
                      .values_list("example_id", "cluster"))
    unknown = sum(row.example_id not in cluster_of for row in rows)
    n = _n_in_two_splits((cluster_of[row.example_id], row.split) for row in rows if row.example_id in cluster_of)
    return Check(
        "No near-duplicate stands in two splits.", not n and not unknown,
        f"{n} of {len(set(cluster_of.values())):,} clusters are in more than one of train, dev and test"
        + (f"; {unknown} rows were never compared." if unknown else "."))


def _groups(rows: list[SnapshotRow]) -> Check:
    n = _n_in_two_splits((row.example.group, row.split) for row in rows)
    return Check("No customer, thread or document stands in two splits.", not n,
                 f"{n} of {len({row.example.group for row in rows}):,} groups are in more than one split.")


def _n_in_two_splits(pairs: Iterable[tuple[int | str, str]]) -> int:
    splits_of: dict[int | str, set[str]] = defaultdict(set)
    for what, split in pairs:
        splits_of[what].add(split)
    return sum(len(splits) > 1 for splits in splits_of.values())


def _blind_labels(snapshot: Snapshot, rows: list[SnapshotRow]) -> Check:
    """Enough different annotators, and the label is theirs: the majority's, or a decision where they tie."""
    said = {pk: (annotator, str(label)) for pk, annotator, label in Annotation.objects.filter(
        example__snapshot_rows__snapshot=snapshot, example__snapshot_rows__split__in=HELD_OUT)
        .values_list("pk", "annotator_id", "value")}
    held_out = [row for row in rows if row.split in HELD_OUT]
    n_few = n_other = 0
    for row in held_out:
        votes = [said[pk] for pk in row.annotation_ids if pk in said]
        common = majority([label for _, label in votes])
        n_few += len({annotator for annotator, _ in votes}) < MIN_BLIND_LABELS
        n_other += common != row.label if common else row.decision_id is None
    return Check(
        f"Every dev and test label is the majority of at least {MIN_BLIND_LABELS} blind labels.",
        bool(held_out) and not n_few and not n_other,
        f"Of {len(held_out):,} held-out rows {n_few:,} have fewer labels and {n_other:,} another label than the "
        "majority gave.")


def _classes(snapshot: Snapshot, rows: list[SnapshotRow]) -> Check:
    labels = snapshot.project.labels
    n_unknown = sum(row.label not in labels for row in rows)
    n_of = Counter((row.split, row.label) for row in rows)
    absent = [f"“{label}” in {split}" for split in ("train", "test") for label in labels if not n_of[split, label]]
    found = f"{n_unknown:,} rows without one of the {len(labels)} labels."
    return Check("Every row has a label, and every label has rows in train and in test.",
                 not n_unknown and not absent, found + (f" No row of {', '.join(absent)}." if absent else ""))


def _bytes(snapshot: Snapshot, rows: list[SnapshotRow]) -> Check:
    claim = "The stored files are the ones that were frozen."
    try:
        stored = [hashlib.sha256(canonical_line(asdict(row))).hexdigest() for row in read_rows(snapshot)]
    except UserError as error:
        return Check(claim, False, str(error))
    listed = [row.row_sha256 for row in rows]
    return Check(claim, stored == listed, f"{len(stored):,} rows in the file, {len(listed):,} in the database, "
                 f"{sum(a != b for a, b in zip(stored, listed, strict=False)):,} differ.")
