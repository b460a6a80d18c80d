"""How a project is served: what answers, what came in, limits, and whether it answers as it was evaluated."""

from datetime import date, datetime
from typing import Any

from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import Request, on
from goldpan.api.shapes import IntervalShape, JobShape
from projects.models import Project
from serving.models import Replay
from serving.services.live import live_of
from serving.services.parity import start_replay
from serving.services.rules import rules_of, save_rules

router = Router(tags=["Serving"])


class TrafficDayShape(Schema):
    day: date = Field(description="In UTC.")
    n_answered: int
    n_failed: int = Field(description="The model failed, or could not be reached.")
    n_refused: int = Field(description="Too many at once, or no request that can be answered.")
    prompt_tokens: int
    answer_tokens: int
    cost: float = Field(description="In `currency`, of the answers whose price is known.")
    n_uncosted: int = Field(description="Answered, with no price known.")


class TimesShape(Schema):
    """Seconds of the newest answers of seven days: the median and the 95th percentile."""

    n: int
    median: float
    high: float
    added_median: float = Field(description="By Goldpan, to the model and its queue.")
    added_high: float


class FeedbackFactsShape(Schema):
    """What came back in 30 days."""

    n: int
    n_up: int
    n_down: int
    n_corrections: int
    n_outcomes: int
    n_escalated: int
    thumbs: IntervalShape | None = Field(description="The share that is up.")
    outcome: IntervalShape | None = Field(description="The mean of outcomes.")


class LiveShape(Schema):
    title: str = Field(description="What serves; empty where nothing does.")
    obstacle: str = Field(description="Why nothing serves, in words.")
    warning: str = Field(description="What makes it answer otherwise than it was evaluated.")
    run_id: int | None
    adapter_id: int | None
    since: datetime | None
    why: str
    models: list[str] = Field(description="Names that the gateway takes as `model`.")
    n_requests: int = Field(description="Of seven days, answered or not.")
    days: list[TrafficDayShape] = Field(description="With requests, of the last 30, newest first.")
    times: TimesShape | None
    currency: str
    feedback: FeedbackFactsShape


@router.get("/projects/{id}/live", response=LiveShape)
@on(Project, "see_live")
def live(request: Request, project: Project) -> dict[str, Any]:
    """What serves and why, what came in, how long it took, what it cost, what came back."""
    found = live_of(project)
    standing = found.standing
    return {
        "title": standing.title, "obstacle": standing.obstacle, "warning": standing.warning,
        "run_id": standing.run.pk if standing.run else None,
        "adapter_id": standing.adapter.pk if standing.adapter else None, "since": standing.since, "why": standing.why,
        "models": found.models, "n_requests": found.n_requests, "days": found.days, "times": found.times,
        "currency": found.currency, "feedback": found.feedback}


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
