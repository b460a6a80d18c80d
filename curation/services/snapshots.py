"""Freezing, approving, reading and exporting snapshots.

1. `start_freeze` copies the gold set's rule into a job; `run_freeze` picks the rows and writes the files.
2. A snapshot is its manifest's sha256; the manifest names the hash of the rows, of their lineage, and of the list of
   what was left out and why.
3. `approve_snapshot` binds an admin's decision to exactly these bytes.
4. `read_rows` hashes what it reads, so nothing is trained on bytes that nobody approved.
"""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from curation.answers import Answers
from curation.canonical import canonical_line, manifest_bytes
from curation.exports import Exported, LeftOut, export_rows, left_out_csv
from curation.models import Approval, QualityReport, Snapshot, SnapshotRow
from curation.selection import GoldRule
from curation.services.gold_sets import GoldPreview, count_picked, gold_set_of, preview, rule_of
from curation.services.labels import Ballot, answers_of, ballots
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Example
from labeling.services.batches import MIN_HELD_OUT_LABELS
from projects.errors import UserError
from projects.models import Project
from projects.objects import open_object, put_object
from projects.rights import can
from projects.services import audit

MAX_TEST_ROWS = 1000
FORMAT_VERSION = 2  # 1 had no task type, schema, guideline and list of what was left out


@dataclass(frozen=True)
class FrozenRow:
    """One row of a snapshot as training reads it. split is train, dev or test; group keeps related rows together.

    label: the answer as a model should write it. data: what the task shows beside the text; a row of the file has it
    only where there is some.
    """

    key: str
    text: str
    label: str
    split: str
    group: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """The row as it stands in the file."""
        return {name: value for name, value in asdict(self).items() if name != "data" or value}


