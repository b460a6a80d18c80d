"""What waits for people at what serves a project: labels of looks, an alarm, a proposal, an A/B test that won.

Home tells of it. One query while nothing serves; seven at most else, but where a training was just approved. None of
them loads a text.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, Exists, Min, OuterRef, Q, Subquery
from django.urls import reverse
from django.utils import timezone

from labeling.models import Annotator, Assignment
from projects.models import Project
from serving.models import Deployment, Experiment, Look, LookCount, LookRow, TrainingProposal, WatchPlan
from serving.models.watching import DUE_DAYS
from serving.services.kept_traffic import today_in_utc
from serving.services.look_labels import asked_for
from serving.services.proposals import gold_query
from stats.intervals import Interval
from training.services.champions import champion_of


@dataclass(frozen=True)
class OpenLook:
    """A look that is not counted yet. n_waiting: of its n examples those that somebody is still asked about."""

    look: Look
    n: int
    n_waiting: int
    is_late: bool

    @property
    def url(self) -> str:
        """Where its labelling is seen."""
        batch = self.look.batch_id
        return reverse("labeling:batch", args=[batch]) if batch else reverse("serving:look", args=[self.look.pk])


@dataclass(frozen=True)
class Duties:
    """newest: the last counted look of what serves, by the floor and cadence in force; measured: the last with labels.

    proposal: the newest about what serves.
    to_ship: an A/B test that says its challenger may be shipped, while champion and challenger are still the same.
    gold_query: what makes the gold set's rule take what is new, once training again was approved.
    """

    champion: Deployment
    looks: list[OpenLook]
    newest: LookCount | None
    measured: LookCount | None
    proposal: TrainingProposal | None
    to_ship: Experiment | None
    gold_query: str = ""

    @property
    def share(self) -> Interval | None:
        return Interval(**self.measured.share) if self.measured and self.measured.share else None

    @property
    def is_alarm(self) -> bool:
        """Whether the alarm has rung and nobody has decided about a training since."""
        rang = self.newest is not None and self.newest.level == LookCount.Level.alarm
        return rang and (self.proposal is None or not self.proposal.is_alarm or self.waiting is not None)

    @property
    def waiting(self) -> TrainingProposal | None:
        """The proposal that waits for a decision."""
        return self.proposal if self.proposal and self.proposal.state == TrainingProposal.State.open else None

    @property
    def approved_at(self) -> datetime | None:
        """When training what serves again was approved; None where the newest proposal was not."""
        is_approved = self.proposal and self.proposal.state == TrainingProposal.State.approved
        return self.proposal.decided_at if self.proposal and is_approved else None

    @property
    def late(self) -> OpenLook | None:
        return next((one for one in self.looks if one.is_late and one.n_waiting), None)

    @property
    def labelled_for_the_alarm(self) -> OpenLook | None:
        """The extra look that an alarm asked for, while its labels are awaited."""
        return next((one for one in self.looks if one.look.because_id and one.n_waiting), None)

    @property
    def n_waiting(self) -> int:
        return sum(one.n_waiting for one in self.looks)


def duties_of(project: Project, *, now: datetime | None = None) -> Duties | None:
    """What waits; None while nothing serves."""
    champion = Deployment.objects.filter(project=project, slot=Deployment.Slot.champion).select_related(
        "adapter__run__snapshot", "run").first()
    if champion is None:
        return None
    plan = WatchPlan.objects.filter(project=project).order_by("-pk")
    counts = LookCount.objects.filter(
        look__deployment=champion, look__kind=Look.Kind.regular,
        look__plan__began_at=Subquery(plan.values("began_at")[:1])).select_related("look").order_by("-look__number")
    proposal = TrainingProposal.objects.filter(project=project, deployment=champion).first()
    is_approved = proposal is not None and proposal.state == TrainingProposal.State.approved
    return Duties(champion, _open_looks(project, today_in_utc(now)), counts.first(),
                  counts.filter(share__isnull=False).first(), proposal,
                  _to_ship(project, champion), gold_query(proposal) if proposal and is_approved else "")


def _open_looks(project: Project, today: date) -> list[OpenLook]:
    """Oldest first."""
    looks = list(Look.objects.filter(project=project, count=None).select_related("project").order_by("number"))
    if not looks:
        return []
    is_asked = Exists(asked_for().filter(example=OuterRef("example")))
    n_of = {look: (n, n_waiting) for look, n, n_waiting in LookRow.objects.filter(look__in=looks).annotate(
        is_asked=is_asked).order_by().values("look").annotate(
        n=Count("pk"), n_waiting=Count("pk", filter=Q(is_asked=True))).values_list("look", "n", "n_waiting")}
    return [OpenLook(look, *n_of.get(look.pk, (0, 0)), today >= look.due_on) for look in looks]


def _to_ship(project: Project, champion: Deployment) -> Experiment | None:
    """The newest A/B test if its challenger won against what still serves and nobody has shipped it."""
    newest = Experiment.objects.filter(project=project).select_related("end", "challenger").first()
    end = getattr(newest, "end", None)
    if newest is None or newest.champion_id != champion.pk or end is None or not end.ships:
        return None
    present = champion_of(project)
    return newest if present is None or present.run.pk != newest.challenger.run_id else None


@dataclass(frozen=True)
class Wanted:
    """How many examples on somebody's desk are wanted by a day. Not why: whoever labels must not work otherwise."""

    n: int
    due_on: date


def wanted_soon(annotator: Annotator, *, now: datetime | None = None) -> Wanted | None:
    """What of somebody's desk a look waits for, by the first one's day; None if nothing."""
    now = now or timezone.now()
    waiting = Look.objects.filter(project=annotator.project_id, count=None, batch__isnull=False)
    found = Assignment.objects.open().filter(
        annotator=annotator, expires_at__gt=now, item__batch__in=waiting.values("batch")).aggregate(
        n=Count("pk"), until=Min(Subquery(waiting.filter(batch=OuterRef("item__batch")).values("until")[:1])))
    return Wanted(found["n"], found["until"] + timedelta(days=DUE_DAYS)) if found["n"] else None
