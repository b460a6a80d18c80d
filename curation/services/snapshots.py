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
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth.models import User

from curation.answers import Answers
from curation.canonical import canonical_line, manifest_bytes
from curation.exports import LeftOut
from curation.models import Erasure, QualityReport, Snapshot, SnapshotCheck, SnapshotRow
from curation.selection import GoldRule
from curation.services.approvals import approval_obstacle, approve_snapshot, require_approved
from curation.services.checks import Check, check_rows, checked_row
from curation.services.frozen import FrozenRow, checked_bytes, read_manifest, read_rows, stream_chunks
from curation.services.gold_sets import GoldPreview, count_quickly, gold_set_of, preview, rule_of
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
from projects.objects import put_object
from projects.services import audit
from projects.wording import counted

__all__ = ["FrozenRow", "HeldOut", "approval_obstacle", "approve_snapshot", "held_out", "read_manifest", "read_rows",
           "require_approved", "run_freeze", "start_freeze", "start_roll_back"]

FORMAT_VERSION = 3  # 1 had no task type, schema, guideline and list of what was left out; 2 no list of rows' hashes
ERASED_SINCE = "erased at somebody's wish"
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


@dataclass(frozen=True)
class _Draft:
    """A row before it is written, with its lineage."""

    example: Example
    split: str
    label: str
    annotation_ids: list[int]
    decision_id: int | None

    def record(self, answers: Answers) -> dict[str, Any]:
        example = self.example
        shown = answers.kind.task_data(example.text, example.data)
        return FrozenRow(example.key, example.text, self.label, self.split, example.group,
                         {name: value for name, value in shown.items() if name != "text"}).record

    @property
    def lineage(self) -> dict[str, Any]:
        return {"key": self.example.key, "annotations": self.annotation_ids, "decision": self.decision_id}


@dataclass(frozen=True)
class _Frozen:
    """All that is written of a snapshot: the lines of its files, its rows for the database, and what was found.

    rows: example id, split, label, annotation ids, decision id. facts: what the manifest says beside the files.
    """

    lines: list[bytes]
    lineage: list[bytes]
    left_out: list[bytes]
    rows: list[tuple[int, str, str, list[int], int | None]]
    checks: list[Check]
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
    progress("Writing files", 0, 1)
    _write(job, frozen)


def _chosen(project: Project, rule: GoldRule, progress: Progress) -> _Frozen:
    """What the gold set's rule and the held-out examples give now."""
    mark = mark_now()  # before anything is read: what comes meanwhile counts as newer
    chosen = preview(project, rule, progress=progress)
    if not chosen.n:
        raise UserError(NOTHING_PICKED)
    drafts, counts, left_out = _draft_rows(project, chosen)
    answers = answers_of(project)
    checks = check_rows(project, chosen.report, [
        checked_row(draft.example, draft.split, draft.label, draft.annotation_ids, draft.decision_id)
        for draft in drafts])
    return _Frozen(
        lines=[canonical_line(draft.record(answers)) for draft in drafts],
        lineage=[canonical_line(draft.lineage) for draft in drafts],
        left_out=[canonical_line(asdict(row)) for row in left_out],
        rows=[(draft.example.pk, draft.split, draft.label, draft.annotation_ids, draft.decision_id)
              for draft in drafts],
        checks=checks, counts=counts, rule=asdict(rule), report=chosen.report,
        marks={"last_annotation": mark.annotation, "last_decision": mark.decision},
        facts={"labels": project.labels, "task_type": project.task_type, "schema": project.schema,
               "guideline": {"version": project.instructions_version, "text": project.instructions},
               "selection": {"sha256": chosen.store(), "n": chosen.n},
               "report": chosen.report.pk, "encoder": chosen.report.encoder,
               "duplicate_threshold": chosen.report.duplicate_threshold, "split_salt": project.split_salt,
               "split_shares": project.split_shares})