def start_freeze(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue freezing the gold set as it stands. Raises UserError if there is nothing to freeze."""
    rule = rule_of(gold_set_of(project))
    n = count_picked(project, rule)
    if not n:
        raise UserError("The gold set is empty. Loosen its rule, or settle flagged examples first.")
    return enqueue("freeze", project, title=f"Freezing {n:,} gold rows", requested_by=by,
                   params={"rule": asdict(rule)}, exclusive=f"freeze:{project.pk}", wake=wake)


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


def run_freeze(job: Job, progress: Progress) -> None:
    project, by = job.project, job.requested_by
    assert by is not None
    progress("Choosing rows", 0, 1)
    chosen = preview(project, GoldRule(**job.params["rule"]), progress=progress)
    drafts, counts, left_out = _draft_rows(project, chosen)
    progress("Writing files", 0, 1)
    answers = answers_of(project)
    lines = [canonical_line(draft.record(answers)) for draft in drafts]
    rows_sha256 = put_object(settings.GOLDPAN_OBJECTS, b"".join(lines))
    lineage_sha256 = put_object(settings.GOLDPAN_OBJECTS, b"".join(canonical_line(draft.lineage) for draft in drafts))
    selection_sha256 = chosen.store()
    left_out_sha256 = put_object(settings.GOLDPAN_OBJECTS, b"".join(canonical_line(asdict(row)) for row in left_out))
    with completing(job) as result:
        Project.objects.select_for_update().get(pk=project.pk)  # one number per snapshot
        last = Snapshot.objects.filter(project=project).first()
        number = last.number + 1 if last else 1
        manifest = manifest_bytes({
            "format": FORMAT_VERSION, "project": project.name, "number": number, "labels": project.labels,
            "task_type": project.task_type, "schema": project.schema,
            "guideline": {"version": project.instructions_version, "text": project.instructions},
            "left_out": {"sha256": left_out_sha256, "n": len(left_out)},
            "rows": {"sha256": rows_sha256, "n": len(drafts)}, "lineage": {"sha256": lineage_sha256},
            "selection": {"sha256": selection_sha256, "n": chosen.n},
            "counts": counts, "rule": job.params["rule"], "report": chosen.report.pk,
            "encoder": chosen.report.encoder, "duplicate_threshold": chosen.report.duplicate_threshold,
            "split_salt": project.split_salt, "split_shares": project.split_shares,
            "parent": last.sha256 if last else None})
        snapshot = Snapshot.objects.create(
            project=project, number=number, sha256=put_object(settings.GOLDPAN_OBJECTS, manifest),
            rows_sha256=rows_sha256, rule=job.params["rule"], counts=counts, report=chosen.report, parent=last,
            job=job, created_by=by)
        SnapshotRow.objects.bulk_create((SnapshotRow(
            snapshot=snapshot, example=draft.example, split=draft.split, position=position, label=draft.label,
            annotation_ids=draft.annotation_ids, decision_id=draft.decision_id,
            row_sha256=hashlib.sha256(line).hexdigest())
            for position, (draft, line) in enumerate(zip(drafts, lines, strict=True))), 2000)
        audit(project, by, "freeze", {"snapshot": number, "sha256": snapshot.sha256})
        result |= {"snapshot": snapshot.pk, "sha256": snapshot.sha256}


def _draft_rows(project: Project, chosen: GoldPreview) -> tuple[list[_Draft], dict[str, Any], list[LeftOut]]:
    """The rows to freeze, how many there are of what, and every other example with the reason."""
    found, answers = ballots(project), answers_of(project)
    held = held_out(project, chosen.report, found)
    for split in (Example.Split.dev, Example.Split.test):
        if not held.label_of[split]:
            raise UserError(f"No {split} example has {MIN_HELD_OUT_LABELS} labels with a {answers.joint}. Import or "
                            f"collect {MIN_HELD_OUT_LABELS} independent labels for each held-out example first.")
    picks: dict[str, dict[int, str]] = {"train": chosen.label_of, **held.label_of}
    examples = Example.objects.in_bulk([pk for label_of in picks.values() for pk in label_of])
    drafts = [_draft(examples[pk], split, label, found.get(pk, Ballot()))
              for split, label_of in picks.items() for pk, label in label_of.items()]
    drafts.sort(key=lambda draft: (draft.split, draft.example.key))
    counts = {split: len(label_of) for split, label_of in picks.items()}
    labels = {split: _names_counted(project, answers, list(label_of.values())) for split, label_of in picks.items()}
    why = {pk: str(reason) for pk, reason in (*chosen.reason_of.items(), *held.reason_of.items())}
    left_out = [LeftOut(key, split, why.get(pk, "imported after the scoring")) for pk, key, split in
                Example.objects.filter(project=project).order_by("key").values_list("pk", "key", "split")
                if pk not in examples]
    of_train = {str(reason): n for reason, n in chosen.left_out.items()}
    return drafts, {**counts, "labels": labels, "left_out": {"train": of_train, **held.left_out}}, left_out


def _names_counted(project: Project, answers: Answers, labels: list[str]) -> dict[str, int]:
    """Label → how many rows have it; of a set or of spans each one counts, so rows may count more than once."""
    n_of = Counter(name for label in labels for name in answers.names_in(label))
    return {label: n_of[label] for label in project.labels}


@dataclass(frozen=True)
class HeldOut:
    """The dev and test rows that a snapshot would hold now.

    label_of: split → example id → label. left_out: split → reason → how many examples. reason_of: example id → reason.
    """

    label_of: dict[str, dict[int, str]]
    left_out: dict[str, dict[str, int]]
    reason_of: dict[int, str]


def held_out(project: Project, report: QualityReport, found: dict[int, Ballot] | None = None, *,
             only_count: bool = False) -> HeldOut:
    """Pick the rows of dev and test: labelled blind by enough people, one per duplicate cluster, in a hash's order.

    found: everybody's ballots, where the caller has them already.
    only_count: leave the labels empty and take a tie between free texts for unlikely: to compare them takes seconds.
    """
    if found is None:
        found = ballots(project, among=Example.objects.filter(project=project).exclude(split=Example.Split.pool))
    taken: set[int] = set()
    test = _held_out_of(Example.Split.test, project, report, found, taken, only_count)
    dev = _held_out_of(Example.Split.dev, project, report, found, taken, only_count)  # of both, the test row stays
    reason_of = {**dev[1], **test[1]}
    return HeldOut(
        label_of={"dev": dev[0], "test": test[0]}, reason_of=reason_of,
        left_out={"dev": dict(Counter(dev[1].values())), "test": dict(Counter(test[1].values()))})


def _held_out_of(split: str, project: Project, report: QualityReport, found: dict[int, Ballot],
                 taken: set[int], only_count: bool) -> tuple[dict[int, str], dict[int, str]]:
    answers = answers_of(project)
    examples = sorted(report.scores.filter(example__split=split).values_list("example_id", "example__key", "cluster"),
                      key=lambda row: hashlib.sha256(f"{project.split_salt}:{row[1]}".encode()).digest())
    label_of: dict[int, str] = {}
    reason_of: dict[int, str] = {}
    for pk, _, cluster in examples:
        ballot = found.get(pk) or Ballot(answers=answers)
        if ballot.is_excluded:
            reason_of[pk] = "excluded"
        elif len(ballot.votes) < MIN_HELD_OUT_LABELS:
            reason_of[pk] = f"fewer than {MIN_HELD_OUT_LABELS} labels"
        elif not ballot.has_blind_label and not ballot.decided_label:
            reason_of[pk] = f"no {answers.joint}"
        elif cluster in taken:
            reason_of[pk] = "duplicate"
        elif split == Example.Split.test and len(label_of) >= MAX_TEST_ROWS:
            reason_of[pk] = "beyond the cap"
        elif only_count:
            label_of[pk] = ""
        elif label := ballot.blind_label or ballot.decided_label:
            label_of[pk] = label
        else:  # two free texts are equally like all
            reason_of[pk] = f"no {answers.joint}"
        taken.add(cluster)  # its duplicates are no fresh evidence, used or not
    return label_of, reason_of


def _draft(example: Example, split: str, label: str, ballot: Ballot) -> _Draft:
    return _Draft(example, split, label, [vote.annotation_id for vote in ballot.votes],
                  ballot.decision.pk if ballot.decision else None)


def approval_obstacle(snapshot: Snapshot, user: User) -> str:
    """Why this person cannot approve or refuse this snapshot, in words; "" if nothing stands in the way."""
    if not can(user, "approve_snapshot", snapshot.project):
        return f"Only an admin of “{snapshot.project}” approves its snapshots."
    if user.pk == snapshot.created_by_id and not settings.GOLDPAN_SINGLE_USER:
        return "You made this snapshot, so somebody else has to approve it."
    return ""


@transaction.atomic
def approve_snapshot(snapshot: Snapshot, *, sha256: str, approver: User, comment: str = "",
                     decision: str = Approval.Choice.approved) -> Approval:
    """Approve, or refuse, exactly these bytes for training. The first decision stands.

    sha256: the hash that the approver's page showed.
    Raises UserError if the snapshot's hash differs, the approver is no admin or made it, somebody has decided
    already, or the stored bytes are not these any more.
    """
    if sha256 != snapshot.sha256:
        raise UserError("The snapshot on your page is not this one. Reload the page and read it again.")
    if obstacle := approval_obstacle(snapshot, approver):
        raise UserError(obstacle)
    is_own = approver.pk == snapshot.created_by_id
    read_rows(snapshot)
    approval, created = Approval.objects.get_or_create(  # unique per snapshot: of two clicks one wins
        snapshot=snapshot, defaults={"sha256": sha256, "approver": approver, "created_by": snapshot.created_by,
                                     "decision": decision, "comment": comment.strip(), "self_approved": is_own})
    if not created:
        raise UserError(f"{approval.approver} has decided on this snapshot already.")
    audit(snapshot.project, approver, "approve_snapshot", {"snapshot": snapshot.number, "sha256": sha256,
                                                           "decision": decision, "self_approved": is_own})
    return approval


def require_approved(snapshot: Snapshot) -> None:
    """Raises UserError unless an admin has approved exactly this snapshot."""
    if not snapshot.is_approved:
        raise UserError(f"{snapshot} is not approved. An admin who did not make it has to approve it first.")


def read_manifest(snapshot: Snapshot) -> dict[str, Any]:
    """The manifest, its bytes checked against the snapshot's identity."""
    return dict(json.loads(_checked_bytes(snapshot, snapshot.sha256)))


def read_rows(snapshot: Snapshot, split: str | None = None) -> list[FrozenRow]:
    """The rows, in file order, all or those of one split; every byte is hashed on the way.

    Raises UserError if the stored file is missing or not the one that was frozen.
    """
    manifest = read_manifest(snapshot)
    content = _checked_bytes(snapshot, manifest["rows"]["sha256"])
    rows = [FrozenRow(**json.loads(line)) for line in content.split(b"\n") if line]
    return [row for row in rows if split is None or row.split == split]


def _checked_bytes(snapshot: Snapshot, sha256: str) -> bytes:
    try:
        with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
            content = file.read()
    except FileNotFoundError:
        raise UserError(f"A file of {snapshot} is missing: {sha256}. Restore it from a backup.") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"A file of {snapshot} has changed on the disk: {sha256}. Restore it from a backup.")
    return content


