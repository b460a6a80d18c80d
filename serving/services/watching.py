"""Watching what serves, called by the tick: looks are drawn when their time has come, counted when their labels are in.

Nothing here does work itself: every look and every count is a job, and whatever is queued twice is done once.
"""

from datetime import date, datetime

from django.db.models import Exists, OuterRef
from django.utils import timezone

from curation.models import Decision
from jobs.models import Job
from labeling.models import Annotation
from projects.models import Project
from serving.models import Deployment, Look, LookRow, TrainingProposal
from serving.services.kept_traffic import today_in_utc
from serving.services.look_counts import start_count
from serving.services.look_labels import asked_for
from serving.services.looks import look_key, start_look, tell_of_late
from serving.services.proposals import propose_between_looks, start_due_forecast
from serving.services.watch_plans import Watched, begin_watch, watched_of
from serving.services.weighing import start_due_weighing


def poll(*, now: datetime | None = None) -> None:
    """Called by the tick."""
    now = now or timezone.now()
    today = today_in_utc(now)
    served = Project.objects.filter(Exists(Deployment.objects.filter(
        project=OuterRef("pk"), slot=Deployment.Slot.champion)))
    for project in served:
        watched = watched_of(project) or watched_of(project, begin_watch(project, now=now))
        if watched is not None:  # it is, unless what served went this moment
            draw_due(watched, today)
            propose_between_looks(watched, today=today)
            start_due_weighing(watched)
    _count_due(today)
    for proposal in TrainingProposal.objects.filter(state=TrainingProposal.State.open).select_related(
            "project", "deployment__run__created_by"):
        start_due_forecast(proposal)


def draw_due(watched: Watched, today: date) -> Job | None:
    """Queue the look at the newest period that has ended, unless it was taken; None if there is nothing to do.

    Periods before it that nobody looked at, because Goldpan was off, stay so: their words are mostly deleted.
    """
    period = watched.period(today) if watched.plan.is_on else None
    if period is None or Job.objects.filter(dedupe_key=look_key(watched.project, period[1])).exists():
        return None
    return start_look(watched, *period)


def _count_due(today: date) -> None:
    """Of every project the oldest look that is not counted, regular and extra: it counts before any later one."""
    first: dict[tuple[int, str], Look] = {}
    for look in Look.objects.filter(count=None).select_related("project").order_by("number"):
        first.setdefault((look.project_id, look.kind), look)
    for look in first.values():
        if today >= look.waits_until:
            start_count(look, is_last_call=True, occasion="last call")
            continue
        if today >= look.due_on:
            tell_of_late(look)
        if not _is_asked_for(look):
            start_count(look, is_last_call=False, occasion=_occasion(look.project))


def _is_asked_for(look: Look) -> bool:
    """Whether people still have examples of the look before them; cheap, since the tick asks every few seconds."""
    return asked_for().filter(example__in=LookRow.objects.filter(look=look).values("example")).exists()


def _occasion(project: Project) -> str:
    """While neither answers nor decisions come in, counting again would find the same."""
    decision = Decision.objects.filter(example__project=project).order_by("-pk").values_list("pk", flat=True).first()
    return f"{Annotation.objects.newest_of(project)}:{decision or 0}"
