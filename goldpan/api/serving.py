"""How a project is served: limits, what is kept of requests, and whether what serves answers as it was evaluated."""

from datetime import datetime
from typing import Any

from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import Request, on
from goldpan.api.shapes import JobShape
from projects.models import Project
from serving.models import Replay
from serving.services.parity import start_replay
from serving.services.rules import rules_of, save_rules

router = Router(tags=["Serving"])


class ServingRulesShape(Schema):
    sample_share: float = Field(1.0, ge=0, le=1, description="Of the answered requests is kept with its words.")
    masks: bool = Field(True, description="Cover what looks like personal data before it is kept.")
    retention_days: int = Field(30, ge=1, le=3650, description="Until the words are deleted. A shorter time counts at "
                                "once for what is kept already.")
    key_limit: int = Field(120, ge=1, le=100_000, description="Requests a minute with one key.")
    project_limit: int = Field(600, ge=1, le=100_000, description="Requests a minute with all keys together.")


@router.get("/projects/{id}/serving-rules", response=ServingRulesShape)
@on(Project, "see_live")
def serving_rules(request: Request, project: Project) -> Any:
    """Limits of the gateway, and what is kept of requests."""
    return rules_of(project)


@router.put("/projects/{id}/serving-rules", response=ServingRulesShape)
@on(Project, "edit_live")
def serving_rules_save(request: Request, project: Project, asked: ServingRulesShape) -> Any:
    """Change them, all together; it counts from the next request on."""
    return save_rules(project, asked.model_dump(), by=request.auth.user)


class ReplayShape(Schema):
    """Test rows asked through what serves, held against what it answered at its evaluation."""

    id: int
    deployment_id: int
    n: int = Field(description="Rows.")
    n_equal: int = Field(description="Answered as at the evaluation.")
    differing: list[str] = Field(description="Keys of the others.")
    seconds: float
    created_at: datetime


@router.post("/projects/{id}/replays", response={202: JobShape})
@on(Project, "check_live")
def replay_start(request: Request, project: Project) -> Status:
    """Check that what serves answers as it was evaluated: a job.

    One that waits or runs already is told in place of a second one.
    """
    return Status(202, start_replay(project, by=request.auth.user))


@router.get("/projects/{id}/replays", response=Page[ReplayShape])
@on(Project, "see_live")
def replay_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Such checks, newest first."""
    return page_of(Replay.objects.filter(project=project), paging)
