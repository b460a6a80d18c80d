"""The review queue: what looks wrong, worst first, and the decisions that settle it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from curation.answers import MODELLED
from curation.models import Decision, Erasure, ExampleScore, QualityReport
from curation.services.labels import Ballot, Vote, answers_of, ballot_of, majority
from curation.services.outdated import outdated, outdated_because
from labeling.models import Annotation, Example
from labeling.services.bulk import CHUNK
from labeling.services.set_aside import leave_settled
from projects.errors import UserError
from projects.models import Project
from projects.services import audit

VIEWS = {
    "flagged": "looks wrong",
    "disagreement": "annotators disagree",
    "discuss": "needs discussion",
    "outdated": "guideline changed",
    "all": "everything, worst first",
}
DONE = (*Decision.SETTLED, Decision.Verdict.discuss)  # what leaves the views other than “discuss”


def review_queue(report: QualityReport, view: str = "flagged") -> QuerySet[ExampleScore]:
    """The pool examples of a report that nobody has settled, lowest label quality first.

    Answers that no model doubts may have no quality; `first_in`, `next_in` and `previous_in` put those last.
    view: a key of VIEWS. Raises UserError for another one.
    """
    if view not in VIEWS:
        raise UserError(f"There is no view “{view}”. The views are: {', '.join(VIEWS)}.")
    queue = _reviewable(report).filter(example__split=Example.Split.pool)
    latest = Decision.objects.current()
    if view == "discuss":
        discussed = latest.filter(example__project=report.project_id, verdict=Decision.Verdict.discuss)
        queue = queue.filter(example_id__in=list(discussed.values_list("example_id", flat=True)))  # always few
    elif view == "outdated":
        queue = queue.filter(example_id__in=outdated(report.project))
    else:
        queue = queue.filter(~Exists(latest.filter(example_id=OuterRef("example_id"), verdict__in=DONE)))
    if view == "flagged":
        queue = queue.filter(is_label_issue=True)
    elif view == "disagreement":
        queue = queue.filter(annotator_agreement__lt=1)
    return queue.select_related("example").order_by(F("label_quality").asc(), "pk")


def _reviewable(report: QualityReport) -> QuerySet[ExampleScore]:
    """What can be reviewed: labels with a quality; where no model doubts them, every answer."""
    if report.project.task_type == "classification":
        return report.scores.filter(label_quality__isnull=False)
    return report.scores.exclude(label="")


# Two conditions that an index can follow in order; “greater or (equal and later)” makes SQLite sort everything.

def first_in(queue: QuerySet[ExampleScore]) -> ExampleScore | None:
    return _judged(queue).first() or _unjudged(queue).first()


def next_in(queue: QuerySet[ExampleScore], score: ExampleScore) -> ExampleScore | None:
    """The first of the queue after this score, which may itself have left the queue; None at its end."""
    if score.label_quality is None:
        return _unjudged(queue).filter(pk__gt=score.pk).first()
    return queue.filter(label_quality__gte=score.label_quality).exclude(
        label_quality=score.label_quality, pk__lte=score.pk).first() or _unjudged(queue).first()


def previous_in(queue: QuerySet[ExampleScore], score: ExampleScore) -> ExampleScore | None:
    """The last of the queue before this score; None at its beginning."""
    if score.label_quality is None:
        return (_unjudged(queue).filter(pk__lt=score.pk).reverse().first() or _judged(queue).reverse().first())
    return queue.reverse().filter(label_quality__lte=score.label_quality).exclude(
        label_quality=score.label_quality, pk__gte=score.pk).first()


def _judged(queue: QuerySet[ExampleScore]) -> QuerySet[ExampleScore]:
    return queue.filter(label_quality__isnull=False)


def _unjudged(queue: QuerySet[ExampleScore]) -> QuerySet[ExampleScore]:
    return queue.filter(label_quality__isnull=True)


@transaction.atomic
def decide(example: Example, *, verdict: str, by: User, value: str = "", reason: str = "",
           cause: str = "", report: QualityReport | None = None, seen: int | None = None) -> Decision:
    """Write a curator's decision about an example.

    verdict: keep, relabel, exclude or discuss. value: the new label, or an answer that can be read as one, for relabel
    only; keep keeps the current one, and relabelling to the current one is keep.
    cause: why answers differed or the label was wrong, of Decision.Cause, or "" where nobody asked.
    seen: the pk of the decision that the curator's page showed, 0 if it showed none; None asks no such question.
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
    audit(example.project, by, "decide", {"example": example.key, "decision": decision.pk, "verdict": verdict,
                                          "value": value})
    return decision


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

    Raises UserError if there is none, or somebody has decided on that example since.
    """
    undone = Decision.objects.filter(undoes_id=OuterRef("pk"))
    standing = Decision.objects.filter(~Exists(undone), example__project=project, undoes__isnull=True,
                                       example__erasure__isnull=True)
    last = standing.filter(decided_by=by).select_related("example").last()
    if last is None:
        raise UserError("You have no decision to take back in this project.")
    newest, *earlier = standing.filter(example=last.example).select_related("decided_by").order_by("-pk")[:2]
    if newest.pk != last.pk:
        raise UserError(f"{newest.decided_by} has decided on example {last.example.key} since. Decide again instead.")
    before = earlier[0] if earlier else None
    decision = Decision.objects.create(
        example=last.example, report=last.report, verdict=before.verdict if before else Decision.Verdict.open,
        value=before.value if before else "", reason=before.reason if before else "",
        cause=before.cause if before else "", undoes=last, decided_by=by)
    audit(project, by, "undo", {"example": last.example.key, "undoes": last.pk, "decision": decision.pk})
    return decision


@dataclass(frozen=True)
class ReviewCounts:
    """How many pool examples each view still holds, and how many are settled.

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
    """Count from the decisions up, not from the scores down: there are few of the one and many of the other."""
    totals = _totals(report)
    verdicts = dict(Decision.objects.current().order_by().filter(
        example__project=report.project_id, example__split=Example.Split.pool, verdict__in=DONE)
        .values_list("example_id", "verdict"))
    gone: Counter[str] = Counter()
    for example_id, is_label_issue, agreement in _scored_among(report, list(verdicts)):
        gone["flagged"] += is_label_issue
        gone["disagreement"] += agreement is not None and agreement < 1
        gone["all"] += 1
        gone["discuss"] -= verdicts[example_id] == Decision.Verdict.discuss
    left = {view: totals.get(view, 0) - gone[view] for view in VIEWS}
    left["outdated"] = review_queue(report, "outdated").count()
    settled = sum(verdict != Decision.Verdict.discuss for verdict in verdicts.values())
    return ReviewCounts(**left, settled=settled, totals={
        **totals, "discuss": left["discuss"], "outdated": left["outdated"]})


