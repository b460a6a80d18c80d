"""Freezing snapshots, and going back to an earlier one.

1. `start_freeze` copies the gold set's rule into a job; `run_freeze` picks the rows, checks them and writes the files.
2. A snapshot is its manifest's sha256; the manifest names the hash of the rows, of the list of their hashes, of their
   lineage, and of the list of what was left out and why.
3. `start_roll_back` freezes the rows of an earlier snapshot again, as a new one: what was approved and trained on stays
   what it is, the newest snapshot is always the one that the project goes on with, and it is approved anew.
Reading is in `frozen`, deciding in `approvals`; their names are here, too, for whoever uses snapshots.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import orjson
from django.conf import settings
from django.contrib.auth.models import User

from curation.answers import Answers
from curation.canonical import canonical_line, manifest_bytes
from curation.models import Erasure, QualityReport, Snapshot, SnapshotCheck, SnapshotRow
from curation.selection import GoldRule
from curation.services.approvals import approval_obstacle, approve_snapshot, require_approved
from curation.services.checks import CheckedRow, check_rows, checked_row
from curation.services.frozen import FrozenRow, checked_bytes, read_manifest, read_rows, stream_chunks
from curation.services.gold_sets import count_quickly, gold_set_of, preview, rule_of
from curation.services.held_out import HeldOut, held_out
from curation.services.keeping import mark_now
from curation.services.labels import Ballot, answers_of, ballots
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Example
from labeling.services.batches import MIN_HELD_OUT_LABELS
from labeling.services.bulk import CHUNK, insert_ignoring_conflicts
from projects.errors import UserError
from projects.models import Project
from projects.objects import new_object, put_object
from projects.services import audit
from projects.wording import counted

__all__ = ["FrozenRow", "HeldOut", "approval_obstacle", "approve_snapshot", "held_out", "read_manifest", "read_rows",
           "require_approved", "run_freeze", "start_freeze", "start_roll_back"]

FORMAT_VERSION = 3  # 1 had no task type, schema, guideline and list of what was left out; 2 no list of rows' hashes
ERASED_SINCE = "erased at somebody's wish"
T = TypeVar("T")
NOTHING_PICKED = "The gold set is empty. Loosen its rule, or settle flagged examples first."


def start_freeze(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue freezing the gold set as it stands. Raises UserError if there is nothing to freeze.

    Where counting takes long, the job finds out and fails with the same words.
    """
    rule = rule_of(gold_set_of(project))
    n = count_quickly(project, rule)
    if n == 0:
        raise UserError(NOTHING_PICKED)
    return enqueue("freeze", project, title=f"Freezing {'up to ' * (n is None)}{counted(n or rule.size, 'gold row')}",
                   requested_by=by,
                   params={"rule": asdict(rule)}, exclusive=f"freeze:{project.pk}", wake=wake)


def start_roll_back(snapshot: Snapshot, *, by: User, wake: bool = True) -> Job:
    """Queue freezing an earlier snapshot's rows again, as the project's newest snapshot.

    Raises UserError if it is the newest already and nothing of it was erased, or nothing of it is left.
    """
    rows = SnapshotRow.objects.filter(snapshot=snapshot)
    n_live, n = rows.filter(example__erasure__isnull=True).count(), rows.count()
    newest = Snapshot.objects.filter(project=snapshot.project_id).first()
    if newest == snapshot and n_live == n:
        raise UserError(f"{snapshot} is the newest snapshot, so there is nothing to go back to.")
    if not n_live:
        raise UserError(f"All rows of {snapshot} were erased.")
    title = f"Freezing the {counted(n_live, 'row')} of {str(snapshot).lower()} again"
    return enqueue("freeze", snapshot.project, title=title, requested_by=by,
                   params={"again": snapshot.pk}, exclusive=f"freeze:{snapshot.project_id}", wake=wake)


class _Row(NamedTuple):
    """A row as it is written: its line, that of its lineage, and what the checks need of it."""

    line: bytes
    lineage: bytes
    checked: CheckedRow


