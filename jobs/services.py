"""Durable background work.

1. `enqueue` inserts the row in the caller's transaction; the wake-up leaves when that commits.
2. `run` claims the row by compare and set, keeps a lease alive, calls the kind's function, ends the row.
3. `completing` puts a job's effect and its success into one transaction, guarded by the fence.
4. `reap` gives the jobs of dead workers back to the queue and ends those that keep dying.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, close_old_connections, connection, transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from jobs.child import ChildFailed, ChildRefused
from jobs.models import Job, JobEvent
from jobs.progress import Cancelled, LeaseLost, Progress
from projects.errors import UserError
from projects.models import Project
from projects.services import notify

log = logging.getLogger(__name__)

WRITE_SECONDS = 1.0  # progress is written at most this often


class Told(UserError):
    """The work has ended without success, and whoever has to know has got a notice of its own."""


def enqueue(kind: str, project: Project, *, title: str, requested_by: User | None, params: dict[str, Any] | None = None,
            exclusive: str = "", dedupe_key: str | None = None, delay_seconds: float = 0, wake: bool = True) -> Job:
    """Queue a job in the caller's transaction; a worker is woken when that commits.

    kind: a key of settings.JOB_KINDS. exclusive: at most one job of that name runs at a time.
    dedupe_key: with a key that is there already, that job is returned; one that failed or was cancelled runs again.
    delay_seconds: not to be started earlier; the tick finds it then.
    wake: False where the caller runs the job itself.
    """
    if kind not in settings.JOB_KINDS:
        raise ValueError(f"unknown kind of job {kind!r}, known are {', '.join(settings.JOB_KINDS)}")
    fields = {"project": project, "kind": kind, "title": title[:120], "params": params or {}, "exclusive": exclusive,
              "requested_by": requested_by, "run_after": timezone.now() + timedelta(seconds=delay_seconds)}
    if dedupe_key is None:
        job = Job.objects.create(**fields)
    else:
        job, created = Job.objects.get_or_create(dedupe_key=dedupe_key, defaults=fields)
        if job.state in (Job.State.failed, Job.State.cancelled):
            return retry(job, wake=wake)
        wake = wake and created
    if wake and not delay_seconds:
        transaction.on_commit(lambda: send_wake(job.pk))
    return job


def send_wake(job_id: int) -> None:
    """Tell some worker that this job waits. A broker that is down costs a delay, not the job: the tick finds it."""
    try:
        current_app.send_task("jobs.tasks.wake", [job_id])
    except Exception as error:  # every broker has its own errors
        log.warning("no wake-up for job %s (%s); the tick will find it once the broker is back", job_id, error)


def run(job_id: int, *, heartbeat: bool = True) -> None:
    """Claim the job and run it to its end; do nothing if it is not waiting or its exclusive name is taken.

    heartbeat: False keeps the lease by progress alone, for callers that hold the database connection.
    """
    job = claim(job_id)
    if job is None:
        return
    try:
        with _heartbeat(job, enabled=heartbeat):
            work: Callable[[Job, Progress], None] = import_string(settings.JOB_KINDS[job.kind])
            work(job, progress_of(job))
        if not Job.objects.filter(pk=job.pk, fence=job.fence, state=Job.State.succeeded).exists():
            with completing(job):
                pass
    except LeaseLost:
        log.warning("job %s: the lease is lost, this attempt (fence %s) stops", job.pk, job.fence)
    except Cancelled:
        _end(job, Job.State.cancelled, "")
    except Told as error:
        _end(job, Job.State.failed, str(error), tell=False)
    except (UserError, ChildRefused) as error:
        _end(job, Job.State.failed, str(error))
    except ChildFailed as error:
        log.exception("job %s: its subprocess died", job.pk)
        _end(job, Job.State.failed, f"The work stopped by itself (job {job.pk}). The end of its log:\n{error}")
    except Exception:
        log.exception("job %s failed", job.pk)
        _end(job, Job.State.failed, f"This is a fault of Goldpan's, not yours. The log has it under job {job.pk}.")


def claim(job_id: int) -> Job | None:
    """Take a waiting job for this process, or return None if somebody or something was first."""
    job = Job.objects.filter(pk=job_id, state=Job.State.queued, run_after__lte=timezone.now()).first()
    if job is None:
        return None
    try:
        with transaction.atomic():
            changed = Job.objects.filter(pk=job.pk, state=Job.State.queued, fence=job.fence).update(
                state=Job.State.running, fence=job.fence + 1, attempt=job.attempt + 1, owner=_owner(),
                started_at=job.started_at or timezone.now(), stage="Starting", done=0, total=0,
                stage_started_at=timezone.now(), **_lease())
            if changed != 1:
                return None
            job.refresh_from_db()
            _note(job, f"attempt {job.attempt} on {job.owner}")
    except IntegrityError:  # another job of the same exclusive name is running
        return None
    return job


@contextmanager
def completing(job: Job) -> Iterator[dict[str, Any]]:
    """One transaction for a job's effect and its success; yields the dict to put the job's result into.

    Raises LeaseLost or Cancelled, and takes the effect back, if the job is no longer this attempt's.
    """
    with transaction.atomic():
        # Compare and set comes first: it takes the row's lock, so no reaper can come between it and the effect.
        changed = Job.objects.filter(pk=job.pk, fence=job.fence, state=Job.State.running).update(
            state=Job.State.succeeded, finished_at=timezone.now(), lease_expires_at=None)
        if changed != 1:
            raise _why_not_ours(job)
        result: dict[str, Any] = {}
        yield result
        Job.objects.filter(pk=job.pk, fence=job.fence).update(result=result, stage="", error="")
        _note(job, "succeeded")


def progress_of(job: Job) -> Progress:
    """The progress that plain code calls: writes at most once a second, keeps the lease, tells of a cancel."""
    last_written, last_stage = 0.0, ""

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last_written, last_stage
        now = timezone.now()
        if stage == last_stage and now.timestamp() - last_written < WRITE_SECONDS:
            return
        changes: dict[str, Any] = {"stage": stage[:80], "done": min(done, total) if total else done, "total": total}
        if stage != last_stage:
            changes["stage_started_at"] = now
        changed = Job.objects.filter(pk=job.pk, fence=job.fence, state=Job.State.running).update(**changes, **_lease())
        if changed != 1:
            raise _why_not_ours(job)
        last_written, last_stage = now.timestamp(), stage

    return progress


def cancel(job: Job) -> Job:
    """Stop a job: a waiting one at once, a running one as soon as its worker looks (about a second).

    Raises UserError if it has ended already.
    """
    waiting = Job.objects.filter(pk=job.pk, state=Job.State.queued).update(
        state=Job.State.cancelled, finished_at=timezone.now())
    running = waiting or Job.objects.filter(pk=job.pk, state=Job.State.running).update(state=Job.State.cancelling)
    job.refresh_from_db()
    if not running and job.state != Job.State.cancelling:
        raise UserError(f"This job has ended already: {job.get_state_display()}.")
    return job


def retry(job: Job, *, wake: bool = True) -> Job:
    """Queue a failed or cancelled job again, with its old parameters; training goes on from its last checkpoint."""
    changed = Job.objects.filter(pk=job.pk, state__in=[Job.State.failed, Job.State.cancelled]).update(
        state=Job.State.queued, finished_at=None, error="", attempt=0, run_after=timezone.now())
    job.refresh_from_db()
    if changed != 1:
        raise UserError(f"Only a failed or cancelled job can run again; this one is {job.get_state_display()}.")
    if wake:
        transaction.on_commit(lambda: send_wake(job.pk))
    return job


def reap() -> int:
    """Give the jobs whose lease has run out back to the queue, or end them; return how many there were."""
    n_reaped = 0
    for job in Job.objects.filter(state__in=Job.HELD, lease_expires_at__lt=Now()):
        silent = f"the worker {job.owner} has been silent for over {settings.GOLDPAN_LEASE_SECONDS} s"
        if job.state == Job.State.cancelling:
            changes: dict[str, Any] = {"state": Job.State.cancelled, "finished_at": timezone.now()}
        elif job.attempt >= job.max_attempts:
            changes = {"state": Job.State.failed, "finished_at": timezone.now(),
                       "error": f"It was started {job.attempt} times and its worker died each time. Look into the "
                                f"worker's log, mend the cause, then run the job again."}
        else:
            changes = {"state": Job.State.queued}
        with transaction.atomic():
            mine = Job.objects.filter(pk=job.pk, state=job.state, fence=job.fence, lease_expires_at__lt=Now()).update(
                lease_expires_at=None, **changes)
            if mine:
                _note(job, f"{silent}: {changes['state']}")
                n_reaped += 1
                if changes["state"] == Job.State.failed:
                    _tell_of_failure(job, changes["error"])
    return n_reaped


def due() -> list[int]:
    """The ids of waiting jobs that could start now, oldest first, no more than there are free workers."""
    held = Job.objects.filter(state__in=Job.HELD)
    taken = set(held.exclude(exclusive="").values_list("exclusive", flat=True))
    free = settings.GOLDPAN_WORKERS - held.count()
    waiting = Job.objects.filter(state=Job.State.queued, run_after__lte=timezone.now()).order_by("pk")
    ready = [pk for pk, exclusive in waiting.values_list("pk", "exclusive")[:100] if exclusive not in taken]
    return ready[:max(0, free)]


def work_folder(job: Job) -> Path:
    """This attempt's own folder, so that a zombie of an earlier attempt cannot write into it."""
    folder = settings.GOLDPAN_JOBS / str(job.pk) / str(job.fence)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(folder)