def _scored_among(report: QualityReport, example_ids: list[int]) -> list[tuple[int, bool, float | None]]:
    scores = _reviewable(report)
    return [row for start in range(0, len(example_ids), CHUNK)
            for row in scores.filter(example_id__in=example_ids[start:start + CHUNK])
            .values_list("example_id", "is_label_issue", "annotator_agreement")]


def _totals(report: QualityReport) -> dict[str, int]:
    is_modelled = report.project.task_type == "classification"
    return {"flagged": report.n_issues, "all": report.n_scored if is_modelled else _reviewable(report).count(),
            "disagreement": report.scores.filter(label_quality__isnull=False, annotator_agreement__lt=1).count()}


@dataclass(frozen=True)
class Neighbour:
    """A labelled pool example near the one under review; cosine in [-1, 1]."""

    example: Example
    label: str
    shown: str
    cosine: float
    is_copy: bool


@dataclass(frozen=True)
class Said:
    """One annotator's current answer, as a label and in words."""

    name: str
    seconds: float | None
    label: str
    shown: str


@dataclass(frozen=True)
class Past:
    """A decision and its label in words."""

    decision: Decision
    shown: str


@dataclass(frozen=True)
class ReviewItem:
    """All evidence about one example, for the person who decides.

    label: the label that counts now, as `keep` would keep it; suggestion: the model's, "" if it says the same.
    shown, suggested: the same two in words. draft: the label as somebody can go on writing it, "" where it is chosen.
    pieces: the text with what its spans mark, (words, names of labels); [] for other types.
    votes: everybody's current answer. history: all decisions, first one first. neighbours: nearest first.
    why: the report's reasons and what the neighbours say, in plain words.
    is_decidable: False for a held-out example with a majority, whose label nobody overrules here.
    """

    score: ExampleScore
    label: str
    shown: str
    suggestion: str
    suggested: str
    draft: str
    pieces: list[tuple[str, str]]
    votes: list[Said]
    history: list[Past]
    neighbours: list[Neighbour]
    why: list[str]
    is_decidable: bool

    @property
    def example(self) -> Example:
        return self.score.example

    @property
    def decision(self) -> Decision | None:
        """The decision that counts, or None where nobody decided or it was taken back."""
        last = self.history[-1].decision if self.history else None
        return last if last is not None and last.verdict != Decision.Verdict.open else None

    @property
    def seen(self) -> int:
        return self.history[-1].decision.pk if self.history else 0

    @property
    def given_by(self) -> list[Said]:
        return [vote for vote in self.votes if vote.label == self.label]


