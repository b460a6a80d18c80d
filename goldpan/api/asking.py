"""Asking people: the guideline, batches, files for outside companies, the exchange with Label Studio."""

import io
from datetime import datetime
from typing import Any, Literal

from django.db.models import Exists, OuterRef
from django.http import FileResponse
from ninja import File, Form, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import Field

from goldpan.api.data import ColumnsAsked, FilterAsked, listed
from goldpan.api.files import A_FILE, as_file, check_size
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import BatchShape, JobShape, UploadShape
from labeling.forms import open_items
from labeling.models import Batch
from labeling.services.batches import Overlap, create_batch, set_batch_state
from labeling.services.sync import start_sync
from labeling.services.vendors import export_batch, receive_vendor_answers
from projects.models import Guideline, Project
from projects.services import publish_guideline
from projects.services.guidelines import MAX_CHARS, MAX_NOTE_CHARS

router = Router(tags=["Guideline and batches"])


class GuidelineShape(Schema):
    version: int
    text: str
    note: str
    changed_labels: list[str]
    changes_all: bool
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(guideline: Any) -> str:
        return str(guideline.created_by)


@router.get("/projects/{id}/guidelines", response=Page[GuidelineShape])
@on(Project, "see_project")
def guideline_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Every version of what annotators and the prompt are told; the newest, which comes first, counts."""
    return page_of(Guideline.objects.filter(project=project).select_related("created_by"), paging, by="-version")


class GuidelineAsked(Schema):
    text: str = Field(min_length=1, max_length=MAX_CHARS)
    note: str = Field(min_length=1, max_length=MAX_NOTE_CHARS, description="What changed and why.")
    seen: int = Field(ge=1, le=2**31 - 1, description="The version that you know of: refused if there is a newer one.")
    changed_labels: list[str] = Field([], max_length=1000, description="Whose rule changed: their examples are looked "
                                      "at again.")
    changes_all: bool = Field(False, description="The rule of every label changed.")


@router.post("/projects/{id}/guidelines", response={201: GuidelineShape})
@on(Project, "edit_guideline")
def guideline_publish(request: Request, project: Project, asked: GuidelineAsked) -> Status:
    """Publish a new version of the guideline."""
    return Status(201, publish_guideline(
        project, text=asked.text, note=asked.note, seen=asked.seen, changed_labels=asked.changed_labels,
        changes_all=asked.changes_all, by=request.auth.user))


class BatchAsked(FilterAsked):
    """Which examples: those named, else all that the filter lists; none that an open batch asks for already."""

    title: str = Field("labels", min_length=1, max_length=100)
    examples: list[int] | None = Field(None, max_length=10_000, description="Their ids.")
    n_labels: int = Field(1, ge=1, le=20, description="Answers for every example.")
    overlap_share: float = Field(0.1, ge=0, le=1, description="Of the examples gets more.")
    overlap_labels: int = Field(2, ge=1, le=20, description="Answers for those.")
    max_labels: int = Field(3, ge=1, le=20, description="Where people differ one more is asked at a time, up to so "
                            "many.")
    skips: Literal["next_person", "set_aside"] = "next_person"
    vendor: str = Field("", max_length=100, description="An outside company that gets the batch as a file.")


@router.post("/projects/{id}/batches", response={201: BatchShape})
@on(Project, "run_labeling")
def batch_create(request: Request, project: Project, asked: BatchAsked) -> Status:
    """Ask everybody who labels in the project for answers; desks are filled by a job."""
    examples = listed(project, asked).filter(~Exists(open_items().filter(example=OuterRef("pk"))))
    if asked.examples is not None:
        examples = examples.filter(pk__in=[pk for pk in asked.examples if 0 < pk <= MAX_ID])
    batch = create_batch(
        project, examples.values_list("pk", flat=True), title=asked.title, by=request.auth.user, skips=asked.skips,
        vendor=asked.vendor,
        overlap=Overlap(asked.n_labels, asked.overlap_share, asked.overlap_labels, asked.max_labels))
    start_sync(project, by=request.auth.user)
    return Status(201, batch)


@router.get("/projects/{id}/batches", response=Page[BatchShape])
@on(Project, "see_labeling")
def batch_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """What people were asked for, newest first."""
    return page_of(Batch.objects.filter(project=project), paging)


@router.get("/batches/{id}", response=BatchShape)
@on(Batch, "see_labeling")
def batch(request: Request, batch: Batch) -> Batch:
    """One batch."""
    return batch


class BatchStateAsked(Schema):
    state: Literal["open", "paused", "closed"]


@router.put("/batches/{id}/state", response=BatchShape)
@on(Batch, "run_labeling")
def batch_state(request: Request, batch: Batch, asked: BatchStateAsked) -> Batch:
    """Pause a batch, open it again, or close it for good."""
    changed = set_batch_state(batch, asked.state, by=request.auth.user)
    start_sync(batch.project, by=request.auth.user)
    return changed


class BatchFileAsked(Schema):
    format: Literal["jsonl", "csv"] = "jsonl"


@router.get("/batches/{id}/file", openapi_extra=A_FILE)
@on(Batch, "run_labeling")
def batch_file(request: Request, batch: Batch, asked: Query[BatchFileAsked]) -> FileResponse:
    """Download what an outside company is asked: what its batch still wants, known answers mixed in.

    That it went out is in the audit log.
    """
    return as_file(io.BytesIO(export_batch(batch, asked.format, by=request.auth.user)),
                   f"batch-{batch.number}.{asked.format}")


@router.post("/batches/{id}/answers", response={201: UploadShape})
@on(Batch, "run_labeling", is_harmless=True)
def batch_answers(request: Request, batch: Batch, file: File[UploadedFile], asked: Form[ColumnsAsked]) -> Status:
    """Send the answers that an outside company gave; every line is checked, and nothing is imported yet.

    One row per answer: key, label, who gave it, seconds and cost if they are known. Import the upload that it answers
    with.
    """
    check_size(file)
    return Status(201, receive_vendor_answers(
        batch, file, name=file.name or "file", by=request.auth.user,  # type: ignore[arg-type]
        mapping=asked.mapping))


@router.post("/projects/{id}/exchanges", response={202: JobShape})
@on(Project, "run_labeling")
def exchange(request: Request, project: Project) -> Status:
    """Exchange with Label Studio now: fill desks, bring answers in."""
    return Status(202, start_sync(project, by=request.auth.user))
