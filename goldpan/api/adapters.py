"""What trainings leave: adapters, the champion among them."""

from typing import Any

from django.conf import settings
from django.http import FileResponse, Http404
from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.files import A_FILE, as_file
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import Request, on
from goldpan.api.shapes import AdapterShape, JobShape, PromotionShape
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_is_sound, open_object
from training.models import Adapter, Promotion, Run
from training.services.exports import start_merge
from training.services.general import queue_general_check
from training.services.promotion import promote, roll_back, roll_back_to_prompt, standing
from training.services.slices import critical_kinds, declare_critical
from training.slices import KINDS

router = Router(tags=["Prompts, runs and adapters"])


@router.get("/projects/{id}/adapters", response=Page[AdapterShape])
@on(Project, "see_runs")
def adapter_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Adapters, newest first; one of a project is the champion."""
    return page_of(Adapter.objects.filter(project=project), paging)


class AdapterDetailShape(AdapterShape):
    may_be_promoted: bool = Field(description="Whether the gate lets it be champion without a written reason.")
    reasons: list[str] = Field(description="Why, or why not.")


@router.get("/adapters/{id}", response=AdapterDetailShape)
@on(Adapter, "see_runs")
def adapter(request: Request, adapter: Adapter) -> dict[str, Any]:
    """One adapter, and whether the gate lets it be champion."""
    found = standing(adapter)
    same = ("id", "project_id", "run_id", "stage", "files", "receipt", "created_at")
    return {name: getattr(adapter, name) for name in same} | {
        "may_be_promoted": found.allowed, "reasons": found.reasons}


class PromotionAsked(Schema):
    override_reason: str = Field("", max_length=2000, description="Why, although the gate says no.")


@router.post("/adapters/{id}/promote", response=AdapterShape)
@on(Adapter, "promote")
def adapter_promote(request: Request, adapter: Adapter, asked: PromotionAsked) -> Adapter:
    """Make it the champion; the former one is retired."""
    return promote(adapter, by=request.auth.user, override_reason=asked.override_reason)


class RollBackAsked(Schema):
    reason: str = Field(min_length=1, max_length=2000)


@router.post("/adapters/{id}/roll-back", response=AdapterShape)
@on(Adapter, "promote")
def adapter_roll_back(request: Request, adapter: Adapter, asked: RollBackAsked) -> Adapter:
    """Make an earlier champion the champion again."""
    return roll_back(adapter, by=request.auth.user, reason=asked.reason)


@router.get("/projects/{id}/promotions", response=Page[PromotionShape])
@on(Project, "see_runs")
def promotion_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """What became the champion, newest first: the first one is what serves. Empty: the best prompt does."""
    return page_of(Promotion.objects.filter(project=project).select_related("run__adapter"), paging)


@router.post("/runs/{id}/roll-back", response=PromotionShape)
@on(Run, "promote")
def run_roll_back(request: Request, run: Run, asked: RollBackAsked) -> Promotion:
    """Make a prompt that has served before the champion again."""
    return roll_back_to_prompt(run, by=request.auth.user, reason=asked.reason)


@router.post("/adapters/{id}/questions", response={202: JobShape})
@on(Adapter, "train")
def adapter_questions(request: Request, adapter: Adapter) -> Status:
    """Ask it the general questions, to see whether it has forgotten what its base model knew."""
    return Status(202, queue_general_check(adapter, by=request.auth.user))


@router.post("/adapters/{id}/merge", response={202: JobShape})
@on(Adapter, "train")
def adapter_merge(request: Request, adapter: Adapter) -> Status:
    """Merge it into its base model, as a model that any server opens."""
    return Status(202, start_merge(adapter, by=request.auth.user))


class CriticalSlicesShape(Schema):
    kinds: list[str] = Field(max_length=20, description=f"Of {', '.join(KINDS)}.")


@router.get("/projects/{id}/critical-slices", response=CriticalSlicesShape)
@on(Project, "see_runs")
def critical_slices(request: Request, project: Project) -> dict[str, Any]:
    """On which kinds of slices an adapter may not be worse."""
    return {"kinds": critical_kinds(project)}


@router.put("/projects/{id}/critical-slices", response=CriticalSlicesShape)
@on(Project, "promote")
def critical_slices_declare(request: Request, project: Project, asked: CriticalSlicesShape) -> Any:
    """Declare them for all evaluations from now on."""
    return declare_critical(project, asked.kinds, by=request.auth.user)


@router.get("/adapters/{id}/files/{name}", openapi_extra=A_FILE)
@on(Adapter, "see_runs")
def adapter_file(request: Request, adapter: Adapter, name: str) -> FileResponse:
    """Download one of its files, by its name in `files`."""
    if name not in adapter.files:
        raise Http404
    if not object_is_sound(settings.GOLDPAN_OBJECTS, adapter.files[name]):
        raise UserError(f"{name} of {adapter} is missing or has changed on the disk. Restore it from a backup.")
    return as_file(open_object(settings.GOLDPAN_OBJECTS, adapter.files[name]), name)
