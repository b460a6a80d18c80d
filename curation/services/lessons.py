"""What an annotator can learn from: answers of theirs that a curator settled otherwise, with the curator's note."""

from dataclasses import dataclass
from datetime import datetime

from curation.models import Decision
from labeling.models import Annotation, Annotator, Assignment, Example
from labeling.task_types import task_type

LOOKED_AT = 100
SHOWN = 4


@dataclass(frozen=True)
class Lesson:
    """One's own answer and what a curator settled, both in a line; note and cause in words, "" if there are none."""

    text: str
    said: str
    settled: str
    note: str
    cause: str
    at: datetime


def lessons_of(annotator: Annotator) -> list[Lesson]:
    """The newest answers of somebody that were settled otherwise, newest first.

    Only pool examples that they have answered as ordinary work: a held-out answer stays blind, and a known answer
    stays unknown.
    """
    kind = task_type(annotator.project.task_type)
    graded = Assignment.objects.filter(annotator=annotator).exclude(purpose=Assignment.Purpose.label)
    mine = Annotation.objects.current().filter(annotator=annotator)
    decisions = list(Decision.objects.current().filter(
        verdict__in=(Decision.Verdict.keep, Decision.Verdict.relabel), example__split=Example.Split.pool,
        example__in=mine.values("example")).exclude(example__in=graded.values("example")).select_related(
        "example").order_by("-pk")[:LOOKED_AT])
    said = dict(mine.filter(example__in=[one.example_id for one in decisions]).values_list("example_id", "value"))
    found = []
    for decision in decisions:
        text, value = decision.example.text, said[decision.example_id]
        if kind.to_completion(value, source=text) != decision.value:
            found.append(Lesson(text, kind.show(value, source=text), decision.value, decision.reason,
                                decision.get_cause_display() if decision.cause else "", decision.created_at))
    return found[:SHOWN]