def earlier_folders(job: Job) -> list[Path]:
    """The folders of earlier attempts that are there still, newest first."""
    folders = [settings.GOLDPAN_JOBS / str(job.pk) / str(fence) for fence in range(job.fence - 1, 0, -1)]
    return [folder for folder in folders if folder.is_dir()]


def _end(job: Job, state: Job.State, error: str, *, tell: bool = True) -> None:
    with transaction.atomic():
        changed = Job.objects.filter(pk=job.pk, fence=job.fence, state__in=Job.HELD).update(
            state=state, error=error, finished_at=timezone.now(), lease_expires_at=None)
        if changed:
            _note(job, state.label)
        if changed and tell and state == Job.State.failed:
            _tell_of_failure(job, error)


def _tell_of_failure(job: Job, error: str) -> None:
    """Whoever asked for the job, and the admins; of what Goldpan starts by itself only the first failure in a row."""
    if job.requested_by is None:
        before = Job.objects.filter(project=job.project, kind=job.kind, requested_by=None, pk__lt=job.pk).first()
        if before is not None and before.state == Job.State.failed:
            return
    notify(job.project, "job.failed", title=f"Failed: {job.title}", text=error.partition("\n")[0],
           link=reverse("jobs:job", args=[job.pk]), people=[job.requested_by], data={"job": job.pk, "kind": job.kind})


def _why_not_ours(job: Job) -> Exception:
    state = Job.objects.filter(pk=job.pk, fence=job.fence).values_list("state", flat=True).first()
    return Cancelled() if state == Job.State.cancelling else LeaseLost()


def _lease() -> dict[str, Any]:
    return {"heartbeat_at": Now(), "lease_expires_at": Now() + timedelta(seconds=settings.GOLDPAN_LEASE_SECONDS)}


def _note(job: Job, what: str) -> None:
    JobEvent.objects.create(job=job, fence=job.fence, what=what)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[:80]


@contextmanager
def _heartbeat(job: Job, *, enabled: bool) -> Iterator[None]:
    """Keep the lease alive from a thread, for work that is silent for long."""
    if not enabled:
        yield
        return
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(settings.GOLDPAN_LEASE_SECONDS / 4):
            try:
                Job.objects.filter(pk=job.pk, fence=job.fence, state__in=Job.HELD).update(**_lease())
            except DatabaseError:  # busy or away: the next beat tries again, the lease allows for three misses
                log.warning("job %s: a heartbeat was missed", job.pk)
                close_old_connections()
        connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{job.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
