"""Projects, their background work, and the record of who did what."""

from datetime import datetime
from typing import Any, Literal

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import Request, on
from goldpan.api.shapes import JobShape
from jobs.models import Job
from jobs.services import cancel, retry
from projects.models import AuditEvent, Project
from projects.rights import founder, signed_in
from projects.services import create_project

router = Router(tags=["Projects and jobs"])


class ProjectShape(Schema):
    id: int
    name: str
    task_type: str
    answer_schema: dict[str, Any] = Field(description="What an answer may be.")
    labels: list[str] = Field(description="What an answer can be, in order; empty where it is free.")
    guideline: str
    guideline_version: int
    target_metric: str
    target_value: float
    created_at: datetime

    @staticmethod
    def resolve_answer_schema(project: Any) -> dict[str, Any]:
        return dict(project.schema)

    @staticmethod
    def resolve_guideline(project: Any) -> str:
        return str(project.instructions)

    @staticmethod
    def resolve_guideline_version(project: Any) -> int:
        return int(project.instructions_version)


@router.get("/projects", response=Page[ProjectShape])
@signed_in
def project_list(request: Request, paging: Query[Paging]) -> dict[str, Any]:
    """The caller's projects.

    With a key it is the one that the key was made for.
    """
    projects: QuerySet[Project] = Project.objects.visible_to(request.auth.user)
    if request.auth.key is not None:
        projects = projects.filter(pk=request.auth.key.project_id)
    return page_of(projects, paging, by="pk")


class NewProject(Schema):
    name: str = Field(min_length=3, max_length=50)
    task_type: Literal["classification", "multilabel", "response", "extraction", "preference", "spans",
                       "chat"] = "classification"
    answer_schema: dict[str, Any] = Field(
        description="What an answer may be.", examples=[{"labels": [{"name": "refund", "description": ""}]}])
    guideline: str = Field("", max_length=20_000)
    target_value: float = Field(0.8, gt=0, lt=1)


@router.post("/projects", response={201: ProjectShape})
@founder
def project_create(request: Request, asked: NewProject) -> Status:
    """Found a project.

    Its founder is its first admin. Only from a browser's session: a key belongs to one project.
    """
    if request.auth.key is not None:
        raise PermissionDenied("A key belongs to one project, so it makes no other one. Log in to do that.")
    return Status(201, create_project(
        name=asked.name, task_type=asked.task_type, schema=asked.answer_schema, instructions=asked.guideline,
        target_value=asked.target_value, created_by=request.auth.user))


@router.get("/projects/{id}", response=ProjectShape)
@on(Project, "see_project")
def project(request: Request, project: Project) -> Project:
    """One project."""
    return project


class AuditShape(Schema):
    """Who did what. The chain holds if every sha256 follows from its event and the one before."""

    sequence: int
    at: datetime
    who: str
    what: str
    detail: dict[str, Any]
    previous_sha256: str
    sha256: str


@router.get("/projects/{id}/audit", response=Page[AuditShape])
@on(Project, "see_audit")
def audit_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Who did what, from the first event on."""
    return page_of(AuditEvent.objects.filter(project=project), paging, by="sequence")


class JobsAsked(Paging):
    state: Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"] | None = None
    kind: str | None = Field(None, max_length=20)


@router.get("/projects/{id}/jobs", response=Page[JobShape])
@on(Project, "see_jobs")
def job_list(request: Request, project: Project, asked: Query[JobsAsked]) -> dict[str, Any]:
    """The project's jobs, newest first."""
    wanted = {name: value for name in ("state", "kind") if (value := getattr(asked, name)) is not None}
    return page_of(Job.objects.filter(project=project, **wanted), asked)


@router.get("/jobs/{id}", response=JobShape)
@on(Job, "see_jobs")
def job(request: Request, job: Job) -> Job:
    """One job: how far it is, what it made, why it failed."""
    return job


@router.post("/jobs/{id}/cancel", response=JobShape)
@on(Job, "cancel_job")
def job_cancel(request: Request, job: Job) -> Job:
    """Stop a job.

    A waiting one at once, a running one within about a second.
    """
    return cancel(job)


@router.post("/jobs/{id}/retry", response=JobShape)
@on(Job, "cancel_job")
def job_retry(request: Request, job: Job) -> Job:
    """Run a failed or cancelled job again.

    A training goes on from its last checkpoint.
    """
    return retry(job)
