"""What is told about a person who labels: to themself as help, to curators as a report. Never about unfinished work.

An annotator's own page says nothing about which examples have a known answer, and nothing of what others said before
they have answered themself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
from django.contrib.auth.models import User
from django.db.models import Count, Min, Q
from django.utils import timezone

from labeling.models import Annotation, Annotator, Assignment, Desk, LabelingRules
from labeling.pace import too_fast, typical_seconds
from labeling.services.agreement import MIN_SHARED, WithOthers, with_others
from labeling.services.batches import rules_of
from labeling.services.desks import door_url
from labeling.services.trust import exam_obstacle, honeypot_obstacle, results
from projects.models import AuditEvent, Guideline, Project, Role
from projects.rights import role_in
from stats.honeypots import honeypot_evidence
from stats.intervals import Interval, wilson

N_TIMES = 500  # newest answers whose seconds say how fast somebody is
FAST_SHARE = 0.2  # of the answers, from which a person is looked at for answering faster than anybody reads
MIN_ANSWERS_FOR_PACE = 20
DAYS = 14
BY_ITSELF = "goldpan"  # who the audit names where nobody paused somebody


def names_for(project: Project, viewer: User) -> dict[int, str]:
    """Annotator pk → what they are called on this viewer's pages.

    Where the rules hide names they are “Annotator 3”, in the order in which people came, to all but admins; everybody
    knows themself.
    """
    people = list(Annotator.objects.filter(project=project).order_by("pk").values_list("pk", "name", "user_id"))
    hides = rules_of(project).hides_names and role_in(viewer, project) != Role.admin
    return {pk: f"Annotator {number}" if hides and user_id != viewer.pk else name
            for number, (pk, name, user_id) in enumerate(people, start=1)}


# One's own page

@dataclass(frozen=True)
class OwnWork:
    """What is theirs to do, how long it takes, and how they are doing.

    seconds_left: for all that is open. with_others: None while they are paused or have an exam before them.
    news: the guideline's versions since their last answer, newest first. exam: its state in words, "" without one.
    paused: why they wait, in words for them.
    """

    annotator: Annotator | None
    desk_url: str = ""
    n_open: int = 0
    due_at: datetime | None = None
    seconds_each: float | None = None
    is_own_pace: bool = False
    n_answers: int = 0
    n_week: int = 0
    with_others: WithOthers | None = None
    exam: str = ""
    paused: str = ""
    guideline: Guideline | None = None
    news: tuple[Guideline, ...] = ()

    @property
    def seconds_left(self) -> float | None:
        """In whole minutes, since nobody needs the seconds."""
        return None if self.seconds_each is None else 60.0 * max(1, round(self.n_open * self.seconds_each / 60))

    @property
    def n_until_shown(self) -> int:
        return MIN_SHARED - self.with_others.n if self.with_others else MIN_SHARED


def own_work(project: Project, user: User) -> OwnWork:
    """Gather what somebody's own page shows; about fifteen queries, however much there is."""
    guidelines = list(Guideline.objects.filter(project=project))
    annotator = Annotator.objects.filter(project=project, user=user).select_related("desk", "project").first()
    guideline = guidelines[0] if guidelines else None
    if annotator is None:
        return OwnWork(None, guideline=guideline)
    rules, now = rules_of(project), timezone.now()
    is_open = Assignment.objects.open().filter(annotator=annotator, expires_at__gt=now)
    waiting = is_open.aggregate(n=Count("pk"), due=Min("expires_at"))
    answers = Annotation.objects.current().filter(annotator=annotator).aggregate(
        n=Count("pk"), n_week=Count("pk", filter=Q(created_at__gte=now - timedelta(days=7))))
    last = Annotation.objects.filter(annotator=annotator).order_by("-pk").values_list("instructions_version").first()
    mine = typical_seconds(_seconds(annotator))
    desk = getattr(annotator, "desk", None)
    return OwnWork(
        annotator=annotator, desk_url=door_url(desk) if desk and desk.state != Desk.State.gone else "",
        n_open=waiting["n"], due_at=waiting["due"], seconds_each=mine or typical_seconds(project_seconds(project)),
        is_own_pace=mine is not None, n_answers=answers["n"], n_week=answers["n_week"],
        with_others=with_others(annotator) if answers["n"] else None, exam=exam_words(annotator, rules),
        paused=paused_words(annotator, rules), guideline=guideline,
        news=tuple(one for one in guidelines if last and one.version > last[0]))


def n_on_desk(project: Project, user: User) -> int:
    """How many examples wait for this person, whatever their role."""
    return Assignment.objects.open().filter(annotator__project=project, annotator__user=user).count()


def exam_words(annotator: Annotator, rules: LabelingRules) -> str:
    """Where the entry exam stands; "" where there is none, or it was before anybody asked."""
    if not rules.exam_size:
        return ""
    if annotator.passed_exam_at is not None:
        return "The entry exam is passed."
    result = results(annotator, Assignment.Purpose.exam)
    if exam_obstacle(annotator, rules):
        return f"The entry exam is not passed yet: {result.n_right} of {result.n} right."
    return (f"The first {rules.exam_size} examples are an entry exam, {result.n} of them are answered. With "
            f"{rules.exam_pass:.0%} right it is passed, and it goes straight on.")