def review_item(score: ExampleScore, report: QualityReport, names: Mapping[int, str] | None = None) -> ReviewItem:
    """Gather the evidence about one scored example. Three queries, however many labels and neighbours there are.

    names: annotator pk → what this reader may call them; their own names if left out.
    """
    score.example.project = report.project  # spares a query
    answers, text = answers_of(report.project), score.example.text
    cosines = {int(pk): cosine for pk, cosine in score.neighbours}
    given = list(Annotation.objects.current().filter(example=score.example_id).select_related("annotator"))
    ballot = Ballot([Vote(vote.pk, vote.annotator_id, answers.label(vote.value, source=text), vote.value)
                     for vote in given], None, answers, text)
    history: list[Decision] = []
    decided: dict[int, str] = {}
    for decision in (Decision.objects.filter(example_id__in=[score.example_id, *cosines])
                     .select_related("decided_by").order_by("pk")):
        decided[decision.example_id] = decision.value
        if decision.example_id == score.example_id:
            history.append(decision)
    near = {other.example_id: other
            for other in report.scores.filter(example_id__in=cosines).select_related("example")} if cosines else {}
    is_held_out = score.example.split != Example.Split.pool
    blind = ballot.blind_label if is_held_out else None
    label = decided.get(score.example_id) or score.label or (blind if is_held_out else ballot.consensus) or ""
    neighbours = []
    for pk, cosine in cosines.items():
        if pk in near:
            said = decided.get(pk) or near[pk].label
            neighbours.append(Neighbour(near[pk].example, said, answers.show(said, source=near[pk].example.text),
                                        cosine, cosine >= report.duplicate_threshold))
    suggestion = score.predicted_label if score.predicted_label != label else ""
    says_something = report.project.task_type in MODELLED  # elsewhere no two answers are the same
    return ReviewItem(
        score=score, label=label, shown=answers.full(label, source=text), suggestion=suggestion,
        suggested=answers.show(suggestion, source=text), draft=answers.draft(label),
        pieces=answers.pieces(label, source=text),
        votes=[Said(names[vote.annotator_id] if names else vote.annotator.name, vote.seconds, cast.label,
                    answers.full(cast.label, source=text))
               for vote, cast in zip(given, ballot.votes, strict=True)],
        history=[Past(decision, answers.show(decision.value, source=text)) for decision in history],
        neighbours=neighbours, why=[*filter(None, [outdated_because(score.example)]),
                                    *(_said_by(neighbours, label) if says_something else ()), *score.reasons],
        is_decidable=not is_held_out or blind is None)


def _said_by(neighbours: list[Neighbour], label: str) -> list[str]:
    """What the labels of the nearest examples say against this one, if they say so."""
    n, others = len(neighbours), [neighbour.label for neighbour in neighbours if neighbour.label != label]
    if not others or len(others) <= n / 2:
        return []
    common = majority(others)
    if len(others) == n:
        shown = next((neighbour.shown for neighbour in neighbours if neighbour.label == common), "")
        return [f"The {n} nearest examples all carry “{shown}”." if set(others) == {common} else
                f"The {n} nearest examples all carry other labels."]
    return [f"{len(others)} of the {n} nearest examples carry another label."]


def score_to_review(report: QualityReport, pk: int) -> ExampleScore | None:
    """The score with this pk, or what the newest report says of the same example if the pk is an older report's."""
    scores = ExampleScore.objects.select_related("example")
    score = scores.filter(pk=pk, report__project=report.project_id).first()
    if score is not None and score.report_id != report.pk:
        return scores.filter(report=report, example=score.example_id).first()
    return score
