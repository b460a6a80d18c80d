"""The stock of known answers: how often each was given out, and how people did on it."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import F, QuerySet

from labeling.models import Annotation, Assignment, KnownAnswer
from labeling.services.batches import rules_of
from labeling.services.trust import is_right
from labeling.task_types import task_type
from projects.models import Project
from stats.intervals import Interval, wilson

DOUBTFUL_SHARE = 0.6  # of at least MIN_GIVEN answers right: below it, the known answer itself may be wrong
MIN_GIVEN = 5


@dataclass(frozen=True)
class KnownRow:
    """One known answer: `right` is the share of people who gave it, None where nobody has answered it yet."""

    known: KnownAnswer
    shown: str
    n_given: int
    n_right: int
    right: Interval | None

    @property
    def is_doubtful(self) -> bool:
        """Whether so many differ that the known answer should be looked at first."""
        return self.right is not None and self.right.n >= MIN_GIVEN and self.right.estimate < DOUBTFUL_SHARE


@dataclass(frozen=True)
class Stock:
    """n: known answers that are given out. n_short: how many the entry exam lacks."""

    n: int
    n_retired: int
    n_short: int


def stock_of(project: Project) -> Stock:
    rows = KnownAnswer.objects.filter(project=project)
    n = rows.filter(retired_at=None).count()
    return Stock(n, rows.count() - n, max(0, rules_of(project).exam_size - n))


def known_answers(project: Project) -> QuerySet[KnownAnswer]:
    """Those in use first, newest first."""
    return KnownAnswer.objects.filter(project=project).select_related("example").order_by(
        F("retired_at").asc(nulls_first=True), "-pk")


def rows_of(known: Iterable[KnownAnswer], project: Project) -> list[KnownRow]:
    """What became of these known answers where they were given out as such."""
    kind, of_example = task_type(project.task_type), {one.example_id: one for one in known}
    given = Assignment.objects.filter(example__in=of_example, state__in=Assignment.HAD).exclude(
        purpose=Assignment.Purpose.label).values_list("example_id", "annotator_id")
    answers = Annotation.objects.current().filter(example__in=of_example)
    said = {(pk, who): value for pk, who, value in answers.values_list("example_id", "annotator_id", "value")}
    asked: dict[int, list[int]] = {pk: [] for pk in of_example}
    for example_id, annotator_id in given:
        asked[example_id].append(annotator_id)
    found = []
    for pk, one in of_example.items():
        values = [said[pk, who] for who in asked[pk] if (pk, who) in said]
        n_right = sum(is_right(value, one.value, project.task_type) for value in values)
        found.append(KnownRow(one, kind.show(one.value, source=one.example.text), len(asked[pk]), n_right,
                              wilson(n_right, len(values)) if values else None))
    return found