@dataclass(frozen=True)
class _Frozen:
    """All that is written of a snapshot. The rows, in the order of the file, and the lines of what was left out are
    read while they are written: memory holds no text but those of a chunk.

    n: how many rows there will be. facts: what the manifest says beside the files.
    """

    n: int
    rows: Iterator[_Row]
    left_out: Iterator[bytes]
    counts: dict[str, Any]
    rule: dict[str, Any]
    report: QualityReport | None
    facts: dict[str, Any]
    marks: dict[str, int | None]
    same_as: Snapshot | None = None


def run_freeze(job: Job, progress: Progress) -> None:
    progress("Choosing rows", 0, 1)
    again = job.params.get("again")
    frozen = _again(Snapshot.objects.get(pk=again)) if again else _chosen(
        job.project, GoldRule(**job.params["rule"]), progress)
    _write(job, frozen, progress)


def _chosen(project: Project, rule: GoldRule, progress: Progress) -> _Frozen:
    """What the gold set's rule and the held-out examples give now."""
    mark = mark_now()  # before anything is read: what comes meanwhile counts as newer
    chosen, answers = preview(project, rule, progress=progress), answers_of(project)
    if not chosen.n:
        raise UserError(NOTHING_PICKED)
    said = ballots(project, among=Example.objects.filter(project=project).exclude(split=Example.Split.pool))
    held = held_out(project, chosen.report, said)
    for split in (Example.Split.dev, Example.Split.test):
        if not held.label_of[split]:
            raise UserError(f"No {split} example has {MIN_HELD_OUT_LABELS} labels with a {answers.joint}. Import or "
                            f"collect {MIN_HELD_OUT_LABELS} independent labels for each held-out example first.")
    picks: dict[str, dict[int, str]] = {"train": chosen.label_of, **held.label_of}
    reason_of = {pk: str(reason) for pk, reason in (*chosen.reason_of.items(), *held.reason_of.items())}
    return _Frozen(
        n=sum(map(len, picks.values())), rows=_chosen_rows(project, picks, said),
        left_out=_left_out(project, {pk for label_of in picks.values() for pk in label_of}, reason_of),
        counts={**{split: len(label_of) for split, label_of in picks.items()},
                "labels": {split: _names_counted(project, answers, label_of.values())
                           for split, label_of in picks.items()},
                "left_out": {"train": {str(reason): n for reason, n in chosen.left_out.items()}, **held.left_out}},
        rule=asdict(rule), report=chosen.report,
        marks={"last_annotation": mark.annotation, "last_decision": mark.decision},
        facts={"labels": project.labels, "task_type": project.task_type, "schema": project.schema,
               "guideline": {"version": project.instructions_version, "text": project.instructions},
               "selection": {"sha256": chosen.store(), "n": chosen.n},
               "report": chosen.report.pk, "encoder": chosen.report.encoder,
               "duplicate_threshold": chosen.report.duplicate_threshold, "split_salt": project.split_salt,
               "split_shares": project.split_shares})


def _chosen_rows(project: Project, picks: dict[str, dict[int, str]], held_out: dict[int, Ballot]) -> Iterator[_Row]:
    """Yield the rows by split and key.

    picks: split → example id → label. held_out: the ballots that the labels of dev and test were taken from.
    """
    answers, place = answers_of(project), []
    for split, label_of in picks.items():
        for ids in _cut(list(label_of)):
            keys = Example.objects.filter(pk__among=ids).values_list("key", "pk")
            place += [(split, key, pk) for key, pk in keys]
    for chunk in _cut(sorted(place)):
        these = Example.objects.filter(pk__among=[pk for _, _, pk in chunk])
        examples, said = {example.pk: example for example in these}, ballots(project, among=these)
        for split, _, pk in chunk:
            ballot = held_out.get(pk) or said.get(pk, Ballot())
            yield _row(answers, examples[pk], split, picks[split][pk], ballot)


