"""Scores, decisions, and the rule that picks the gold set."""

from datetime import datetime
from typing import Any, Literal

from ninja import Query, Router, Schema, Status
from pydantic import Field

from curation.models import Decision, ExampleScore, QualityReport
from curation.services.gold_sets import gold_set_of, look, rule_of, save_rule
from curation.services.review import decide, undo
from curation.services.scoring import latest_report, start_score
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import DecisionShape, JobShape
from jobs.models import Job
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project

router = Router(tags=["Quality and snapshots"])


# Scores

@router.post("/projects/{id}/reports", response={202: JobShape})
@on(Project, "score")
def score(request: Request, project: Project) -> Status:
    """Score the labels: a job that ends in a report.

    A scoring that waits or runs already is told in place of a second one.
    """
    waiting = Job.objects.active().filter(project=project, kind="score").first()
    return Status(202, waiting or start_score(project, by=request.auth.user))


class ReportShape(Schema):
    """What one scoring found."""

    id: int
    n_examples: int
    n_scored: int
    n_issues: int
    n_clusters: int
    n_crossing: int
    accuracy: float | None = Field(description="Of out-of-sample predictions against the given labels.")
    hidden_because: str = Field(description="Why no scores are shown, if so.")
    n_flags: dict[str, int]
    created_at: datetime


@router.get("/projects/{id}/reports", response=Page[ReportShape])
@on(Project, "see_quality")
def report_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Reports, newest first."""
    return page_of(QualityReport.objects.filter(project=project), paging)


@router.get("/reports/{id}", response=ReportShape)
@on(QualityReport, "see_quality")
def report(request: Request, report: QualityReport) -> QualityReport:
    """One report."""
    return report


class ScoresAsked(Paging):
    is_label_issue: bool | None = Field(None, description="Only those that look wrong, or only the others.")


class ScoreShape(Schema):
    """What a report says of one example. Quality is between 0 and 1, and low is bad."""

    id: int
    example_id: int
    label: str
    predicted_label: str
    label_quality: float | None
    is_label_issue: bool
    annotator_agreement: float | None
    cluster: int
    cluster_size: int
    crosses_split: bool
    reasons: list[Any]


@router.get("/reports/{id}/scores", response=Page[ScoreShape])
@on(QualityReport, "see_quality")
def score_list(request: Request, report: QualityReport, asked: Query[ScoresAsked]) -> dict[str, Any]:
    """What a report says, example by example."""
    scores = ExampleScore.objects.filter(report=report)
    if asked.is_label_issue is not None:
        scores = scores.filter(is_label_issue=asked.is_label_issue)
    return page_of(scores, asked, by="pk")


# Decisions

class DecisionAsked(Schema):
    verdict: Literal["keep", "relabel", "exclude", "discuss"]
    value: str = Field("", max_length=20_000, description="The new label, for relabel only.")
    reason: str = Field("", max_length=2000)
    cause: Literal["", "slip", "ambiguous", "guideline", "missing", "knowledge"] = Field(
        "", description="Why answers differed or the label was wrong.")
    seen: int | None = Field(None, ge=0, le=MAX_ID, description="The id of the decision that you know of, 0 for none: "
                             "refused if there is a newer one.")


@router.post("/examples/{id}/decisions", response={201: DecisionShape})
@on(Example, "review")
def decision_create(request: Request, example: Example, asked: DecisionAsked) -> Status:
    """Decide what counts for an example."""
    if asked.verdict == Decision.Verdict.discuss and not asked.reason.strip():
        raise UserError("Say in a few words what is to be discussed; whoever settles it will read it.")
    return Status(201, decide(
        example, verdict=asked.verdict, value=asked.value, reason=asked.reason, cause=asked.cause, seen=asked.seen,
        by=request.auth.user, report=latest_report(request.project)))


@router.get("/projects/{id}/decisions", response=Page[DecisionShape])
@on(Project, "review")
def decision_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Every decision, newest first; of an example the newest counts."""
    return page_of(Decision.objects.filter(example__project=project).select_related("decided_by"), paging)


@router.post("/projects/{id}/decisions/undo", response={201: DecisionShape})
@on(Project, "review")
def decision_undo(request: Request, project: Project) -> Status:
    """Take back one's own last decision; what counted before counts again."""
    return Status(201, undo(project, by=request.auth.user))


# Gold set

class GoldRuleShape(Schema):
    """The rule that picks the gold set."""

    size: int = Field(ge=1, le=1_000_000)
    method: Literal["spread", "draw"] = "spread"
    min_quality: float = Field(0, ge=0, le=1)
    min_per_label: int = Field(20, ge=0, le=100_000)
    uncertain_share: float = Field(0.1, ge=0, le=1)
    audit_share: float = Field(0.05, ge=0, le=1)
    favoured_share: float = Field(0, ge=0, le=1, description="Of the rows, kept for those of the favoured batches.")
    favoured_batches: list[int] = Field([], max_length=100, description="Numbers of batches.")
    seed: int = Field(0, ge=0, le=99_999)
    allow_flagged: bool = False


@router.get("/projects/{id}/gold-set", response=GoldRuleShape)
@on(Project, "edit_gold_set")
def gold_set(request: Request, project: Project) -> Any:
    """The rule that picks the gold set."""
    return gold_set_of(project)


@router.put("/projects/{id}/gold-set", response=GoldRuleShape)
@on(Project, "edit_gold_set")
def gold_set_save(request: Request, project: Project, asked: GoldRuleShape) -> Any:
    """Change the rule."""
    return save_rule(gold_set_of(project), **asked.model_dump(), by=request.auth.user)


class PickShape(Schema):
    """What the stored rule picks now: `facts`, or the job that is finding out."""

    facts: dict[str, Any] | None
    job: JobShape | None


@router.get("/projects/{id}/gold-set/pick", response=PickShape)
@on(Project, "edit_gold_set")
def gold_set_pick(request: Request, project: Project) -> Any:
    """What the rule picks now.

    In a large project a job finds out; ask again once it has ended.
    """
    return look(project, rule_of(gold_set_of(project)), by=request.auth.user)