def _again(earlier: Snapshot) -> _Frozen:
    """The rows of an earlier snapshot, byte by byte, without those that were erased since."""
    project, manifest = earlier.project, read_manifest(earlier)
    gone = set(SnapshotRow.objects.filter(snapshot=earlier, example__erasure__isnull=False).values_list(
        "position", flat=True))
    lines = [line + b"\n" for chunk in stream_chunks(earlier) for line in chunk.lines.split(b"\n") if line]
    rows = list(earlier.rows.select_related("example").order_by("position"))
    live = [row for row in rows if row.position not in gone]
    answers = Answers(manifest.get("task_type", project.task_type), manifest.get("schema", project.schema))
    lineage = checked_bytes(earlier, manifest["lineage"]["sha256"]).splitlines(keepends=True)
    left_out = checked_bytes(earlier, manifest["left_out"]["sha256"]).splitlines(keepends=True) \
        if "left_out" in manifest else []
    erased = [canonical_line(asdict(LeftOut(row.example.key, row.split, ERASED_SINCE)))
              for row in rows if row.position in gone]
    labels: dict[str, list[str]] = {split: [] for split in ("train", "dev", "test")}
    for row in live:
        labels[row.split].append(row.label)
    counts = {**earlier.counts, **{split: len(given) for split, given in labels.items()},
              "labels": {split: _names_counted(project, answers, given) for split, given in labels.items()}}
    n_gone = Counter(row.split for row in rows if row.position in gone)
    counts["left_out"] = {split: reasons | ({ERASED_SINCE: n_gone[split]} if n_gone[split] else {})
                          for split, reasons in earlier.counts["left_out"].items()}
    facts = {name: value for name, value in manifest.items()
             if name not in ("format", "project", "number", "rows", "lineage", "left_out", "counts", "rule", "parent")}
    return _Frozen(
        lines=[line for position, line in enumerate(lines) if position not in gone],
        lineage=[line for position, line in enumerate(lineage) if position not in gone],
        left_out=[*left_out, *erased],
        rows=[(row.example_id, row.split, row.label, row.annotation_ids, row.decision_id) for row in live],
        checks=check_rows(project, earlier.report, [
            checked_row(row.example, row.split, row.label, row.annotation_ids, row.decision_id) for row in live]),
        counts=counts, rule=earlier.rule, report=earlier.report, same_as=earlier,
        facts={**facts, "same_as": earlier.sha256},
        # What has changed since the earlier one was frozen has changed since these rows were.
        marks={"last_annotation": earlier.last_annotation, "last_decision": earlier.last_decision})


def _write(job: Job, frozen: _Frozen) -> None:
    """Write the files, then snapshot, rows and checks at once with the job's success."""
    project, by = job.project, job.requested_by
    assert by is not None
    store = settings.GOLDPAN_OBJECTS
    sha256s = [hashlib.sha256(line).hexdigest() for line in frozen.lines]
    files = {name: put_object(store, b"".join(lines)) for name, lines in (
        ("rows", frozen.lines), ("lineage", frozen.lineage), ("left_out", frozen.left_out))}
    listed = put_object(store, hash_list(sha256s))
    with completing(job) as result:
        Project.objects.select_for_update().get(pk=project.pk)  # one number per snapshot
        last = Snapshot.objects.filter(project=project).first()
        number = last.number + 1 if last else 1
        manifest = manifest_bytes({
            **frozen.facts, "format": FORMAT_VERSION, "project": project.name, "number": number,
            "rows": {"sha256": files["rows"], "n": len(frozen.lines), "sha256s": {"sha256": listed}},
            "lineage": {"sha256": files["lineage"]},
            "left_out": {"sha256": files["left_out"], "n": len(frozen.left_out)},
            "counts": frozen.counts, "rule": frozen.rule, "parent": last.sha256 if last else None})
        snapshot = Snapshot.objects.create(
            project=project, number=number, sha256=put_object(store, manifest), rows_sha256=files["rows"],
            rule=frozen.rule, counts=frozen.counts, report=frozen.report, parent=last, job=job, created_by=by,
            origin=Snapshot.Origin.rolled_back if frozen.same_as else Snapshot.Origin.frozen,
            same_as=frozen.same_as, **frozen.marks)
        insert_rows(snapshot, frozen.rows, sha256s)
        SnapshotCheck.objects.bulk_create(SnapshotCheck(
            snapshot=snapshot, name=check.name, claim=check.claim, holds=check.holds, n=check.n, found=check.found)
            for check in frozen.checks)
        audit(project, by, "freeze", {"snapshot": number, "sha256": snapshot.sha256,
                                      **({"same_as": frozen.same_as.number} if frozen.same_as else {})})
        result |= {"snapshot": snapshot.pk, "sha256": snapshot.sha256}