def _row(answers: Answers, example: Example, split: str, label: str, ballot: Ballot) -> _Row:
    shown = answers.kind.task_data(example.text, example.data)
    frozen = FrozenRow(example.key, example.text, label, split, example.group,
                       {name: value for name, value in shown.items() if name != "text"})
    annotation_ids = [vote.annotation_id for vote in ballot.votes]
    decision_id = ballot.decision.pk if ballot.decision else None
    return _Row(canonical_line(frozen.record),
                canonical_line({"key": example.key, "annotations": annotation_ids, "decision": decision_id}),
                checked_row(answers, example, split, label, annotation_ids, decision_id))


def _left_out(project: Project, chosen: set[int], reason_of: dict[int, str]) -> Iterator[bytes]:
    """Yield a line for every other example, with the reason."""
    erased = set(Erasure.objects.filter(project=project).values_list("example_id", flat=True))
    examples = Example.objects.filter(project=project).order_by("key").values_list("pk", "key", "split")
    for pk, key, split in examples.iterator(CHUNK):
        if pk not in chosen:
            reason = ERASED_SINCE if pk in erased else reason_of.get(pk, "imported after the scoring")
            yield _left_out_line(key, split, reason)


def _left_out_line(key: str, split: str, reason: str) -> bytes:
    return canonical_line({"key": key, "split": split, "reason": reason})


def _cut(values: list[T]) -> Iterator[list[T]]:
    return (values[start:start + CHUNK] for start in range(0, len(values), CHUNK))


def _again(earlier: Snapshot) -> _Frozen:
    """The rows of an earlier snapshot, byte by byte, without those that were erased since."""
    project, manifest = earlier.project, read_manifest(earlier)
    gone = {position: (key, split) for position, key, split in SnapshotRow.objects.filter(
        snapshot=earlier, example__erasure__isnull=False).values_list("position", "example__key", "split")}
    answers = Answers(manifest.get("task_type", project.task_type), manifest.get("schema", project.schema))
    left_out = checked_bytes(earlier, manifest["left_out"]["sha256"]).splitlines(keepends=True) \
        if "left_out" in manifest else []
    left_out += [_left_out_line(key, split, ERASED_SINCE) for _, (key, split) in sorted(gone.items())]
    labels: dict[str, list[str]] = {split: [] for split in ("train", "dev", "test")}
    for position, split, label in earlier.rows.order_by("position").values_list("position", "split", "label"):
        if position not in gone:
            labels[split].append(label)
    counts = {**earlier.counts, **{split: len(given) for split, given in labels.items()},
              "labels": {split: _names_counted(project, answers, given) for split, given in labels.items()}}
    n_gone = Counter(split for _, split in gone.values())
    counts["left_out"] = {split: reasons | ({ERASED_SINCE: n_gone[split]} if n_gone[split] else {})
                          for split, reasons in earlier.counts["left_out"].items()}
    facts = {name: value for name, value in manifest.items()
             if name not in ("format", "project", "number", "rows", "lineage", "left_out", "counts", "rule", "parent")}
    return _Frozen(
        n=sum(map(len, labels.values())), rows=_same_rows(earlier, manifest["lineage"]["sha256"], set(gone)),
        left_out=iter(left_out), counts=counts, rule=earlier.rule, report=earlier.report, same_as=earlier,
        facts={**facts, "same_as": earlier.sha256},
        # What has changed since the earlier one was frozen has changed since these rows were.
        marks={"last_annotation": earlier.last_annotation, "last_decision": earlier.last_decision})


def _same_rows(earlier: Snapshot, lineage_sha256: str, gone: set[int]) -> Iterator[_Row]:
    answers = answers_of(earlier.project)
    lines = (line for chunk in stream_chunks(earlier) for line in chunk.lines.splitlines(keepends=True))
    lineage = checked_bytes(earlier, lineage_sha256).splitlines(keepends=True)
    rows = earlier.rows.select_related("example").order_by("position").iterator(CHUNK)
    for line, origin, row in zip(lines, lineage, rows, strict=True):
        if row.position not in gone:
            yield _Row(line, origin, checked_row(
                answers, row.example, row.split, row.label, row.annotation_ids, row.decision_id))


