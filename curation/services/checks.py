"""What must hold of a snapshot before somebody approves it, looked up in its files and in the ledger, never assumed."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from curation.answers import Answers
from curation.canonical import canonical_line
from curation.models import ExampleScore, Snapshot, SnapshotRow
from curation.services.labels import Ballot, Vote, answers_of
from curation.services.snapshots import read_rows
from labeling.models import Annotation
from labeling.services.batches import MIN_HELD_OUT_LABELS
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
    """Enough different annotators, and the label is theirs: what they say together, or a decision where they tie."""
    answers = answers_of(snapshot.project)
    text_of = dict(snapshot.rows.filter(split__in=HELD_OUT).values_list("example_id", "example__text")) \
        if snapshot.project.task_type == "spans" else {}
    said = {pk: (example_id, annotator, value) for pk, example_id, annotator, value in Annotation.objects.filter(
        example__snapshot_rows__snapshot=snapshot, example__snapshot_rows__split__in=HELD_OUT)
        .values_list("pk", "example_id", "annotator_id", "value")}
    held_out = [row for row in rows if row.split in HELD_OUT]
    n_few = n_other = 0
    for row in held_out:
        text = text_of.get(row.example_id, "")
        votes = [Vote(pk, annotator, answers.label(value, source=text), value)
                 for pk, (example_id, annotator, value) in ((pk, said[pk]) for pk in row.annotation_ids if pk in said)
                 if example_id == row.example_id]
        n_few += len({vote.annotator_id for vote in votes}) < MIN_HELD_OUT_LABELS
        n_other += not _is_theirs(row, Ballot(votes, None, answers, text))
    if answers.is_free_text:
        claim = f"Every dev and test answer is one of at least {MIN_HELD_OUT_LABELS} that people wrote blind."
        other = "an answer that none of them gave."
    else:
        claim = f"Every dev and test label is the {answers.joint} of at least {MIN_HELD_OUT_LABELS} blind labels."
        other = f"another label than the {answers.joint} gave."
    return Check(claim, bool(held_out) and not n_few and not n_other,
                 f"Of {len(held_out):,} held-out rows {n_few:,} have fewer labels and {n_other:,} {other}")


def _is_theirs(row: SnapshotRow, ballot: Ballot) -> bool:
    """Whether a held-out row's label is what its votes say, or is decided where they say nothing together.

    Of free text only whether somebody gave that answer: which one is most like the others takes too long for a page.
    """
    if ballot.answers.is_free_text:
        return row.decision_id is not None or row.label in {vote.label for vote in ballot.votes}
    common = ballot.blind_label
    return common == row.label if common else row.decision_id is not None


def _classes(snapshot: Snapshot, rows: list[SnapshotRow]) -> Check:
    answers, labels = answers_of(snapshot.project), snapshot.project.labels
    if not labels:
        return _readable(snapshot, answers)
    names_of = [(row.split, answers.names_in(row.label)) for row in rows]
    is_none_allowed = snapshot.project.task_type == "spans"  # a text may hold nothing to mark
    n_unknown = sum(not set(names) <= set(labels) or not (names or is_none_allowed) for _, names in names_of)
    n_of = Counter((split, name) for split, names in names_of for name in names)
    needed = [label for label in labels if label != "tie" or snapshot.project.task_type != "preference"]
    absent = [f"“{label}” in {split}" for split in ("train", "test") for label in needed if not n_of[split, label]]
    found = f"{n_unknown:,} rows without one of the {len(labels)} labels."
    return Check("Every row has a label, and every label has rows in train and in test.",
                 not n_unknown and not absent, found + (f" No row of {', '.join(absent)}." if absent else ""))


def _readable(snapshot: Snapshot, answers: Answers) -> Check:
    """Whether every answer is one under the schema as it is now."""
    claim = "Every row has an answer that fits the schema."
    try:
        rows = read_rows(snapshot)
    except UserError as error:
        return Check(claim, False, str(error))
    bad: list[str] = []
    for row in rows:
        try:
            answers.value(row.label, source=row.text)
        except ValueError as error:
            bad.append(f"{row.key}: {error}")
    return Check(claim, not bad, f"{len(bad):,} of {len(rows):,} rows do not." + (f" {bad[0]:.200}" if bad else ""))


def _bytes(snapshot: Snapshot, rows: list[SnapshotRow]) -> Check:
    claim = "The stored files are the ones that were frozen."
    try:
        stored = [hashlib.sha256(canonical_line(row.record)).hexdigest() for row in read_rows(snapshot)]
    except UserError as error:
        return Check(claim, False, str(error))
    listed = [row.row_sha256 for row in rows]
    return Check(claim, stored == listed, f"{len(stored):,} rows in the file, {len(listed):,} in the database, "
                 f"{sum(a != b for a, b in zip(stored, listed, strict=False)):,} differ.")
