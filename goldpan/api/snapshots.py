"""Gold sets, frozen: snapshots, their checks and approvals, files out and in."""

from datetime import datetime
from typing import Any, Literal

from django.http import FileResponse, Http404
from ninja import File, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import Field

from curation.exports import EXPORTS
from curation.models import Approval, Snapshot, SnapshotComment, SnapshotRow
from curation.services.approvals import (
    approve_snapshot,
    comment_on,
    judged_checks,
    override_check,
    request_approval,
)
from curation.services.diffs import changes_since
from curation.services.exporting import LARGE_ROWS, exported, open_export, start_export
from curation.services.importing import receive_snapshot
from curation.services.snapshots import start_freeze, start_roll_back
from goldpan.api.files import A_FILE, as_file, check_size
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import JobShape
from jobs.models import Job
from projects.errors import UserError
from projects.models import Project

router = Router(tags=["Quality and snapshots"])


@router.post("/projects/{id}/snapshots", response={202: JobShape})
@on(Project, "freeze")
def freeze(request: Request, project: Project) -> Status:
    """Freeze what the rule picks now: a job that ends in a snapshot."""
    return Status(202, start_freeze(project, by=request.auth.user))


class ApprovalShape(Schema):
    decision: Literal["approved", "refused"]
    sha256: str
    approver: str
    comment: str
    self_approved: bool
    created_at: datetime

    @staticmethod
    def resolve_approver(approval: Any) -> str:
        return str(approval.approver)


class SnapshotShape(Schema):
    """A gold set and its held-out rows, frozen. It never changes."""

    id: int
    project_id: int
    number: int
    sha256: str
    rows_sha256: str
    rule: dict[str, Any]
    counts: dict[str, Any]
    origin: str
    report_id: int | None
    parent_id: int | None
    approval: ApprovalShape | None
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(snapshot: Any) -> str:
        return str(snapshot.created_by)

    @staticmethod
    def resolve_approval(snapshot: Any) -> Any:
        return getattr(snapshot, "approval", None)


@router.get("/projects/{id}/snapshots", response=Page[SnapshotShape])
@on(Project, "see_snapshot")
def snapshot_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Snapshots, newest first."""
    return page_of(Snapshot.objects.filter(project=project).select_related("created_by", "approval__approver"), paging)


@router.get("/snapshots/{id}", response=SnapshotShape)
@on(Snapshot, "see_snapshot")
def snapshot(request: Request, snapshot: Snapshot) -> Snapshot:
    """One snapshot, with what was decided on it."""
    return snapshot


class RowsAsked(Paging):
    split: Literal["train", "dev", "test"] | None = None


class SnapshotRowShape(Schema):
    position: int = Field(description="Line number in the file, from 0.")
    example_id: int
    split: str
    text: str
    label: str
    annotation_ids: list[int]
    decision_id: int | None
    row_sha256: str

    @staticmethod
    def resolve_text(row: Any) -> str:
        return str(row.example.text)


@router.get("/snapshots/{id}/rows", response=Page[SnapshotRowShape])
@on(Snapshot, "see_snapshot")
def snapshot_row_list(request: Request, snapshot: Snapshot, asked: Query[RowsAsked]) -> dict[str, Any]:
    """The rows in the order of the file."""
    rows = SnapshotRow.objects.filter(snapshot=snapshot).select_related("example")
    return page_of(rows.filter(split=asked.split) if asked.split else rows, asked, by="position")


class CheckShape(Schema):
    name: str
    claim: str
    holds: bool
    found: str
    n: int = Field(description="How many rows, labels or groups break it.")
    override_reason: str | None


@router.get("/snapshots/{id}/checks", response=list[CheckShape])
@on(Snapshot, "see_snapshot")
def snapshot_checks(request: Request, snapshot: Snapshot) -> list[dict[str, Any]]:
    """What has to hold before it is approved."""
    return _checks(snapshot)


def _checks(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [{"name": one.check.name, "claim": one.check.claim, "holds": one.check.holds, "found": one.check.found,
             "n": one.check.n, "override_reason": one.override.reason if one.override else None}
            for one in judged_checks(snapshot)]


class ChangesAsked(Schema):
    earlier: int | None = Field(None, ge=1, le=MAX_ID, description="The id of a snapshot; the parent if left out.")


class ChangesShape(Schema):
    snapshot_id: int
    earlier_id: int
    n_added: int
    n_removed: int
    n_relabelled: int
    n_moved: int


@router.get("/snapshots/{id}/changes", response=ChangesShape)
@on(Snapshot, "see_snapshot")
def snapshot_changes(request: Request, snapshot: Snapshot, asked: Query[ChangesAsked]) -> dict[str, Any]:
    """How many rows it holds differently from an earlier snapshot."""
    earlier = snapshot.parent
    if asked.earlier is not None:
        earlier = Snapshot.objects.filter(project=snapshot.project_id, pk=asked.earlier).first()
        if earlier is None:
            raise Http404
    if earlier is None:
        raise UserError(f"{snapshot} is the first, so there is nothing to compare it with.")
    changes = changes_since(snapshot, earlier)
    return {"snapshot_id": snapshot.pk, "earlier_id": earlier.pk} | vars(changes)


class ApprovalAsked(Schema):
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the snapshot that you read: nobody approves another.")
    decision: Literal["approved", "refused"] = "approved"
    comment: str = Field("", max_length=2000, description="What you looked at; of a refusal the reason.")


@router.post("/snapshots/{id}/approval", response={201: ApprovalShape})
@on(Snapshot, "approve_snapshot")
def snapshot_approve(request: Request, snapshot: Snapshot, asked: ApprovalAsked) -> Status:
    """Approve or refuse exactly these bytes; the first decision stands."""
    approval: Approval = approve_snapshot(
        snapshot, sha256=asked.sha256, decision=asked.decision, comment=asked.comment, approver=request.auth.user)
    return Status(201, approval)


class OverrideAsked(Schema):
    name: str = Field(max_length=40, description="Of the check.")
    n: int = Field(ge=0, le=2**31 - 1, description="How many findings you saw; refused if there are more.")
    reason: str = Field(min_length=1, max_length=2000, description="Why this is all right.")


@router.post("/snapshots/{id}/overrides", response={201: list[CheckShape]})
@on(Snapshot, "approve_snapshot")
def snapshot_override(request: Request, snapshot: Snapshot, asked: OverrideAsked) -> Status:
    """Let it be approved although a check fails, with a written reason.

    Answers with the checks as they stand then.
    """
    override_check(snapshot, name=asked.name, n=asked.n, reason=asked.reason, by=request.auth.user)
    return Status(201, _checks(snapshot))


class CommentAsked(Schema):
    text: str = Field(min_length=1, max_length=2000)


class CommentShape(Schema):
    id: int
    author: str
    text: str
    created_at: datetime

    @staticmethod
    def resolve_author(comment: Any) -> str:
        return str(comment.author)


@router.post("/snapshots/{id}/comments", response={201: CommentShape})
@on(Snapshot, "see_snapshot")
def snapshot_comment(request: Request, snapshot: Snapshot, asked: CommentAsked) -> Status:
    """Say something about it."""
    return Status(201, comment_on(snapshot, text=asked.text, by=request.auth.user))


@router.get("/snapshots/{id}/comments", response=Page[CommentShape])
@on(Snapshot, "see_snapshot")
def snapshot_comment_list(request: Request, snapshot: Snapshot, paging: Query[Paging]) -> dict[str, Any]:
    """What people said about it, in order."""
    return page_of(SnapshotComment.objects.filter(snapshot=snapshot).select_related("author"), paging, by="pk")


@router.post("/snapshots/{id}/again", response={202: JobShape})
@on(Snapshot, "freeze")
def snapshot_again(request: Request, snapshot: Snapshot) -> Status:
    """Go back to it: a job that makes its rows the project's newest snapshot."""
    return Status(202, start_roll_back(snapshot, by=request.auth.user))