def _write(job: Job, frozen: _Frozen, progress: Progress) -> None:
    """Write the files, then snapshot, rows and checks at once with the job's success."""
    project, by, store = job.project, job.requested_by, settings.GOLDPAN_OBJECTS
    assert by is not None
    checked: list[CheckedRow] = []
    sha256s: list[str] = []
    with new_object(store) as rows, new_object(store) as lineage, new_object(store) as listed:
        for number, row in enumerate(frozen.rows):
            if number % CHUNK == 0:
                progress("Writing rows", number, frozen.n)
            checked.append(row.checked)
            sha256s.append(hashlib.sha256(row.line).hexdigest())
            rows.write(row.line)
            lineage.write(row.lineage)
            listed.write(f"{sha256s[-1]}\n".encode())
    n_left_out = 0
    with new_object(store) as left_out:
        for line in frozen.left_out:
            left_out.write(line)
            n_left_out += 1
    progress("Checking rows", 0, 1)
    checks = check_rows(project, frozen.report, checked)
    with completing(job) as result:
        Project.objects.select_for_update().get(pk=project.pk)  # one number per snapshot
        last = Snapshot.objects.filter(project=project).first()
        number = last.number + 1 if last else 1
        manifest = manifest_bytes({
            **frozen.facts, "format": FORMAT_VERSION, "project": project.name, "number": number,
            "rows": {"sha256": rows.sha256, "n": len(checked), "sha256s": {"sha256": listed.sha256}},
            "lineage": {"sha256": lineage.sha256}, "left_out": {"sha256": left_out.sha256, "n": n_left_out},
            "counts": frozen.counts, "rule": frozen.rule, "parent": last.sha256 if last else None})
        snapshot = Snapshot.objects.create(
            project=project, number=number, sha256=put_object(store, manifest), rows_sha256=rows.sha256,
            rule=frozen.rule, counts=frozen.counts, report=frozen.report, parent=last, job=job, created_by=by,
            origin=Snapshot.Origin.rolled_back if frozen.same_as else Snapshot.Origin.frozen,
            same_as=frozen.same_as, **frozen.marks)
        insert_rows(snapshot, ((row.example_id, row.split, row.label, row.annotation_ids, row.decision_id)
                               for row in checked), sha256s)
        SnapshotCheck.objects.bulk_create(SnapshotCheck(
            snapshot=snapshot, name=check.name, claim=check.claim, holds=check.holds, n=check.n, found=check.found)
            for check in checks)
        audit(project, by, "freeze", {"snapshot": number, "sha256": snapshot.sha256,
                                      **({"same_as": frozen.same_as.number} if frozen.same_as else {})})
        result |= {"snapshot": snapshot.pk, "sha256": snapshot.sha256}


def insert_rows(snapshot: Snapshot, rows: Iterable[tuple[int, str, str, list[int], int | None]],
                sha256s: Sequence[str]) -> None:
    """Insert the rows of a new snapshot in their order, at the pace of the database.

    rows: example id, split, label, annotation ids, decision id.
    """
    n = insert_ignoring_conflicts(
        SnapshotRow, ("snapshot_id", "position", "example_id", "split", "label", "annotation_ids", "decision_id",
                      "row_sha256"),
        ((snapshot.pk, position, example_id, split, label, orjson.dumps(annotation_ids).decode(), decision_id, sha256)
         for position, ((example_id, split, label, annotation_ids, decision_id), sha256)
         in enumerate(zip(rows, sha256s, strict=True))))
    if n != len(sha256s):
        raise ValueError(f"an example is once in a snapshot, {len(sha256s) - n} of {len(sha256s)} rows repeat one")


def _names_counted(project: Project, answers: Answers, labels: Iterable[str]) -> dict[str, int]:
    """Label → how many rows have it; of a set or of spans each one counts, so rows may count more than once."""
    n_of = Counter(name for label in labels for name in answers.names_in(label))
    return {label: n_of[label] for label in project.labels}
