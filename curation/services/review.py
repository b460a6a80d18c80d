"""The review queue: what is worth a look, what still waits there, and the decisions that settle it."""

import hashlib
from collections import Counter
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from curation.answers import WRITTEN
from curation.models import BulkDecision, Decision, Erasure, ExampleScore, Message, QualityReport
from curation.services.keeping import Mark, Moment, kept_up
from curation.services.labels import answers_of, ballot_of
from curation.services.outdated import outdated
from curation.services.queue import DONE, VIEWS, Filter, Queue, reviewable
from labeling.models import Example
from labeling.services.set_aside import leave_settled
from projects.errors import UserError
from projects.models import Project
from projects.services import audit


def review_queue(report: QualityReport, view: str = "flagged", *, order: str = "gain") -> QuerySet[ExampleScore]:
    """The pool examples of a view that nobody has settled. Raises UserError for a view that there is not."""
    if view not in VIEWS:
        raise UserError(f"There is no view “{view}”. The views are: {', '.join(VIEWS)}.")
    return Queue(report, Filter(view=view, order=order)).ordered


@transaction.atomic
def decide(example: Example, *, verdict: str, by: User, value: str = "", reason: str = "",
           cause: str = "", report: QualityReport | None = None, seen: int | None = None,
           asked: User | None = None) -> Decision:
    """Write a curator's decision about an example; one to discuss it opens the discussion with its reason.

    verdict: keep, relabel, exclude or discuss. value: the new label, or an answer that can be read as one, for relabel
    only; keep keeps the current one, and relabelling to the current one is keep.
    cause: why answers differed or the label was wrong, of Decision.Cause, or "" where nobody asked.
    seen: the pk of the decision that the curator's page showed, 0 if it showed none; None asks no such question.
    asked: whose word a discussion waits for; None is anybody's.
    A held-out example is decided only where its blind annotators tie: its label must not come from a suggestion.
    Raises UserError if the verdict is unknown, the value is no label or answer of the project's, there is no label to
    keep, or somebody has decided since the page was drawn.
    """
    Example.objects.select_for_update().get(pk=example.pk)  # of two decisions at once the second sees the first
    _check_seen(example, seen)
    if verdict not in DONE:
        raise UserError(f"A decision is keep, relabel, exclude or discuss; got “{verdict}”.")
    if Erasure.objects.filter(example=example).exists():
        raise UserError(f"Example {example.key} was erased at somebody's wish. There is nothing left to decide.")
    if verdict == Decision.Verdict.relabel:
        value = _read_label(example, value)
    if example.split != Example.Split.pool and verdict in (Decision.Verdict.keep, Decision.Verdict.relabel):
        _check_tie(example)
    if verdict == Decision.Verdict.relabel and value == current_label(example, report):
        verdict = Decision.Verdict.keep
    if verdict == Decision.Verdict.keep:
        value = current_label(example, report)
        if not value:
            raise UserError(f"Example {example.key} has no label to keep. Give it one, or exclude it.")
    elif verdict != Decision.Verdict.relabel:
        value = ""
    decision = Decision.objects.create(example=example, report=report, verdict=verdict, value=value,
                                       reason=reason.strip(), cause=cause, decided_by=by)
    if verdict in Decision.SETTLED:
        leave_settled(example)
    elif decision.reason:
        Message.objects.create(example=example, author=by, text=decision.reason, asked=asked)
    audit(example.project, by, "decide", {"example": example.key, "decision": decision.pk, "verdict": verdict,
                                          **_audited(example.project, value)})
    return decision


def _audited(project: Project, value: str) -> dict[str, str]:
    """A label as the audit chain has it, which cannot forget words: of an answer written in words the hash alone."""
    if not value or project.task_type not in WRITTEN:
        return {"value": value}
    return {"value_sha256": hashlib.sha256(value.encode()).hexdigest()}


def _read_label(example: Example, written: str) -> str:
    """The label of an answer that somebody chose or wrote. Raises UserError, in words, if it is no answer."""
    answers, labels = answers_of(example.project), example.project.labels
    if answers.are_labels:
        if written not in labels:
            raise UserError(f"“{written}” is not a label of this project. Its labels are: {', '.join(labels)}.")
        return written
    try:
        return answers.label(answers.value(written, source=example.text), source=example.text)
    except ValueError as error:
        raise UserError(f"Your answer was not saved, because it cannot be read: {error}") from None


def _check_seen(example: Example, seen: int | None) -> None:
    if seen is None:
        return
    last = Decision.objects.filter(example=example).select_related("decided_by").last()
    if (last.pk if last else 0) != seen:
        said = f"{last.decided_by}: {last.get_verdict_display()} {last.value}".strip() if last else "nothing"
        raise UserError("Somebody has decided on this example since your page showed it, so yours was not saved "
                        f"({said}). Reload the page to see it, or go to the next one.")


def current_label(example: Example, report: QualityReport | None = None) -> str:
    """The label that counts now: decided, else the report's, else what annotators say together; "" if there is none."""
    decision = Decision.objects.current().filter(example=example).first()
    if decision is not None and decision.value:
        return decision.value
    score = report.scores.filter(example=example).first() if report else None
    if score is not None and score.label:
        return score.label
    ballot = ballot_of(example)
    return (ballot.consensus if example.split == Example.Split.pool else ballot.blind_label) or ""