def paused_words(annotator: Annotator, rules: LabelingRules) -> str:
    """Why somebody waits, in words for them: what a curator wrote, or that a curator will talk with them."""
    if annotator.paused_at is None:
        return ""
    if exam_obstacle(annotator, rules):
        return ("The entry exam did not work out this time. That happens, mostly where a guideline is unclear: a "
                "curator will go through it with you, then you try again.")
    event = AuditEvent.objects.filter(project=annotator.project_id, what="pause_annotator",
                                      detail__annotator=annotator.name).order_by("-sequence").first()
    if event is not None and event.who != BY_ITSELF:
        return annotator.paused_because
    return ("A curator would like to go through the guideline with you before you go on. What is unclear to you is "
            "often unclear in the guideline, so you help everybody by that.")


def _seconds(annotator: Annotator) -> list[float]:
    rows = Annotation.objects.filter(annotator=annotator, seconds__isnull=False).order_by("-pk")
    return [float(one) for one in rows.values_list("seconds", flat=True)[:N_TIMES] if one is not None]


def project_seconds(project: Project, *, without: Annotator | None = None) -> list[float]:
    """How long the newest answers of the project took."""
    people = Annotator.objects.filter(project=project).values_list("pk", flat=True)
    counted = [pk for pk in people if without is None or pk != without.pk]
    rows = Annotation.objects.filter(annotator__in=counted, seconds__isnull=False)
    return [float(one) for one in rows.order_by("-pk").values_list("seconds", flat=True)[:N_TIMES] if one is not None]


# The report

@dataclass(frozen=True)
class Speed:
    """Seconds per answer: the median and the middle half; of the others the median, None where nobody else tells.

    fast: how many of the n answers came in less than `limit` seconds.
    """

    n: int
    median: float
    low: float
    high: float
    others: float | None
    n_fast: int
    limit: float | None

    @property
    def is_implausible(self) -> bool:
        return self.n >= MIN_ANSWERS_FOR_PACE and self.n_fast >= FAST_SHARE * self.n


@dataclass(frozen=True)
class Honeypots:
    """What known answers say: the share that is right, and the evidence against the floor in words."""

    share: Interval
    n_right: int
    floor: float
    e_value: float
    words: str


@dataclass(frozen=True)
class Report:
    """All that is told about one annotator. honeypots is None on their own page, and where none were answered."""

    annotator: Annotator
    with_others: WithOthers
    honeypots: Honeypots | None
    exam: str
    speed: Speed | None
    daily: list[int]
    first_day: datetime
    n_answers: int
    n_skipped: int
    n_open: int


def report_on(annotator: Annotator, *, for_themself: bool) -> Report:
    """Gather a report; for_themself leaves out whatever would show which examples have a known answer."""
    rules = rules_of(annotator.project)
    first_day = today() - timedelta(days=DAYS - 1)
    mine = Assignment.objects.filter(annotator=annotator)
    n_skipped = mine.filter(state=Assignment.State.skipped).count()
    return Report(
        annotator=annotator, with_others=with_others(annotator),
        honeypots=None if for_themself else honeypots_of(annotator, rules),
        exam=exam_words(annotator, rules), speed=None if for_themself else _speed(annotator), first_day=first_day,
        daily=_answers_per_day(annotator, first_day),
        n_answers=Annotation.objects.current().filter(annotator=annotator).count(), n_skipped=n_skipped,
        n_open=mine.open().count())


def honeypots_of(annotator: Annotator, rules: LabelingRules) -> Honeypots | None:
    result = results(annotator, Assignment.Purpose.honeypot)
    if not result.n:
        return None
    evidence = honeypot_evidence(np.array(result.rights, dtype=bool), floor=rules.honeypot_floor)
    e_value = float(evidence.e_values.max())
    return Honeypots(wilson(result.n_right, result.n), result.n_right, rules.honeypot_floor, e_value,
                     evidence_words(e_value))


def evidence_words(e_value: float) -> str:
    """What the largest e-value so far means. 1 / 0.05 = 20 is proof: see stats.honeypots."""
    if e_value >= 20:
        return "proven below the floor"
    if e_value >= 5:
        return "some reason to doubt"
    if e_value >= 2:
        return "weak signs, no more"
    return "no reason to doubt"


def _speed(annotator: Annotator) -> Speed | None:
    seconds = _seconds(annotator)
    if not seconds:
        return None
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    others = typical_seconds(project_seconds(annotator.project, without=annotator))
    n_fast, limit = too_fast(seconds, others) or (0, None)
    return Speed(len(seconds), float(middle), float(low), float(high), others, n_fast, limit)


def today() -> datetime:
    """The last midnight, where the installation is."""
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def _answers_per_day(annotator: Annotator, first_day: datetime) -> list[int]:
    """How many answers came on each of DAYS days from this midnight on, counted where they lie."""
    midnights = [first_day + timedelta(days=number) for number in range(DAYS + 1)]  # of the wall clock
    found = Annotation.objects.filter(
        annotator=annotator, created_at__gte=first_day, retracted=False, skipped=False).aggregate(**{
            str(number): Count("pk", filter=Q(created_at__gte=start, created_at__lt=end))
            for number, (start, end) in enumerate(pairwise(midnights))})
    return [found[str(number)] for number in range(DAYS)]


def is_proven(annotator: Annotator) -> bool:
    """Whether known answers as they stand would pause this person: going on then means to begin anew."""
    rules = rules_of(annotator.project)
    return bool(exam_obstacle(annotator, rules) or honeypot_obstacle(annotator, rules))
