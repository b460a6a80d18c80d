"""Where labelling stands: batches, what blocks them, pace, cost, the exchange with Label Studio, people at work.

Counts come from the counters of the batches and from one scan of the last two weeks, not from every answer.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Case, CharField, Count, F, FloatField, Min, Q, Sum, Value, When
from django.db.models.functions import Cast, Substr
from django.utils import timezone

from jobs.models import Job
from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, Desk, KnownAnswer, LabelingRules
from labeling.pace import AWAY_SECONDS, Forecast, forecast, typical_seconds
from labeling.services.annotators import DAYS, today
from labeling.services.batches import rules_of
from projects.models import Membership, Project, Role

SHOWN_CLOSED = 10
LOOKED_AT = 500  # items at the head of the queue that are asked whether anybody is left for them
N_PACE = 2_000  # newest answers that tell everybody's pace


@dataclass(frozen=True)
class BatchRow:
    """How far a batch is. n_done, n_set_aside and n_stuck count examples, the others answers.

    n_stuck: unfinished examples near the head of the queue that everybody who may label them has had.
    obstacles: what keeps it from being finished, in words.
    """

    batch: Batch
    n_examples: int
    n_done: int
    n_set_aside: int
    n_wanted: int
    n_answered: int
    n_open: int
    n_stuck: int = 0
    obstacles: list[str] = field(default_factory=list)

    @property
    def n_left(self) -> int:
        return max(0, self.n_wanted - self.n_answered)

    @property
    def is_done(self) -> bool:
        return not self.n_left


@dataclass(frozen=True)
class Person:
    """Somebody at work. seconds: the median of their newest answers, None from fewer than ten."""

    annotator: Annotator
    n_open: int
    n_today: int
    n_fortnight: int
    seconds: float | None
    exam_left: bool


@dataclass(frozen=True)
class Cost:
    """What answers cost so far. hours: spent labelling, over n_timed answers; vendors: what companies charged for n."""

    hours: float
    n_timed: int
    wages: Decimal | None
    vendors: Decimal
    n_vendors: int
    currency: str

    @property
    def total(self) -> Decimal | None:
        if self.wages is None:
            return self.vendors if self.n_vendors else None
        return self.wages + self.vendors

    @property
    def n(self) -> int:
        """The answers that the total is for."""
        return (self.n_timed if self.wages is not None else 0) + self.n_vendors

    @property
    def per_answer(self) -> Decimal | None:
        return None if self.total is None or not self.n else self.total / self.n


@dataclass(frozen=True)
class Lag:
    """How far behind the exchange is. troubles: desks where something is wrong, with what to do. job: a round that
    waits, runs or has failed. compared: the last comparison of both sides, task by task."""

    pulled_at: datetime | None
    n_desks: int
    n_open: int
    troubles: list[Desk]
    job: Job | None
    compared: Job | None


@dataclass(frozen=True)
class Board:
    """All that the board shows, but for agreement."""

    rows: list[BatchRow]
    n_closed_more: int
    daily: list[int]
    first_day: datetime
    n_left: int
    end: Forecast | None
    cost: Cost
    lag: Lag
    people: list[Person]
    exam_is_short: int  # how many known answers the exam lacks; 0 if there are enough
    n_known: int

    @property
    def open_rows(self) -> list[BatchRow]:
        return [row for row in self.rows if row.batch.state == Batch.State.open]

    @property
    def n_set_aside(self) -> int:
        return sum(row.n_set_aside for row in self.rows if row.batch.state != Batch.State.closed)

    @property
    def paused(self) -> list[Person]:
        return [one for one in self.people if one.annotator.paused_at]


def board_of(project: Project) -> Board:
    rules = rules_of(project)
    daily_of, first_day = _daily(project), today() - timedelta(days=DAYS - 1)
    people = _people(project, rules, daily_of)
    rows, n_more = _rows(project, people)
    daily = [sum(day) for day in zip(*daily_of.values(), strict=True)] or [0] * DAYS
    n_left = sum(row.n_left for row in rows if row.batch.state == Batch.State.open and not row.batch.vendor)
    n_known = KnownAnswer.objects.filter(project=project, retired_at=None).count()
    return Board(
        rows=rows, n_closed_more=n_more, daily=daily, first_day=first_day, n_left=n_left,
        end=forecast(since_first(daily[:-1]), n_left), cost=_cost(project, rules), lag=_lag(project), people=people,
        exam_is_short=max(0, rules.exam_size - n_known), n_known=n_known)


def since_first(daily: list[int]) -> list[int]:
    """The days from the first with answers on: those before nobody had been asked."""
    first = next((day for day, n in enumerate(daily) if n), len(daily))
    return daily[first:]


def batch_row(batch: Batch) -> BatchRow:
    people = _people(batch.project, rules_of(batch.project), {})
    return _rows(batch.project, people, only=batch)[0][0]


# Batches

def _rows(project: Project, people: list[Person], *, only: Batch | None = None) -> tuple[list[BatchRow], int]:
    """A row for each batch, stuck ones first, then newest first; of closed ones the newest, and how many more."""
    batches = list(Batch.objects.filter(project=project, **({"pk": only.pk} if only else {})).prefetch_related(
        "annotators"))
    closed = [batch for batch in batches if batch.state == Batch.State.closed][SHOWN_CLOSED:]
    shown = [batch for batch in batches if batch not in closed]
    items = BatchItem.objects.filter(batch__in=shown).order_by().values("batch").annotate(
        n=Count("pk"), wanted=Sum("n_wanted"), taken=Sum("n_taken"), aside=Count("pk", filter=Q(is_set_aside=True)),
        full=Count("pk", filter=Q(n_taken__gte=F("n_wanted"))))
    counts: dict[int, Any] = {row["batch"]: row for row in items}
    lying = lying_in(project)
    stuck = _stuck([batch for batch in shown if batch.state == Batch.State.open and not batch.vendor], people)
    rows = [_row(batch, counts.get(batch.pk), lying.get(batch.pk, []), stuck.get(batch.pk, 0), people)
            for batch in shown]
    return sorted(rows, key=lambda row: not row.obstacles), len(closed)


def lying_in(project: Project) -> dict[int, list[tuple[int, bool]]]:
    """Batch → (item, whether everybody who is wanted has it) of what lies open, once for each person who has it.

    Found by person, since everybody has few open and a batch has many items.
    """
    people = list(Annotator.objects.filter(project=project).values_list("pk", flat=True))
    lying = Assignment.objects.open().filter(annotator__in=people, item__isnull=False).order_by()
    found: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for item_id, batch_id, n_taken, n_wanted in lying.values_list(
            "item", "item__batch", "item__n_taken", "item__n_wanted"):
        found[batch_id].append((item_id, n_taken >= n_wanted))
    return found


def _row(batch: Batch, counts: dict[str, int] | None, lying: list[tuple[int, bool]], n_stuck: int,
         people: list[Person]) -> BatchRow:
    n_full_lying = len({item_id for item_id, is_full in lying if is_full})
    found = counts or {"n": 0, "wanted": 0, "taken": 0, "aside": 0, "full": 0}
    row = BatchRow(
        batch=batch, n_examples=found["n"], n_done=found["full"] - n_full_lying, n_set_aside=found["aside"],
        n_wanted=found["wanted"], n_answered=found["taken"] - len(lying), n_open=len(lying), n_stuck=n_stuck)
    row.obstacles.extend(_obstacles(row, people))
    return row


def asked(batch: Batch, people: Iterable[Person]) -> list[Annotator]:
    """Everybody whom a batch asks: those it names, or all annotators of the project."""
    named = {annotator.pk for annotator in batch.annotators.all()}
    return [one.annotator for one in people if (one.annotator.pk in named if named else one.annotator.labels_here)]  # type: ignore[attr-defined]


def _obstacles(row: BatchRow, people: list[Person]) -> list[str]:
    """Why the batch cannot be finished as things are, in words."""
    if row.batch.state != Batch.State.open or row.batch.vendor or row.is_done:
        return []
    said, everybody = [], asked(row.batch, people)
    at_work = [annotator for annotator in everybody if annotator.paused_at is None]
    if not everybody:
        said.append("Nobody labels in this project yet. Add annotators, or name people in a new batch.")
    elif not at_work:
        said.append("Everybody who is asked is paused. Let somebody go on, or name other people in a new batch.")
    elif row.n_stuck:
        said.append(f"At least {row.n_stuck:,} example{'s want' if row.n_stuck > 1 else ' wants'} one more person than "
                    f"there {'are' if len(at_work) > 1 else 'is'}: all {len(at_work)} at work have had "
                    f"{'them' if row.n_stuck > 1 else 'it'}. Add an annotator, or close the batch with what it has.")
    return said


def _stuck(batches: list[Batch], people: list[Person]) -> dict[int, int]:
    """Batch → how many items at the head of its queue want somebody, and nobody who may have them has not.

    What cannot be given out stays at the head, so the head tells.
    """
    wanting = list(BatchItem.objects.filter(batch__in=batches, is_set_aside=False, n_taken__lt=F("n_wanted")).order_by(
        "batch", "priority", "pk").values_list("batch_id", "example_id")[:LOOKED_AT])
    had: dict[int, set[int]] = defaultdict(set)
    for example_id, annotator_id in Assignment.objects.filter(
            example__in=[example_id for _, example_id in wanting], state__in=Assignment.HAD).values_list(
            "example_id", "annotator_id"):
        had[example_id].add(annotator_id)
    may = {batch.pk: {one.pk for one in asked(batch, people) if one.paused_at is None} for batch in batches}
    found: dict[int, int] = defaultdict(int)
    for batch_id, example_id in wanting:
        found[batch_id] += bool(may[batch_id]) and may[batch_id] <= had[example_id]
    return found


# People and pace

def _daily(project: Project) -> dict[int, list[int]]:
    """Annotator → answers on each of the last DAYS days, today last.

    Counted by the hour in UTC, as both databases write a time, so that each answer need not be loaded; where a day
    begins within such an hour, that hour counts for the day on which it begins.
    """
    first_day = today() - timedelta(days=DAYS - 1)
    hours = Assignment.objects.filter(
        annotator__project=project, state=Assignment.State.answered, ended_at__gte=first_day).order_by().annotate(
        hour=Substr(Cast("ended_at", CharField()), 1, 13)).values_list("annotator", "hour").annotate(n=Count("pk"))
    found: dict[int, list[int]] = defaultdict(lambda: [0] * DAYS)
    for annotator_id, hour, n in hours:
        at = timezone.localtime(datetime.strptime(hour, "%Y-%m-%d %H").replace(tzinfo=UTC))
        found[annotator_id][min(max(0, (at.date() - first_day.date()).days), DAYS - 1)] += n
    return dict(found)


def _people(project: Project, rules: LabelingRules, daily_of: dict[int, list[int]]) -> list[Person]:
    """Everybody who labels here, with an account or for an outside company: those at work first, then the paused."""
    role_of = dict(Membership.objects.filter(project=project).values_list("user_id", "role"))
    people = list(Annotator.objects.filter(
        Q(user__in=list(role_of), vendor="") | ~Q(vendor=""), project=project).order_by("pk"))
    lying = Assignment.objects.open().filter(annotator__in=people, expires_at__gt=timezone.now())
    n_open = dict(lying.order_by().values_list("annotator").annotate(n=Count("pk")))
    seconds: dict[int, list[float]] = defaultdict(list)
    newest = Annotation.objects.filter(annotator__in=people, seconds__isnull=False).order_by("-pk")
    for pk, took in newest.values_list("annotator_id", "seconds")[:N_PACE]:
        seconds[pk].append(float(took or 0))
    found = []
    for annotator in people:
        annotator.labels_here = role_of.get(annotator.user_id or 0) == Role.annotator  # type: ignore[attr-defined]
        daily = daily_of.get(annotator.pk, [0] * DAYS)
        if annotator.labels_here or n_open.get(annotator.pk) or any(daily):  # type: ignore[attr-defined]
            found.append(Person(annotator, n_open.get(annotator.pk, 0), daily[-1], sum(daily),
                                typical_seconds(seconds[annotator.pk]),
                                rules.wants_exam_of(annotator)))
    return sorted(found, key=lambda one: (one.annotator.paused_at is not None, -one.n_fortnight, one.annotator.pk))


def _cost(project: Project, rules: LabelingRules) -> Cost:
    """Time that people spent, at the project's wage, and what companies charged; an hour an answer counts at most."""
    people = list(Annotator.objects.filter(project=project).values_list("pk", flat=True))
    spent = Case(When(seconds__gt=AWAY_SECONDS, then=Value(AWAY_SECONDS)), default="seconds", output_field=FloatField())
    sums: dict[str, Any] = Annotation.objects.filter(annotator__in=people).aggregate(
        n=Count("seconds", filter=Q(cost=None)), spent=Sum(spent, filter=Q(cost=None)),
        vendors=Sum("cost"), n_vendors=Count("cost"))
    hours = (sums["spent"] or 0.0) / 3600
    wages = (Decimal(hours) * rules.hourly_wage).quantize(Decimal("0.01")) if rules.hourly_wage else None
    return Cost(hours, sums["n"], wages, sums["vendors"] or Decimal(0), sums["n_vendors"], rules.currency)


