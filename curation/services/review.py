"""The review queue: what looks wrong, worst first, and the decisions that settle it."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from curation.models import Decision, ExampleScore, QualityReport
from curation.services.labels import majority
from labeling.models import Annotation, Example
from projects.errors import UserError
from projects.models import Project
from projects.services import audit

VIEWS = {
    "flagged": "looks wrong",
    "disagreement": "annotators disagree",
    "discuss": "needs discussion",
    "all": "everything, worst first",
}


def review_queue(report: QualityReport, view: str = "flagged") -> QuerySet[ExampleScore]:
    """The pool examples of a report that nobody has settled, lowest label quality first.

    view: a key of VIEWS. Raises UserError for another one.
    """
    if view not in VIEWS:
        raise UserError(f"There is no view “{view}”. The views are: {', '.join(VIEWS)}.")
    latest = Decision.objects.latest().filter(example_id=OuterRef("example_id"))
    queue = report.scores.filter(label_quality__isnull=False, example__split=Example.Split.pool)
    if view == "discuss":
        queue = queue.filter(Exists(latest.filter(verdict=Decision.Verdict.discuss)))
    else:
        queue = queue.filter(~Exists(latest.filter(verdict__in=[*Decision.SETTLED, Decision.Verdict.discuss])))
    if view == "flagged":
        queue = queue.filter(is_label_issue=True)
    elif view == "disagreement":
        queue = queue.filter(annotator_agreement__lt=1)
    return queue.select_related("example").order_by(F("label_quality").asc(), "pk")


@transaction.atomic
def decide(example: Example, *, verdict: str, by: User, value: str = "", reason: str = "",
           report: QualityReport | None = None) -> Decision:
    """Write a curator's decision about an example.

    verdict: keep, relabel, exclude or discuss. value: the new label, for relabel only; keep keeps the current one.
    A held-out example is decided only where its blind annotators tie: its label must not come from a suggestion.
    Raises UserError if the verdict is unknown, the label is none of the project's, or there is no label to keep.
    """
    if verdict not in (*Decision.SETTLED, Decision.Verdict.discuss):
        raise UserError(f"A decision is keep, relabel, exclude or discuss; got “{verdict}”.")
    if verdict == Decision.Verdict.relabel and value not in example.project.labels:
        raise UserError(f"“{value}” is not a label of this project. Its labels are: {', '.join(example.project.labels)}.")
    if example.split != Example.Split.pool and verdict in (Decision.Verdict.keep, Decision.Verdict.relabel):
        _check_tie(example)
    if verdict == Decision.Verdict.keep:
        value = current_label(example, report)
        if not value:
            raise UserError(f"Example {example.key} has no label to keep. Give it one, or exclude it.")
    elif verdict != Decision.Verdict.relabel:
        value = ""
    decision = Decision.objects.create(example=example, report=report, verdict=verdict, value=value,
                                       reason=reason.strip(), decided_by=by)
    audit(example.project, by, "decide", {"example": example.key, "decision": decision.pk, "verdict": verdict,
                                          "value": value})
    return decision


def current_label(example: Example, report: QualityReport | None = None) -> str:
    """The label that counts now: decided, else the report's, else what most annotators say; "" if there is none."""
    decision = Decision.objects.latest().filter(example=example).first()
    if decision is not None and decision.value:
        return decision.value
    score = report.scores.filter(example=example).first() if report else None
    if score is not None and score.label:
        return score.label
    return majority(_votes(example)) or ""


def _check_tie(example: Example) -> None:
    votes = _votes(example)
    if majority(votes) is not None:
        raise UserError(f"Example {example.key} is held out for {example.split}; its {len(votes)} blind labels have a "
                        "majority, and that is its label. Only ties are decided by hand.")


def _votes(example: Example) -> list[str]:
    return list(Annotation.objects.current().filter(example=example).values_list("value", flat=True))


@transaction.atomic
def undo(project: Project, *, by: User) -> Decision:
    """Take back this person's last decision in the project; what counted before it counts again.

    Raises UserError if there is none, or somebody has decided on that example since.
    """
    mine = Decision.objects.filter(example__project=project, decided_by=by, undoes__isnull=True)
    undone = Decision.objects.filter(undoes_id=OuterRef("pk"))
    last = mine.filter(~Exists(undone)).select_related("example").last()
    if last is None:
        raise UserError("You have no decision to take back in this project.")
    history = Decision.objects.filter(example=last.example).order_by("-pk")
    if history[0].pk != last.pk:
        raise UserError(f"{history[0].decided_by} has decided on example {last.example.key} since. Decide again instead.")
    before = history.filter(pk__lt=last.pk).first()
    decision = Decision.objects.create(
        example=last.example, report=last.report, verdict=before.verdict if before else Decision.Verdict.open,
        value=before.value if before else "", undoes=last, decided_by=by)
    audit(project, by, "undo", {"example": last.example.key, "undoes": last.pk, "decision": decision.pk})
    return decision


@dataclass(frozen=True)
class ReviewCounts:
    """How many pool examples each view still holds, and how many are settled."""

    flagged: int
    disagreement: int
    discuss: int
    settled: int


def review_counts(report: QualityReport) -> ReviewCounts:
    settled = Decision.objects.latest().filter(
        example__project=report.project, example__split=Example.Split.pool, verdict__in=Decision.SETTLED)
    return ReviewCounts(
        flagged=review_queue(report, "flagged").count(), disagreement=review_queue(report, "disagreement").count(),
        discuss=review_queue(report, "discuss").count(), settled=settled.count())
