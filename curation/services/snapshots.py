"""Freezing, approving, reading and exporting snapshots.

1. `start_freeze` copies the gold set's rule into a job; `run_freeze` picks the rows and writes the files.
2. A snapshot is its manifest's sha256; the manifest names the hash of the rows and of their lineage.
3. `approve_snapshot` binds an admin's decision to exactly these bytes.
4. `read_rows` hashes what it reads, so nothing is trained on bytes that nobody approved.
"""

import hashlib
import io
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from defusedcsv import csv as safe_csv
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from curation.canonical import canonical_line, manifest_bytes
from curation.models import Approval, QualityReport, Snapshot, SnapshotRow
from curation.selection import GoldRule
from curation.services.gold_sets import GoldPreview, gold_set_of, preview, rule_of
from curation.services.labels import Ballot, ballots
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.objects import open_object, put_object
from projects.rights import can
from projects.services import audit

MIN_BLIND_LABELS = 3  # a dev or test label is a majority of at least so many annotators
MAX_TEST_ROWS = 1000
FORMAT_VERSION = 1


@dataclass(frozen=True)
class FrozenRow:
    """One row of a snapshot as training reads it. split is train, dev or test; group keeps related rows together."""

    key: str
    text: str
    label: str
    split: str
    group: str


def start_freeze(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue freezing the gold set as it stands. Raises UserError if there is nothing to freeze."""
    rule = rule_of(gold_set_of(project))
    n = preview(project, rule).n
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

    @property
    def record(self) -> dict[str, str]:
        return {"key": self.example.key, "text": self.example.text, "label": self.label, "split": self.split,
                "group": self.example.group}

    @property
    def lineage(self) -> dict[str, Any]:
        return {"key": self.example.key, "annotations": self.annotation_ids, "decision": self.decision_id}


def run_freeze(job: Job, progress: Progress) -> None:
    project, by = job.project, job.requested_by
    assert by is not None
    progress("Choosing rows", 0, 1)
    chosen = preview(project, GoldRule(**job.params["rule"]))
    drafts, counts = _draft_rows(project, chosen)
    progress("Writing files", 0, 1)
    lines = [canonical_line(draft.record) for draft in drafts]
    rows_sha256 = put_object(settings.GOLDPAN_OBJECTS, b"".join(lines))
    lineage_sha256 = put_object(settings.GOLDPAN_OBJECTS, b"".join(canonical_line(draft.lineage) for draft in drafts))
    with completing(job) as result:
        Project.objects.select_for_update().get(pk=project.pk)  # one number per snapshot
        last = Snapshot.objects.filter(project=project).first()
        number = last.number + 1 if last else 1
        manifest = manifest_bytes({
            "format": FORMAT_VERSION, "project": project.name, "number": number, "labels": project.labels,
            "rows": {"sha256": rows_sha256, "n": len(drafts)}, "lineage": {"sha256": lineage_sha256},
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


def _draft_rows(project: Project, chosen: GoldPreview) -> tuple[list[_Draft], dict[str, Any]]:
    found = ballots(project)
    held = held_out(project, chosen.report, found)
    for split in (Example.Split.dev, Example.Split.test):
        if not held.label_of[split]:
            raise UserError(f"No {split} example has {MIN_BLIND_LABELS} labels with a majority. Import or collect "
                            f"{MIN_BLIND_LABELS} independent labels for each held-out example first.")
    picks: dict[str, dict[int, str]] = {"train": chosen.label_of, **held.label_of}
    examples = Example.objects.in_bulk([pk for label_of in picks.values() for pk in label_of])
    drafts = [_draft(examples[pk], split, label, found.get(pk, Ballot()))
              for split, label_of in picks.items() for pk, label in label_of.items()]
    drafts.sort(key=lambda draft: (draft.split, draft.example.key))
    counts = {split: len(label_of) for split, label_of in picks.items()}
    labels = {split: {label: n_of[label] for label in project.labels}
              for split, n_of in ((split, Counter(label_of.values())) for split, label_of in picks.items())}
    left_out = {"train": {str(reason): n for reason, n in chosen.left_out.items()}, **held.left_out}
    return drafts, {**counts, "labels": labels, "left_out": left_out}


@dataclass(frozen=True)
class HeldOut:
    """The dev and test rows that a snapshot would hold now.

    label_of: split → example id → label. left_out: split → reason → how many examples.
    """

    label_of: dict[str, dict[int, str]]
    left_out: dict[str, dict[str, int]]


def held_out(project: Project, report: QualityReport, found: dict[int, Ballot] | None = None) -> HeldOut:
    """Pick the rows of dev and test: labelled blind by enough people, one per duplicate cluster, in a hash's order.

    found: everybody's ballots, where the caller has them already.
    """
    if found is None:
        found = ballots(project, among=Example.objects.filter(project=project).exclude(split=Example.Split.pool))
    taken: set[int] = set()
    test = _held_out_of(Example.Split.test, project, report, found, taken)
    dev = _held_out_of(Example.Split.dev, project, report, found, taken)  # of a cluster in both, the test row stays
    return HeldOut(label_of={"dev": dev[0], "test": test[0]}, left_out={"dev": dev[1], "test": test[1]})


def _held_out_of(split: str, project: Project, report: QualityReport, found: dict[int, Ballot],
                 taken: set[int]) -> tuple[dict[int, str], dict[str, int]]:
    left_out = {"fewer than 3 labels": 0, "no majority": 0, "excluded": 0, "duplicate": 0, "beyond the cap": 0}
    examples = sorted(report.scores.filter(example__split=split).values_list("example_id", "example__key", "cluster"),
                      key=lambda row: hashlib.sha256(f"{project.split_salt}:{row[1]}".encode()).digest())
    label_of: dict[int, str] = {}
    for pk, _, cluster in examples:
        ballot = found.get(pk, Ballot())
        label = ballot.majority or ballot.decided_label
        if ballot.is_excluded:
            left_out["excluded"] += 1
        elif len(ballot.votes) < MIN_BLIND_LABELS:
            left_out["fewer than 3 labels"] += 1
        elif label is None:
            left_out["no majority"] += 1
        elif cluster in taken:
            left_out["duplicate"] += 1
        elif split == Example.Split.test and len(label_of) >= MAX_TEST_ROWS:
            left_out["beyond the cap"] += 1
        else:
            label_of[pk] = label
        taken.add(cluster)  # its duplicates are no fresh evidence, used or not
    return label_of, {reason: n for reason, n in left_out.items() if n}


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


EXPORTS = {"trl": "jsonl", "csv": "csv"}  # format → file ending


def export_snapshot(snapshot: Snapshot, *, format: str) -> bytes:
    """The rows as TRL prompt/completion JSONL, or as CSV with cells that no spreadsheet runs as a formula.

    JSONL is lossless; the CSV puts ' before = + - @ and so changes such texts.
    Raises UserError for another format.
    """
    if format not in EXPORTS:
        raise UserError(f"The formats are {' and '.join(EXPORTS)}; got “{format}”.")
    rows = read_rows(snapshot)
    if format == "trl":
        return b"".join(canonical_line({"prompt": row.text, "completion": row.label, "split": row.split,
                                        "key": row.key}) for row in rows)
    out = io.StringIO()
    writer = safe_csv.writer(out)
    writer.writerow(["key", "split", "label", "text"])
    writer.writerows([row.key, row.split, row.label, row.text] for row in rows)
    return out.getvalue().encode()
