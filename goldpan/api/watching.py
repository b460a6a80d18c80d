"""Whether what serves stays good: how it is watched, looks, and proposals to train again."""

from datetime import date, datetime
from typing import Any, Literal

from django.utils import timezone
from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import Request, on
from goldpan.api.shapes import IntervalShape, JobShape
from projects.models import Project
from serving.models import Look, TrainingProposal
from serving.services.drift import drift_of, look_page
from serving.services.kept_traffic import today_in_utc
from serving.services.looks import start_extra_now
from serving.services.proposals import decide, favoured_by
from serving.services.watch_plans import save_plan, shown_plan

router = Router(tags=["Watching what serves"])


class PlanShape(Schema):
    """How a project is watched; the newest counts."""

    cadence: str
    labels: int = Field(description="Examples a look.")
    uniform_share: float = Field(description="Of them is drawn at random, for the alarm.")
    floor: float | None = Field(description="Null: by the target and the evaluation of what serves.")
    retrain_weeks: int
    is_on: bool
    began_at: datetime = Field(description="Since when evidence is gathered by this floor and cadence.")
    reason: str
    created_at: datetime | None


class SignalShape(Schema):
    """A signal without labels. It never says that accuracy fell."""

    name: str
    effect: float
    p_adjusted: float
    is_warning: bool
    words: str


class DriftShape(Schema):
    """Where things stand. level: none, quiet, warning or alarm."""

    level: str
    words: str
    floor: float | None
    floor_words: str
    evidence: float | None
    threshold: float | None
    newest: IntervalShape | None = Field(description="Right, of the random rows of the newest counted look.")
    signals: list[SignalShape] = Field(description="At the newest look.")
    next_look_on: date | None
    takes: str = Field(description="What it would take to know sooner.")
    plan: PlanShape | None


@router.get("/projects/{id}/drift", response=DriftShape)
@on(Project, "see_live")
def drift(request: Request, project: Project) -> dict[str, Any]:
    """Whether the accuracy of what serves has fallen, and what has changed in the requests."""
    found = drift_of(project)
    evidence = found.found.evidence.tolist() if found.found is not None else []
    return {
        "level": found.level, "words": found.found.words if found.found else "Nothing is watched yet.",
        "floor": found.floor.value if found.floor else None, "floor_words": found.floor.words if found.floor else "",
        "evidence": evidence[-1] if evidence else None,
        "threshold": found.rule.threshold if found.rule else None, "newest": found.newest, "signals": found.signals,
        "next_look_on": found.next_end, "takes": found.takes, "plan": found.watched.plan if found.watched else None}


class PlanAsked(Schema):
    cadence: Literal["weekly", "monthly", "quarterly"] = "weekly"
    labels: int = Field(50, ge=10, le=1000, description="Examples a look.")
    uniform_share: float = Field(0.7, ge=0.3, le=1, description="Of them is drawn at random, for the alarm.")
    floor: float | None = Field(None, ge=0.05, le=0.99, description="Null: by target and evaluation. Another one "
                                "begins the evidence anew.")
    retrain_weeks: int = Field(13, ge=1, le=520)
    is_on: bool = True
    reason: str = Field(min_length=1, max_length=500, description="What changes and why.")


@router.put("/projects/{id}/watch", response=PlanShape)
@on(Project, "edit_watch")
def watch_change(request: Request, project: Project, asked: PlanAsked) -> Any:
    """Change how the project is watched."""
    return save_plan(project, asked.dict(exclude={"reason"}), reason=asked.reason, by=request.auth.user,
                     now=timezone.now())


@router.get("/projects/{id}/watch", response=PlanShape)
@on(Project, "see_live")
def watch(request: Request, project: Project) -> Any:
    """How the project is watched, by the defaults while nothing has served."""
    return shown_plan(project, now=timezone.now())


