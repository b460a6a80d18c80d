"""All that helps to decide about one example: what people said, what a model says, what lies near, what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from curation.answers import MODELLED, Answers
from curation.models import Decision, ExampleScore, Message, QualityReport
from curation.services.labels import Ballot, Vote, answers_of, majority
from curation.services.outdated import outdated_because
from labeling.models import Annotation, Example


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
    """Something that was done with the example: who, what in words, the label in words if it gave one, a remark.

    decision: where it is one; an answer has none.
    """

    at: datetime
    who: str
    what: str
    shown: str = ""
    remark: str = ""
    decision: Decision | None = None

    @property
    def is_answer(self) -> bool:
        return self.decision is None


@dataclass(frozen=True)
class ReviewItem:
    """All evidence about one example, for the person who decides.

    label: the label that counts now, as `keep` would keep it; suggestion: the model's, "" if it says the same.
    shown, suggested: the same two in words. draft: the label as somebody can go on writing it, "" where it is chosen.
    pieces: the text with what its spans mark, (words, names of labels); [] for other types.
    votes: everybody's current answer. history: all answers and decisions, first one first. decisions: those alone.
    messages: what was said in discussion, first one first. neighbours: nearest first.
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
    decisions: list[Decision]
    messages: list[Message]
    neighbours: list[Neighbour]
    why: list[str]
    is_decidable: bool

    @property
    def example(self) -> Example:
        return self.score.example

    @property
    def decision(self) -> Decision | None:
        """The decision that counts, or None where nobody decided or it was taken back."""
        last = self.decisions[-1] if self.decisions else None
        return last if last is not None and last.verdict != Decision.Verdict.open else None

    @property
    def is_discussed(self) -> bool:
        return self.decision is not None and self.decision.verdict == Decision.Verdict.discuss

    @property
    def seen(self) -> int:
        return self.decisions[-1].pk if self.decisions else 0

    @property
    def given_by(self) -> list[Said]:
        return [vote for vote in self.votes if vote.label == self.label]


def review_item(score: ExampleScore, report: QualityReport, names: Mapping[int, str] | None = None) -> ReviewItem:
    """Gather the evidence about one scored example. Four queries, however many labels and neighbours there are.

    names: annotator pk → what this reader may call them; their own names if left out.
    """
    score.example.project = report.project  # spares a query
    answers, text = answers_of(report.project), score.example.text
    cosines = {int(pk): cosine for pk, cosine in score.neighbours}
    given = list(Annotation.objects.filter(example=score.example_id).select_related("annotator").order_by("pk"))
    newest = {annotation.annotator_id: annotation.pk for annotation in given}
    standing = [annotation for annotation in given
                if annotation.pk == newest[annotation.annotator_id] and annotation.value is not None]
    ballot = Ballot([Vote(vote.pk, vote.annotator_id, answers.label(vote.value, source=text), vote.value)
                     for vote in standing], None, answers, text)
    decisions: list[Decision] = []
    decided: dict[int, str] = {}
    for decision in (Decision.objects.filter(example_id__in=[score.example_id, *cosines])
                     .select_related("decided_by").order_by("pk")):
        decided[decision.example_id] = decision.value
        if decision.example_id == score.example_id:
            decisions.append(decision)
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

    def name(annotation: Annotation) -> str:
        return names[annotation.annotator_id] if names else annotation.annotator.name

    return ReviewItem(
        score=score, label=label, shown=answers.full(label, source=text), suggestion=suggestion,
        suggested=answers.show(suggestion, source=text), draft=answers.draft(label),
        pieces=answers.pieces(label, source=text),
        votes=[Said(name(vote), vote.seconds, cast.label, answers.full(cast.label, source=text))
               for vote, cast in zip(standing, ballot.votes, strict=True)],
        history=sorted([*(_answer(one, name(one), answers, text) for one in given),
                        *(_decision(one, answers, text) for one in decisions)], key=lambda past: past.at),
        decisions=decisions, neighbours=neighbours,
        messages=list(Message.objects.filter(example=score.example_id).select_related("author", "asked")),
        why=[*filter(None, [outdated_because(score.example)]),
             *(_said_by(neighbours, label) if says_something else ()), *score.reasons],
        is_decidable=not is_held_out or blind is None)


def _answer(annotation: Annotation, name: str, answers: Answers, text: str) -> Past:
    what = "took the answer back" if annotation.retracted else "skipped it" if annotation.skipped else "answered"
    shown = "" if annotation.value is None else answers.show(
        answers.label(annotation.value, source=text), source=text)
    return Past(annotation.created_at, name, what, shown)


def _decision(decision: Decision, answers: Answers, text: str) -> Past:
    what = decision.get_verdict_display()
    if decision.undoes_id:
        what = "took it back" if decision.verdict == Decision.Verdict.open else f"took it back; again: {what}"
    if decision.bulk_id:
        what = f"{what} (one of many at once)"
    return Past(decision.created_at, str(decision.decided_by), what, answers.show(decision.value, source=text),
                decision.reason, decision)


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


