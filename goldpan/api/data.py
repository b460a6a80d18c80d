"""Examples and what people said about them; files in."""

import dataclasses
from collections.abc import Mapping as Values
from datetime import datetime
from typing import Any, Literal

from django.db.models import Exists, OuterRef, QuerySet
from ninja import File, Form, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import Field

from curation.services.erasing import erase
from goldpan.api.files import check_size
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import JobShape, UploadShape
from labeling.forms import ExampleFilter
from labeling.models import Annotation, Assignment, Example, Upload
from labeling.reading import Mapping
from labeling.services.annotators import names_for
from labeling.services.imports import receive_upload, start_import
from projects.models import Project

router = Router(tags=["Examples and files"])


class FilterAsked(Schema):
    q: str | None = Field(None, max_length=200, description="Words in the text.")
    split: Literal["pool", "dev", "test"] | None = None
    label: str | None = Field(None, max_length=200, description="That somebody's current answer gives it; “ none” for "
                              "those without one.")


def listed(project: Project, asked: FilterAsked) -> QuerySet[Example]:
    """The examples that a filter lists; a label that the project does not have matches none."""
    given = {name: value for name in ("q", "split", "label") if (value := getattr(asked, name)) is not None}
    filter_ = ExampleFilter(given, project=project)
    return filter_.qs if filter_.is_valid() else Example.objects.none()


class ExamplesAsked(Paging, FilterAsked):
    pass


class ExampleShape(Schema):
    id: int
    key: str
    text: str
    data: dict[str, Any]
    split: Literal["pool", "dev", "test"]
    group: str
    observed_at: datetime | None


@router.get("/projects/{id}/examples", response=Page[ExampleShape])
@on(Project, "see_examples")
def example_list(request: Request, project: Project, asked: Query[ExamplesAsked]) -> dict[str, Any]:
    """The project's examples in the order they came.

    A label that the project does not have matches none.
    """
    return page_of(listed(project, asked), asked, by="pk")


@router.get("/examples/{id}", response=ExampleShape)
@on(Example, "see_examples")
def example(request: Request, example: Example) -> Example:
    """One example."""
    return example


class ErasureAsked(Schema):
    reason: str = Field(min_length=5, max_length=2000, description="For the record, without what is to be forgotten.")


@router.post("/examples/{id}/erasure", response={202: JobShape})
@on(Example, "erase")
def example_erase(request: Request, example: Example, asked: ErasureAsked) -> Status:
    """Erase an example for ever, since somebody asked for it.

    Its words go at once from the database; a job cleans files and Label Studio. Hashes and lineage stay.
    """
    return Status(202, erase([example], reason=asked.reason, by=request.auth.user))


class AnnotationsAsked(Paging):
    example: int | None = Field(None, ge=1, le=MAX_ID, description="The id of one that they are about.")
    is_current: bool = Field(False, description="Only each person's last word on an example.")


class AnnotationShape(Schema):
    """One answer in the ledger; the newest of a person about an example counts."""

    id: int
    example_id: int
    annotator: str
    value: Any = Field(description="The answer as the task type gives it; null if skipped or withdrawn.")
    skipped: bool
    retracted: bool
    seconds: float | None
    source: str
    guideline_version: int
    created_at: datetime


@router.get("/projects/{id}/annotations", response=Page[AnnotationShape])
@on(Project, "see_examples")
def annotation_list(request: Request, project: Project, asked: Query[AnnotationsAsked]) -> dict[str, Any]:
    """The ledger of answers, in the order they came.

    Whoever still has to answer an example does not see what others said about it. Names are as on the caller's pages.
    """
    waiting = Assignment.objects.open().filter(example=OuterRef("example"), annotator__user=request.auth.user)
    rows = Annotation.objects.filter(example__project=project).filter(~Exists(waiting))
    rows = rows.current() if asked.is_current else rows
    page = page_of(rows.filter(example=asked.example) if asked.example is not None else rows, asked, by="pk")
    names = names_for(project, request.auth.user)
    return page | {"items": [_annotation(row, names) for row in page["items"]]}


def _annotation(row: Annotation, names: Values[int, str]) -> dict[str, Any]:
    same = ("id", "example_id", "value", "skipped", "retracted", "seconds", "source", "created_at")
    return {name: getattr(row, name) for name in same} | {
        "annotator": names[row.annotator_id], "guideline_version": row.instructions_version}


# Files

class ColumnsAsked(Schema):
    text_column: str | None = Field(None, max_length=200)
    key_column: str | None = Field(None, max_length=200)
    label_column: str | None = Field(None, max_length=200)
    annotator_column: str | None = Field(None, max_length=200)
    group_column: str | None = Field(None, max_length=200)
    observed_at_column: str | None = Field(None, max_length=200)
    left_column: str | None = Field(None, max_length=200)
    right_column: str | None = Field(None, max_length=200)
    messages_column: str | None = Field(None, max_length=200)
    seconds_column: str | None = Field(None, max_length=200)
    cost_column: str | None = Field(None, max_length=200)

    @property
    def mapping(self) -> Mapping | None:
        """Which column is what, None where nothing is said and the header is to be guessed from."""
        given = {field.name: getattr(self, field.name) or None for field in dataclasses.fields(Mapping)}
        return Mapping(**given) if any(given.values()) else None


class UploadAsked(ColumnsAsked):
    kind: Literal["examples", "annotations"] = Field("examples", description="One text, or one answer, per row.")


@router.post("/projects/{id}/uploads", response={201: UploadShape})
@on(Project, "import_examples", is_harmless=True)
def upload_create(request: Request, project: Project, file: File[UploadedFile], asked: Form[UploadAsked]) -> Status:
    """Send a file; every line of it is checked, and nothing is imported yet.

    CSV, TSV, JSON Lines, JSON, or an export of Label Studio, in UTF-8. Columns are guessed from the header unless one
    is named. Sending a file twice does no harm.
    """
    check_size(file)
    return Status(201, receive_upload(project, file, name=file.name or "file", kind=asked.kind,  # type: ignore[arg-type]
                                      by=request.auth.user, mapping=asked.mapping))


@router.get("/projects/{id}/uploads", response=Page[UploadShape])
@on(Project, "import_examples")
def upload_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """The files that were sent, newest first."""
    return page_of(Upload.objects.filter(project=project), paging)


@router.get("/uploads/{id}", response=UploadShape)
@on(Upload, "import_examples")
def upload(request: Request, upload: Upload) -> Upload:
    """What the check of a file found."""
    return upload


class ImportAsked(Schema):
    skip_bad: bool = Field(False, description="Leave bad rows out; without it one bad row stops the file.")


@router.post("/uploads/{id}/import", response={202: JobShape})
@on(Upload, "import_examples")
def upload_import(request: Request, upload: Upload, asked: ImportAsked) -> Status:
    """Import a checked file, whole or not at all.

    One file has one job: asked for again, that job is told.
    """
    return Status(202, start_import(upload, by=request.auth.user, skip_bad=asked.skip_bad))
