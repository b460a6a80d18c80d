"""Which examples can serve as known answers: settled ones of the pool, whose answer nobody would dispute."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Exists, OuterRef

from curation.models import Decision
from labeling.models import Annotation, Example, KnownAnswer
from labeling.overlap import FREE_TEXT
from labeling.services.trust import add_known_answer
from labeling.task_types import task_type
from projects.errors import UserError
from projects.models import Project

SHOWN = 200
LOOKED_AT = 2000  # pool examples with the most answers, among which unanimous ones are looked for
# The text or the guideline was the trouble, so whoever answers otherwise cannot be called wrong.
UNFAIR = (Decision.Cause.ambiguous, Decision.Cause.guideline, Decision.Cause.missing)


@dataclass(frozen=True)
class Candidate:
    """An example and the answer that it would be graded by. n_agree: people who gave it; 0 where a curator decided."""

    example: Example
    value: Any
    shown: str
    n_agree: int


def candidates(project: Project) -> list[Candidate]:
    """At most SHOWN examples that are no known answer yet: unanimous ones first, then those that a curator settled.

    Unanimous: two people or more gave the same answer and nobody another, and no decision says otherwise; of a large
    project only LOOKED_AT examples with the most answers are asked. Of decided ones those are left out whose cause was
    the text or the guideline. Labels take turns, so that all are known.
    """
    if project.task_type in FREE_TEXT:
        return []
    agreed = _agreed(project)
    found = [*_in_turns(agreed), *_in_turns(_decided(project))]
    seen: set[int] = set()
    unique = [one for one in found if not (one.example.pk in seen or seen.add(one.example.pk))]  # type: ignore[func-returns-value]
    return unique[:SHOWN]


def _free(project: Project) -> Any:
    known = KnownAnswer.objects.filter(example=OuterRef("pk"))
    return Example.objects.filter(~Exists(known), project=project, split=Example.Split.pool)


def _agreed(project: Project) -> list[Candidate]:
    several = Annotation.objects.filter(example__in=_free(project)).order_by().values(
        "example").annotate(n=Count("pk")).filter(n__gte=2).order_by("-n", "example").values_list("example", flat=True)
    unanimous = Annotation.objects.current().filter(example__in=list(several[:LOOKED_AT])).order_by().values(
        "example").annotate(n=Count("pk"), n_values=Count("value", distinct=True)).filter(
        n__gte=2, n_values=1).order_by("-n", "example")
    n_of = dict(unanimous.values_list("example", "n")[:5 * SHOWN])
    decided = Decision.objects.current().filter(example=OuterRef("pk")).exclude(verdict=Decision.Verdict.open)
    examples = list(_free(project).filter(~Exists(decided), pk__in=list(n_of))[:2 * SHOWN])
    values = dict(Annotation.objects.current().filter(example__in=examples).values_list("example_id", "value"))
    kind = task_type(project.task_type)
    return [Candidate(example, values[example.pk], kind.show(values[example.pk], source=example.text), n_of[example.pk])
            for example in examples]


def _decided(project: Project) -> list[Candidate]:
    decisions = Decision.objects.current().filter(
        example__in=_free(project), verdict__in=(Decision.Verdict.keep, Decision.Verdict.relabel)).exclude(
        cause__in=UNFAIR).select_related("example").order_by("-pk")
    kind, found = task_type(project.task_type), []
    for decision in decisions[:SHOWN]:
        try:
            value = kind.parse_completion(decision.value, project.schema, source=decision.example.text)
        except ValueError:  # a label that has been renamed or dropped since
            continue
        found.append(Candidate(decision.example, value, kind.show(value, source=decision.example.text), 0))
    return found


def _in_turns(rows: list[Candidate]) -> list[Candidate]:
    """The rows, one of each answer after the other."""
    seen: dict[str, int] = {}
    turns = []
    for number, row in enumerate(rows):
        turn = seen[row.shown] = seen.get(row.shown, 0) + 1
        turns.append((turn, number, row))
    return [row for _, _, row in sorted(turns, key=lambda one: one[:2])]


@transaction.atomic
def add_candidates(project: Project, example_ids: Collection[int], *, by: User) -> int:
    """Make known answers of these candidates; return how many. Raises UserError if none of them is one (any more)."""
    chosen = [one for one in candidates(project) if one.example.pk in set(example_ids)]
    if not chosen:
        raise UserError("Choose at least one example." if not example_ids else
                        "None of these can be a known answer any more: somebody has said something else since.")
    for one in chosen:
        one.example.project = project
        add_known_answer(one.example, one.value, by=by)
    return len(chosen)
