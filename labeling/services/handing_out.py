"""Who gets which example next. The database decides, Label Studio only shows: so overlap is exact by construction.

1. `overdue` and `free`: what nobody answered in time goes to somebody else.
2. `hand_out` fills every desk up to its limit: an exam first where there is one, then the examples that still want
   answers, first batch first, with honeypots mixed in.
An example is taken by compare-and-set on its counter, which a database constraint keeps at or below what is wanted.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, KnownAnswer, LabelingRules
from labeling.services.batches import rules_of
from labeling.services.desks import annotators_at_work
from labeling.services.trust import counting
from projects.models import Membership, Project, Role

GRACE = timedelta(minutes=2)  # an answer that was on its way when the time was over still arrives


@dataclass(frozen=True)
class HandedOut:
    """What one round gave out; `n_starved` people had room and found nothing."""

    n_examples: int
    n_honeypots: int
    n_exam: int
    n_starved: int


def hand_out(project: Project) -> HandedOut:
    """Reserve examples for everybody who labels here, up to the limit of their desk."""
    rules, now = rules_of(project), timezone.now()
    n_open = _n_per_annotator(Assignment.objects.open(), project)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    n_today = _n_per_annotator(Assignment.objects.filter(state=Assignment.State.answered, ended_at__gte=today), project)
    is_wanted = BatchItem.objects.filter(
        batch__project=project, batch__state=Batch.State.open, batch__vendor="", is_set_aside=False,
        n_taken__lt=F("n_wanted")).exists()
    n_of, n_starved = {purpose: 0 for purpose in Assignment.Purpose.values}, 0
    for annotator in annotators_at_work(project):
        n_free = rules.open_limit - n_open[annotator.pk]
        if annotator.daily_limit is not None:
            n_free = min(n_free, annotator.daily_limit - n_today[annotator.pk] - n_open[annotator.pk])
        may_get = is_wanted or rules.wants_exam_of(annotator)
        given = _fill_desk(annotator, n_free, rules, now) if n_free > 0 and may_get else []
        for purpose in given:
            n_of[purpose] += 1
        n_starved += not given and not n_open[annotator.pk]
    return HandedOut(n_of["label"], n_of["honeypot"], n_of["exam"], n_starved)


def _n_per_annotator(assignments: QuerySet[Assignment], project: Project) -> Counter[int]:
    counts = assignments.filter(annotator__project=project).order_by().values_list("annotator").annotate(n=Count("pk"))
    return Counter(dict(counts))


@transaction.atomic
def _fill_desk(annotator: Annotator, n_free: int, rules: LabelingRules, now: datetime) -> list[str]:
    """Reserve at most `n_free` examples for one person; return the purpose of each new assignment."""
    expires_at = now + timedelta(hours=rules.reservation_hours)
    known = _known_answers(annotator)
    if rules.wants_exam_of(annotator):
        n_left = max(0, rules.exam_size - _n_exam(annotator))
        return _give(annotator, Assignment.Purpose.exam, known[:n_left], expires_at)
    given: list[str] = []
    for item in items_for(annotator)[:n_free]:
        taken = BatchItem.objects.filter(pk=item.pk, n_taken__lt=F("n_wanted")).update(n_taken=F("n_taken") + 1)
        if taken:
            Assignment.objects.create(example_id=item.example_id, annotator=annotator, item=item, expires_at=expires_at)
            given.append(Assignment.Purpose.label)
    # Which of them is known must not be guessed from a pattern: every one given draws for a companion.
    draw = random.Random(f"{annotator.project.split_salt}:{annotator.pk}:{annotator.assignments.count()}")
    n_honeypots = sum(draw.random() < rules.honeypot_share for _ in given)
    return given + _give(annotator, Assignment.Purpose.honeypot, known[:n_honeypots], expires_at)


def items_for(annotator: Annotator) -> QuerySet[BatchItem]:
    """The items that this person may be given now, first batch first: never an example that they had before."""
    had = Assignment.objects.filter(example_id=OuterRef("example_id"), annotator=annotator, state__in=Assignment.HAD)
    said = Annotation.objects.filter(example_id=OuterRef("example_id"), annotator=annotator)
    named = Batch.annotators.through.objects.filter(batch_id=OuterRef("pk"))
    mine = Exists(named.filter(annotator=annotator))
    is_asked = Q(mine) | ~Exists(named) if _labels_here(annotator) else Q(mine)
    batches = Batch.objects.filter(is_asked, project=annotator.project_id, state=Batch.State.open, vendor="")
    return BatchItem.objects.filter(
        ~Exists(had), ~Exists(said), batch__in=batches, is_set_aside=False, n_taken__lt=F("n_wanted"),
    ).order_by("batch__number", "priority", "pk")


def _labels_here(annotator: Annotator) -> bool:
    """Whether work that names nobody is theirs: an annotator's, not a curator's."""
    return Membership.objects.filter(
        project=annotator.project_id, user=annotator.user_id, role=Role.annotator).exists()


def _known_answers(annotator: Annotator) -> list[KnownAnswer]:
    """Known answers that this person has never seen, least given out first, so that none becomes famous."""
    had = Assignment.objects.filter(example_id=OuterRef("example_id"), annotator=annotator, state__in=Assignment.HAD)
    said = Annotation.objects.filter(example_id=OuterRef("example_id"), annotator=annotator)
    known = KnownAnswer.objects.filter(
        ~Exists(had), ~Exists(said), project=annotator.project_id, retired_at=None, example__split="pool")
    draw = random.Random(f"{annotator.project.split_salt}:{annotator.pk}")
    found = list(known.order_by("pk"))
    draw.shuffle(found)
    return found


def _n_exam(annotator: Annotator) -> int:
    return counting(annotator).filter(purpose=Assignment.Purpose.exam, state__in=Assignment.HAD).count()


def _give(annotator: Annotator, purpose: Assignment.Purpose, known: Iterable[KnownAnswer],
          expires_at: datetime) -> list[str]:
    rows = [Assignment(example_id=answer.example_id, annotator=annotator, purpose=purpose, expected=answer.value,
                       expires_at=expires_at) for answer in known]
    Assignment.objects.bulk_create(rows)
    return [purpose] * len(rows)


def overdue(project: Project, now: datetime) -> QuerySet[Assignment]:
    """Open assignments whose time has been over long enough that no answer can be on its way any more."""
    return Assignment.objects.open().filter(annotator__project=project, expires_at__lte=now - GRACE)


@transaction.atomic
def free(assignments: Iterable[Assignment]) -> int:
    """End these open assignments unanswered, so that somebody else can have their examples; return how many it were."""
    n_freed = 0
    for assignment in assignments:
        ended = Assignment.objects.open().filter(pk=assignment.pk).update(
            state=Assignment.State.expired, ended_at=timezone.now())
        if ended and assignment.item_id is not None:
            BatchItem.objects.filter(pk=assignment.item_id).update(n_taken=F("n_taken") - 1)
        n_freed += ended
    return n_freed