class LookShape(Schema):
    id: int
    number: int
    kind: Literal["regular", "extra"]
    since: date
    until: date = Field(description="The first day that it does not look at.")
    floor: float
    n_answered: int
    n_kept: int
    n_eligible: int
    batch_id: int | None
    due_on: date
    level: str | None = Field(description="Null while it is not counted.")
    words: list[str]

    @staticmethod
    def resolve_level(look: Any) -> str | None:
        count = getattr(look, "count", None)
        return count.level if count else None

    @staticmethod
    def resolve_words(look: Any) -> list[str]:
        count = getattr(look, "count", None)
        return [*look.words, *(count.words if count else [])]


class LookRowShape(Schema):
    """A request that people label. answer, label: null until the look is counted, so that nobody labels by them."""

    example_id: int
    is_uniform: bool
    chance: float | None
    why: list[str]
    answer: str | None
    label: str | None
    score: float | None


class LookDetailShape(Schema):
    look: LookShape
    n_settled: int
    share: IntervalShape | None = Field(description="Right, of the random rows.")
    estimate: IntervalShape | None = Field(description="Of all requests, where it is more than the random rows.")
    signals: list[SignalShape]
    rows: list[LookRowShape]


@router.get("/projects/{id}/looks", response=Page[LookShape])
@on(Project, "see_live")
def look_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Looks at the traffic, newest first."""
    return page_of(Look.objects.filter(project=project).select_related("count"), paging)


@router.get("/looks/{id}", response=LookDetailShape)
@on(Look, "see_live")
def look(request: Request, look: Look) -> dict[str, Any]:
    """One look: its rows, what people say, and the signals."""
    page = look_page(look)
    rows = [{"example_id": part.row.example_id, "is_uniform": part.row.is_uniform, "chance": part.row.chance,
             "why": part.row.why, "answer": part.answer if page.count else None,
             "label": part.label or None if page.count else None, "score": part.score} for part in page.rows]
    return {"look": look, "n_settled": page.n_settled, "share": page.share,
            "estimate": page.estimate, "signals": [part.reading for part in page.signals], "rows": rows}


@router.post("/projects/{id}/looks/extra", response={202: JobShape})
@on(Project, "run_labeling")
def look_extra(request: Request, project: Project) -> Status:
    """Ask people about what looks newest in the last requests."""
    return Status(202, start_extra_now(project, by=request.auth.user, today=today_in_utc()))


class ProposalShape(Schema):
    """A proposal to train again. state: open, approved, declined or overtaken."""

    id: int
    is_alarm: bool
    reasons: list[str]
    state: str
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str
    created_at: datetime

    @staticmethod
    def resolve_decided_by(proposal: Any) -> str | None:
        return proposal.decided_by.username if proposal.decided_by else None


@router.get("/projects/{id}/proposals", response=Page[ProposalShape])
@on(Project, "see_live")
def proposal_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Proposals to train again, newest first."""
    return page_of(TrainingProposal.objects.filter(project=project).select_related("decided_by"), paging)


class ProposalDecisionAsked(Schema):
    decision: Literal["approve", "decline"]
    reason: str = Field("", max_length=2000, description="Must be said to decline.")


class DecidedShape(ProposalShape):
    """The decision, and what to set in the gold set's rule so that it takes what is new; [] and 0 without an alarm."""

    favoured_batches: list[int]
    favoured_share: float

    @staticmethod
    def resolve_favoured_batches(proposal: Any) -> list[int]:
        found = favoured_by(proposal)
        return found.batches if found else []

    @staticmethod
    def resolve_favoured_share(proposal: Any) -> float:
        found = favoured_by(proposal)
        return found.share if found else 0.0


@router.post("/proposals/{id}/decision", response=DecidedShape)
@on(TrainingProposal, "decide_training")
def proposal_decide(request: Request, proposal: TrainingProposal, asked: ProposalDecisionAsked) -> Any:
    """Approve or decline a proposal. Nothing is started: score, freeze, quote and train as always."""
    return decide(proposal, approves=asked.decision == "approve", reason=asked.reason, by=request.auth.user)