@dataclass(frozen=True)
class Changes:
    """What a snapshot holds differently from an earlier one: numbers of rows."""

    n_added: int
    n_removed: int
    n_relabelled: int


def changes_since(snapshot: Snapshot, earlier: Snapshot) -> Changes:
    """Compare two snapshots example by example. An example's split never changes."""
    before, now = (dict(which.rows.values_list("example_id", "label")) for which in (earlier, snapshot))
    return Changes(len(now.keys() - before.keys()), len(before.keys() - now.keys()),
                   sum(before[pk] != now[pk] for pk in before.keys() & now.keys()))


def export_snapshot(snapshot: Snapshot, *, format: str) -> bytes:
    """The rows in one of curation.exports.EXPORTS, under the schema and the guideline they were frozen with.

    Raises UserError for a format that there is not, or not for this type of task.
    """
    return _exported(snapshot, format).content


def left_out_of(snapshot: Snapshot, *, format: str) -> bytes:
    """A CSV of the examples that are not in this export, each with its reason: not frozen, or not of this format.

    Raises UserError as `export_snapshot` does.
    """
    of_format = _exported(snapshot, format).left_out
    stored = read_manifest(snapshot).get("left_out")  # snapshots of format 1 have none
    content = _checked_bytes(snapshot, stored["sha256"]) if stored else b""
    return left_out_csv([*(LeftOut(**json.loads(line)) for line in content.split(b"\n") if line), *of_format])


def _exported(snapshot: Snapshot, format: str) -> Exported:
    manifest, project = read_manifest(snapshot), snapshot.project
    answers = Answers(manifest.get("task_type", project.task_type), manifest.get("schema", project.schema))
    instructions = manifest.get("guideline", {}).get("text", project.instructions)
    try:
        return export_rows(read_rows(snapshot), format, answers=answers, instructions=instructions)
    except ValueError as error:
        raise UserError(str(error)) from None