def _check_tie(example: Example) -> None:
    ballot = ballot_of(example)
    if ballot.blind_label is not None:
        raise UserError(f"Example {example.key} is held out for {example.split}; its {len(ballot.votes)} blind labels "
                        f"have a {ballot.answers.joint}, and that is its label. Only ties are decided by hand.")


@transaction.atomic
def undo(project: Project, *, by: User) -> Decision:
    """Take back this person's last decision in the project; what counted before it counts again.

    Raises UserError if there is none, it is one of many that were decided at once, or somebody has decided on that
    example since.
    """
    undone = Decision.objects.filter(undoes_id=OuterRef("pk"))
    standing = Decision.objects.filter(~Exists(undone), example__project=project, undoes__isnull=True,
                                       example__erasure__isnull=True)
    last = standing.filter(decided_by=by).select_related("example", "bulk").last()
    if last is None:
        raise UserError("You have no decision to take back in this project.")
    if last.bulk is not None and not BulkDecision.objects.filter(undoes=last.bulk).exists():
        raise UserError(f"Your last decision was about {last.bulk.n_decided:,} examples at once. Take it back on the "
                        "page of such decisions (“at once”, above the queue).")
    newest, *earlier = standing.filter(example=last.example).select_related("decided_by").order_by("-pk")[:2]
    if newest.pk != last.pk:
        raise UserError(f"{newest.decided_by} has decided on example {last.example.key} since. Decide again instead.")
    decision = undoing(last, earlier[0] if earlier else None, by=by)
    decision.save()
    audit(project, by, "undo", {"example": last.example.key, "undoes": last.pk, "decision": decision.pk})
    return decision


def undoing(decision: Decision, before: Decision | None, *, by: User) -> Decision:
    """The row, not saved yet, that takes a decision back. before: what counts again then, None for nothing."""
    before = before or Decision(verdict=Decision.Verdict.open)
    return Decision(example_id=decision.example_id, report_id=decision.report_id, undoes=decision, decided_by=by,
                    verdict=before.verdict, value=before.value, reason=before.reason, cause=before.cause)


@dataclass(frozen=True)
class ReviewCounts:
    """How many pool examples each view still holds, and how many of what can be reviewed are settled.

    totals: view → how many the report put into it; of “discuss” and “outdated” those that are in it.
    """

    flagged: int
    disagreement: int
    discuss: int
    outdated: int
    settled: int
    all: int
    totals: dict[str, int]


def review_counts(report: QualityReport) -> ReviewCounts:
    moment = Moment()
    counts = kept_up(f"review:{report.pk}", report.n_examples, lambda: _count(report), lambda held, mark, touched: (
        _count_anew(report, held, mark, touched)), moment)
    totals = {view: counts[f"total {view}"] for view in ("flagged", "disagreement", "all")}
    left = {view: counts[view] for view in (*totals, "discuss")}
    left["outdated"] = Queue(report, Filter(view="outdated")).n(moment) if outdated(report.project, moment) else 0
    return ReviewCounts(**left, settled=totals["all"] - left["all"] - left["discuss"], totals={
        **totals, "discuss": left["discuss"], "outdated": left["outdated"]})


def _count(report: QualityReport) -> Counter[str]:
    """What each view holds, and as “total …” what the report put into it."""
    is_modelled = report.project.task_type == "classification"
    return Counter({
        **{view: Queue(report, Filter(view=view)).rows.count() for view in VIEWS if view != "outdated"},
        "total flagged": report.n_issues, "total all": report.n_scored if is_modelled else reviewable(report).count(),
        "total disagreement": report.scores.filter(label_quality__isnull=False, annotator_agreement__lt=1).count()})


def _count_anew(report: QualityReport, counts: Counter[str], mark: Mark, touched: set[int]) -> Counter[str]:
    """The counts at a mark, mended for the decisions about these examples that came after it."""
    before, after, mended = {}, {}, counts.copy()
    for example_id, pk, verdict in Decision.objects.filter(example__in=touched).order_by("pk").values_list(
            "example_id", "pk", "verdict"):
        after[example_id] = verdict
        if pk <= mark.decision:
            before[example_id] = verdict
    for example_id, is_flagged, agreement in reviewable(report).filter(
            example__in=after, example__split=Example.Split.pool).values_list(
            "example_id", "is_label_issue", "annotator_agreement"):
        views = {"all", *["flagged"] * is_flagged, *["disagreement"] * (agreement is not None and agreement < 1)}
        for verdicts, one in ((after, 1), (before, -1)):
            verdict = verdicts.get(example_id, Decision.Verdict.open)
            held = {"discuss"} if verdict == Decision.Verdict.discuss else set() if verdict in DONE else views
            mended.update(dict.fromkeys(held, one))
    return mended


def score_to_review(report: QualityReport, pk: int) -> ExampleScore | None:
    """The score with this pk, or what the newest report says of the same example if the pk is an older report's."""
    scores = ExampleScore.objects.select_related("example")
    score = scores.filter(pk=pk, report__project=report.project_id).first()
    if score is not None and score.report_id != report.pk:
        return scores.filter(report=report, example=score.example_id).first()
    return score