def hash_list(sha256s: Iterable[str]) -> bytes:
    """The file that lists the hash of every row, a line each."""
    return "".join(f"{sha256}\n" for sha256 in sha256s).encode()


def insert_rows(snapshot: Snapshot, rows: Sequence[tuple[int, str, str, list[int], int | None]],
                sha256s: Sequence[str]) -> None:
    """Insert the rows of a new snapshot in their order, at the pace of the database."""
    n = insert_ignoring_conflicts(
        SnapshotRow, ("snapshot_id", "position", "example_id", "split", "label", "annotation_ids", "decision_id",
                      "row_sha256"),
        ((snapshot.pk, position, example_id, split, label, orjson.dumps(annotation_ids).decode(), decision_id, sha256)
         for position, ((example_id, split, label, annotation_ids, decision_id), sha256)
         in enumerate(zip(rows, sha256s, strict=True))))
    if n != len(rows):
        raise ValueError(f"an example is once in a snapshot, {len(rows) - n} of {len(rows)} rows repeat one")


def _draft_rows(project: Project, chosen: GoldPreview) -> tuple[list[_Draft], dict[str, Any], list[LeftOut]]:
    """The rows to freeze, how many there are of what, and every other example with the reason."""
    found, answers = ballots(project), answers_of(project)
    held = held_out(project, chosen.report, found)
    for split in (Example.Split.dev, Example.Split.test):
        if not held.label_of[split]:
            raise UserError(f"No {split} example has {MIN_HELD_OUT_LABELS} labels with a {answers.joint}. Import or "
                            f"collect {MIN_HELD_OUT_LABELS} independent labels for each held-out example first.")
    picks: dict[str, dict[int, str]] = {"train": chosen.label_of, **held.label_of}
    chosen_ids = [pk for label_of in picks.values() for pk in label_of]
    examples: dict[int, Example] = {}
    for start in range(0, len(chosen_ids), CHUNK):
        examples |= Example.objects.in_bulk(chosen_ids[start:start + CHUNK])
    drafts = [_draft(examples[pk], split, label, found.get(pk, Ballot()))
              for split, label_of in picks.items() for pk, label in label_of.items()]
    drafts.sort(key=lambda draft: (draft.split, draft.example.key))
    counts = {split: len(label_of) for split, label_of in picks.items()}
    labels = {split: _names_counted(project, answers, list(label_of.values())) for split, label_of in picks.items()}
    why = {pk: str(reason) for pk, reason in (*chosen.reason_of.items(), *held.reason_of.items())}
    erased = set(Erasure.objects.filter(project=project).values_list("example_id", flat=True))
    left_out = [LeftOut(key, split, ERASED_SINCE if pk in erased else why.get(pk, "imported after the scoring"))
                for pk, key, split in
                Example.objects.filter(project=project).order_by("key").values_list("pk", "key", "split")
                if pk not in examples]
    of_train = {str(reason): n for reason, n in chosen.left_out.items()}
    return drafts, {**counts, "labels": labels, "left_out": {"train": of_train, **held.left_out}}, left_out


def _names_counted(project: Project, answers: Answers, labels: list[str]) -> dict[str, int]:
    """Label → how many rows have it; of a set or of spans each one counts, so rows may count more than once."""
    n_of = Counter(name for label in labels for name in answers.names_in(label))
    return {label: n_of[label] for label in project.labels}


def _draft(example: Example, split: str, label: str, ballot: Ballot) -> _Draft:
    return _Draft(example, split, label, [vote.annotation_id for vote in ballot.votes],
                  ballot.decision.pk if ballot.decision else None)