# The exchange

def _lag(project: Project) -> Lag:
    """How fresh the answers are; the oldest desk in use counts."""
    desks = Desk.objects.filter(project=project)
    ages = desks.exclude(state=Desk.State.gone).aggregate(
        oldest=Min("pulled_at"), n=Count("pk"), n_pulled=Count("pulled_at"))
    rounds = Job.objects.filter(project=project, kind="sync")
    newest = rounds.first()
    return Lag(
        pulled_at=ages["oldest"] if ages["n"] == ages["n_pulled"] else None, n_desks=ages["n"],
        n_open=Assignment.objects.open().filter(annotator__project=project).count(),
        troubles=list(desks.exclude(state=Desk.State.ok, message="").select_related("annotator")),
        job=newest if newest and (newest.is_active or newest.state == Job.State.failed) else None,
        compared=rounds.filter(params__reconcile=True, state=Job.State.succeeded).first())


def age_minutes(at: datetime | None) -> int | None:
    """Whole minutes since, rounded up: “answers up to 2 minutes ago”."""
    return None if at is None else max(1, int(-(-(timezone.now() - at).total_seconds() // 60)))


def headline(board: Board) -> str:
    """Where labelling stands, in one or two sentences, and what keeps it or comes next."""
    rows = [row for row in board.rows if row.batch.state != Batch.State.closed]
    if not board.rows:
        return "Nobody has been asked yet. Choose examples, then ask people about them."
    if not rows:
        return "All batches are closed. Ask for more labels, or go on with those that are there."
    n_wanted, n_answered = (sum(getattr(row, name) for row in rows) for name in ("n_wanted", "n_answered"))
    so_far = f"{n_answered:,} of {n_wanted:,} answers are in"
    if n_answered >= n_wanted:
        return f"All {n_wanted:,} answers that were asked for are in. Score the labels next, to see which look wrong."
    blocked = next((row for row in rows if row.obstacles), None)
    if blocked is not None:
        return f"{so_far}, and batch {blocked.batch.number} cannot be finished as things are: see below."
    if board.exam_is_short and any(one.exam_left for one in board.people):
        return f"{so_far}. The entry exam lacks {board.exam_is_short} known answers, so who is new cannot finish it."
    if all(row.batch.state == Batch.State.paused for row in rows):
        return f"{so_far}. Everything is paused: nothing more is given out."
    if not board.n_left:
        return f"{so_far}; what is missing comes from outside companies."
    return f"{so_far}; {board.n_left:,} {'are' if board.n_left > 1 else 'is'} still to come. {end_words(board.end)}"


def end_words(end: Forecast | None) -> str:
    """When the rest will be there, with the range of what could come."""
    if end is None:
        return "When they will be there can be told after three days with answers."
    if end.is_beyond:
        return "At the pace of the last two weeks that takes longer than can be told: ask more people, or for less."
    if end.high == 1:
        return "At the pace of the last two weeks that is done within a day."
    return (f"At the pace of the last two weeks that takes about {end.days} day{'s' if end.days > 1 else ''} "
            f"({end.low} to {end.high}).")
