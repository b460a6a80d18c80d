"""Freezing, approving, reading and exporting snapshots.

1. `start_freeze` copies the gold set's rule into a job; `run_freeze` picks the rows and writes the files.
2. A snapshot is its manifest's sha256; the manifest names the hash of the rows and of their lineage.
3. `approve_snapshot` binds an admin's decision to exactly these bytes.
4. `read_rows` hashes what it reads, so nothing is trained on bytes that nobody approved.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import Any

from defusedcsv import csv as safe_csv
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from curation.canonical import canonical_line, manifest_bytes
from curation.models import Approval, ExampleScore, QualityReport, Snapshot, SnapshotRow
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
    gold = Example.objects.in_bulk(list(chosen.label_of))
    drafts = [_draft(gold[pk], "train", label, found.get(pk, Ballot())) for pk, label in chosen.label_of.items()]
    left_out: dict[str, dict[str, int]] = {"train": chosen.left_out}
    taken: set[int] = set()
    for split in (Example.Split.test, Example.Split.dev):  # where a cluster is in both, the test row stays
        rows, left_out[split] = _held_out(project, chosen.report, split, found, taken)
        drafts += rows
    for split in ("dev", "test"):
        if not any(draft.split == split for draft in drafts):
            raise UserError(f"No {split} example has {MIN_BLIND_LABELS} labels with a majority. Import or collect "
                            f"{MIN_BLIND_LABELS} independent labels for each held-out example first.")
    drafts.sort(key=lambda draft: (draft.split, draft.example.key))
    counts = {split: sum(draft.split == split for draft in drafts) for split in ("train", "dev", "test")}
    labels = {split: {label: sum(draft.split == split and draft.label == label for draft in drafts)
                      for label in project.labels} for split in ("train", "dev", "test")}
    return drafts, {**counts, "labels": labels, "left_out": left_out}


def _held_out(project: Project, report: QualityReport, split: str, found: dict[int, Ballot],
              taken: set[int]) -> tuple[list[_Draft], dict[str, int]]:
    """The rows of dev or test: labelled blind by enough people, one per duplicate cluster, in the order of a hash."""
    left_out = {"fewer than 3 labels": 0, "no majority": 0, "excluded": 0, "duplicate": 0, "beyond the cap": 0}
    cluster_of = dict(ExampleScore.objects.filter(report=report, example__split=split)
                      .values_list("example_id", "cluster"))
    examples = sorted(Example.objects.filter(project=project, split=split, pk__in=cluster_of),
                      key=lambda example: hashlib.sha256(f"{project.split_salt}:{example.key}".encode()).digest())
    drafts: list[_Draft] = []
    for example in examples:
        ballot = found.get(example.pk, Ballot())
        label = ballot.majority or ballot.decided_label
        if ballot.is_excluded:
            left_out["excluded"] += 1
        elif len(ballot.votes) < MIN_BLIND_LABELS:
            left_out["fewer than 3 labels"] += 1
        elif label is None:
            left_out["no majority"] += 1
        elif cluster_of[example.pk] in taken:
            left_out["duplicate"] += 1
        elif split == Example.Split.test and len(drafts) >= MAX_TEST_ROWS:
            left_out["beyond the cap"] += 1
        else:
            drafts.append(_draft(example, split, label, ballot))
        taken.add(cluster_of[example.pk])  # its duplicates are no fresh evidence, used or not
    return drafts, {reason: n for reason, n in left_out.items() if n}


def _draft(example: Example, split: str, label: str, ballot: Ballot) -> _Draft:
    return _Draft(example, split, label, [vote.annotation_id for vote in ballot.votes],
                  ballot.decision.pk if ballot.decision else None)


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
    if not can(approver, "approve_snapshot", snapshot.project):
        raise UserError(f"Only an admin of “{snapshot.project}” approves its snapshots.")
    is_own = approver.pk == snapshot.created_by_id
    if is_own and not settings.GOLDPAN_SINGLE_USER:
        raise UserError("You made this snapshot, so somebody else has to approve it.")
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