class RequestAsked(Schema):
    note: str = Field("", max_length=2000)


@router.post("/snapshots/{id}/approval-request", response=SnapshotShape)
@on(Snapshot, "freeze")
def snapshot_request(request: Request, snapshot: Snapshot, asked: RequestAsked) -> Snapshot:
    """Ask the admins to decide on it. Asking twice is asking once."""
    request_approval(snapshot, by=request.auth.user, note=asked.note)
    return snapshot


class ExportAsked(Schema):
    format: str = Field("trl", max_length=30, description=f"One of {', '.join(EXPORTS)}, as the task type has them.")


class FileAsked(ExportAsked):
    whole: bool = Field(False, description="All that stands beside the data, too, as a .zip.")


@router.get("/snapshots/{id}/file", openapi_extra=A_FILE)
@on(Snapshot, "export_snapshot")
def snapshot_file(request: Request, snapshot: Snapshot, asked: Query[FileAsked]) -> FileResponse:
    """Download a snapshot.

    One of 20,000 rows or more is exported by a job instead.
    """
    if sum(snapshot.counts[name] for name in ("train", "dev", "test")) >= LARGE_ROWS:
        raise UserError(f"A snapshot of {LARGE_ROWS:,} rows and more is exported by a job: POST …/exports.")
    with exported(snapshot, asked.format, whole=asked.whole) as (path, name):
        return as_file(path.open("rb"), name)


@router.post("/snapshots/{id}/exports", response={202: JobShape})
@on(Snapshot, "export_snapshot")
def export_create(request: Request, snapshot: Snapshot, asked: ExportAsked) -> Status:
    """Write an export in a job; one that was written already is told."""
    return Status(202, start_export(snapshot, asked.format, by=request.auth.user))


@router.get("/exports/{id}/file", openapi_extra=A_FILE)
@on(Job, "export_snapshot")
def export_file(request: Request, job: Job) -> FileResponse:
    """Download what an export's job has written; `id` is the job's."""
    if job.kind != "export":
        raise Http404
    return as_file(*open_export(job))


@router.post("/projects/{id}/snapshots/import", response={202: JobShape})
@on(Project, "import_examples", is_harmless=True)
def snapshot_import(request: Request, project: Project, file: File[UploadedFile]) -> Status:
    """Send a snapshot file, of which every byte is hashed: a job makes the snapshot that it was there.

    The project needs its type and schema, and its split or no examples. A file that is being imported is told in place
    of a second import.
    """
    check_size(file, advice="Whoever runs this Goldpan can raise GOLDPAN_MAX_UPLOAD_MB.")
    return Status(202, receive_snapshot(project, file, name=file.name or "snapshot.jsonl",  # type: ignore[arg-type]
                                        by=request.auth.user))
