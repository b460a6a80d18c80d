"""One round with Label Studio, idempotent in both directions: running it twice changes nothing.

1. Fetch the answers of the desks where something may have changed; where people differ, ask for one more.
2. Look at the honeypots and the exam of whose answers came.
3. Bring a changed guideline to the desks.
4. Take back what nobody answered in time, give out what is wanted, put it on the desks.
Webhooks only say that a round is worth while; the tick makes one where none has been for long.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.label_studio import AuthFailed, LabelStudioError, NotFound
from labeling.models import Assignment, Batch, Desk
from labeling.services.batches import tell_of_done_batches
from labeling.services.deliveries import deliver
from labeling.services.desks import clear_desk, has_current_page, with_current_page
from labeling.services.handing_out import HandedOut, free, hand_out, overdue
from labeling.services.overlap import widen_overlap
from labeling.services.pulling import Compared, Pulled, compare_desk, pull_desk, since_hint
from labeling.services.server import label_studio, note_trouble
from labeling.services.trust import look_at_known_answers
from projects.errors import UserError
from projects.models import Project

HINT_SECONDS = 5.0  # hints within so long ask for one round
NOT_IN_USE = "Nobody has been asked for labels here yet. Make a batch first."


def start_sync(project: Project, *, by: User | None, reconcile: bool = False, delay_seconds: float = 0,
               wake: bool = True) -> Job:
    """Queue a round with Label Studio.

    reconcile: read everything again and compare both sides, task by task.
    Raises UserError if the project has neither batches nor desks.
    """
    if not Batch.objects.filter(project=project).exists() and not Desk.objects.filter(project=project).exists():
        raise UserError(NOT_IN_USE)
    title = "Comparing with Label Studio" if reconcile else "Exchanging with Label Studio"
    # One writer at a time per server: Label Studio's SQLite takes no more.
    return enqueue("sync", project, title=title, requested_by=by, params={"reconcile": reconcile},
                   exclusive="label-studio", delay_seconds=delay_seconds, wake=wake)


def sync_soon(desk: Desk) -> None:
    """Queue a round for what a webhook hinted at; all hints until it starts are served by this one."""
    Desk.objects.filter(pk=desk.pk).update(hinted_at=timezone.now())
    if not Job.objects.filter(project=desk.project, kind="sync", state=Job.State.queued).exists():
        start_sync(desk.project, by=None, delay_seconds=HINT_SECONDS)


def poll() -> None:
    """Called by the tick: make a round where none has been for long, since a webhook is sent once and may get lost.

    Automatic rounds that found nothing are forgotten after an hour, so they do not bury the jobs of people.
    """
    stale = timezone.now() - timedelta(seconds=settings.GOLDPAN_POLL_SECONDS)
    in_use = Project.objects.filter(Q(desks__isnull=False) | Q(batches__state=Batch.State.open, batches__vendor=""))
    for project in in_use.distinct():
        rounds = Job.objects.filter(project=project, kind="sync")
        if not rounds.filter(Q(created_at__gt=stale) | Q(state__in=Job.ACTIVE)).exists():  # a long one is enough
            start_sync(project, by=None)
    old = Job.objects.filter(kind="sync", requested_by=None, finished_at__lt=timezone.now() - timedelta(hours=1))
    old.filter(result__n_new=0, result__n_changed=0, result__n_retracted=0, result__n_handed_out=0).delete()
    old.filter(state=Job.State.failed).delete()  # the desks themselves say what is wrong


def run_sync(job: Job, progress: Progress) -> None:
    try:
        result = _with_a_token_that_works(job, progress)
    except LabelStudioError as error:
        raise UserError(str(error)) from error
    with completing(job) as told:
        tell_of_done_batches(job.project)
        told |= result


def _with_a_token_that_works(job: Job, progress: Progress) -> dict[str, Any]:
    try:
        return _exchange(job, progress)
    except AuthFailed:  # somebody revoked the token; it is forgotten now, and the password makes another
        return _exchange(job, progress)


def _exchange(job: Job, progress: Progress) -> dict[str, Any]:
    project, reconcile = job.project, job.params["reconcile"]
    with _noted(project):
        client = label_studio()
        desks = _desks(project, everything=reconcile or job.requested_by is not None)
        pulled = _pull(client, desks, progress, everything=reconcile)
        compared = _compare(client, project, progress) if reconcile else []
        if reconcile:
            widen_overlap(project)
        look_at_known_answers(project, [desk.annotator_id for desk in desks])
        _turn_pages(client, project, progress)
        n_freed = _take_back(client, project)
        given = hand_out(project)
        deliver(client, project, progress)
    return _result(pulled, compared, n_freed, given)


def _result(pulled: Pulled, compared: list[Compared], n_freed: int, given: HandedOut) -> dict[str, Any]:
    found = {**vars(pulled), "n_freed": n_freed, "n_starved": given.n_starved,
             "n_handed_out": given.n_examples + given.n_honeypots + given.n_exam}
    if compared:
        found |= {"n_here": sum(desk.n_here for desk in compared), "n_there": sum(desk.n_there for desk in compared),
                  "n_missing_there": sum(desk.n_missing_there for desk in compared),
                  "n_strange": sum(desk.n_strange for desk in compared),
                  "are_equal": all(desk.are_equal for desk in compared)}
    return found


def _desks(project: Project, *, everything: bool) -> list[Desk]:
    """The desks to ask: all of them, or those that hinted or have been silent for long."""
    stale = timezone.now() - timedelta(seconds=settings.GOLDPAN_POLL_SECONDS)
    desks = Desk.objects.filter(project=project).select_related("annotator", "project")
    return [desk for desk in desks if everything or since_hint(desk) or (desk.pulled_at and desk.pulled_at < stale)]


def _pull(client: Any, desks: Iterable[Desk], progress: Progress, *, everything: bool) -> Pulled:
    pulled = Pulled()
    for desk in desks:
        try:
            pulled.add(pull_desk(client, desk, progress, everything=everything))
        except NotFound as error:  # somebody deleted it there: it is made anew, the others go on
            note_trouble(error, desk)
            clear_desk(desk.annotator)
    return pulled


def _compare(client: Any, project: Project, progress: Progress) -> list[Compared]:
    found: list[Compared] = []
    for desk in Desk.objects.filter(project=project).exclude(state=Desk.State.gone).select_related("annotator"):
        progress("Comparing desks", len(found), 0)
        found.append(compare_desk(client, desk))
    return found


def _turn_pages(client: Any, project: Project, progress: Progress) -> None:
    """Bring labels and guideline as they are now to every desk; what was answered before is of the old version."""
    desks = Desk.objects.filter(project=project).exclude(state=Desk.State.gone).select_related("annotator", "project")
    for desk in desks:
        if not has_current_page(desk):
            pull_desk(client, desk, progress)
            with_current_page(client, desk)


def _take_back(client: Any, project: Project) -> int:
    """Remove what is overdue from its desk, then free its example; the door has refused answers since its time."""
    rows = list(overdue(project, timezone.now()).select_related("annotator__desk"))
    on_desks: dict[int, tuple[Desk, list[Assignment]]] = {}
    for row in rows:
        if row.ls_task_id is not None:
            on_desks.setdefault(row.annotator_id, (row.annotator.desk, []))[1].append(row)
    for desk, lying in on_desks.values():
        pull_desk(client, desk, lambda stage, done, total: None)  # an answer that came at the last moment stays
        still = [row for row in lying if Assignment.objects.open().filter(pk=row.pk).exists()]
        client.delete_tasks(desk.ls_project_id, [row.ls_task_id for row in still])
    return free(rows)


@contextmanager
def _noted(project: Project) -> Iterator[None]:
    """Write on the desks how talking to the server went."""
    try:
        yield
    except LabelStudioError as error:
        note_trouble(error, *Desk.objects.filter(project=project).exclude(state=Desk.State.gone))
        raise
