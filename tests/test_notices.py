"""What is told, by whom: every event of the catalogue has a caller, and people hear of it once."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from jobs import services as jobs
from jobs.models import Job
from jobs.progress import Progress
from labeling.models import Batch
from labeling.services.batches import set_batch_state, tell_of_done_batches
from projects.events import EVENTS
from projects.models import Notice
from tests.labeling.conftest import floor, server  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
WORK: list[Callable[[Job, Progress], None]] = []


def told(event):
    """Titles and people of all notices of an event, oldest first."""
    return [(notice.title, sorted(item.user.username for item in notice.items.select_related("user")))
            for notice in Notice.objects.filter(event=event).order_by("pk")]


def test_every_event_is_told_by_somebody():
    code = "\n".join(path.read_text() for app in ("projects", "jobs", "labeling", "curation", "training", "serving")
                     for path in (ROOT / app).rglob("*.py") if path.name != "events.py")
    said = set(re.findall(r"notify\(\s*[\w.]+,\s*\"([\w.]+)\"", code))
    assert 'f"snapshot.{decision}"' in code
    assert said | {"snapshot.approved", "snapshot.refused"} == set(EVENTS)


# Jobs

def fail(job, progress):
    WORK.pop(0)(job, progress)


def bug(job, progress):
    raise RuntimeError("the log has it")


@pytest.fixture
def kind(settings):
    WORK.clear()
    settings.JOB_KINDS = {"test": f"{__name__}.fail"}


def queue(project, by):
    return jobs.enqueue("test", project, title="Scoring 4 examples", requested_by=by, wake=False)


def test_a_failed_job_is_told_to_who_asked_and_to_the_admins(kind, project, bob, charlie):
    for by in (bob, charlie):
        WORK.append(bug)
        jobs.run(queue(project, by).pk, heartbeat=False)
    assert told("job.failed") == [("Failed: Scoring 4 examples", ["alice", "bob"]),
                                  ("Failed: Scoring 4 examples", ["alice", "charlie"])]


def test_a_job_that_was_told_of_otherwise_or_cancelled_is_not_told_again(kind, project, bob):
    def stop(job, progress):
        raise jobs.Told("Stopped at its cap.")

    WORK.append(stop)
    job = queue(project, bob)
    jobs.run(job.pk, heartbeat=False)
    jobs.cancel(queue(project, bob))
    job.refresh_from_db()
    assert job.state == Job.State.failed and job.error == "Stopped at its cap." and not Notice.objects.exists()


def test_of_what_goldpan_starts_by_itself_the_first_failure_in_a_row_is_told(kind, project):
    for work in (bug, bug, bug, lambda job, progress: None, bug):
        WORK.append(work)
        jobs.run(queue(project, None).pk, heartbeat=False)
    assert [people for _, people in told("job.failed")] == [["alice"]] * 2


def test_a_job_whose_workers_keep_dying_is_told(kind, project, bob):
    job = queue(project, bob)
    jobs.claim(job.pk)
    Job.objects.filter(pk=job.pk).update(attempt=5, lease_expires_at=timezone.now() - timedelta(minutes=1))
    jobs.reap()
    assert told("job.failed") == [("Failed: Scoring 4 examples", ["alice", "bob"])]


# Labelling

def test_a_batch_that_is_done_is_told_once_and_again_when_more_was_asked(floor):  # noqa: F811
    floor.hire("erin", "frank")
    floor.ask(floor.examples(2), n=1, at_most=2)
    floor.sync()
    first, second = floor.desk("erin") + floor.desk("charlie") + floor.desk("frank")
    floor.answer(first.annotator.name, first.example)
    floor.sync()
    assert told("batch.done") == []
    floor.answer(second.annotator.name, second.example)
    floor.sync()
    floor.sync()
    assert told("batch.done") == [("Batch 1: test is done", ["alice", "bob"])]
    item = Batch.objects.get().items.first()
    Batch.objects.get().items.filter(pk=item.pk).update(n_wanted=2)
    floor.sync()
    for assignment in floor.desk("erin") + floor.desk("charlie") + floor.desk("frank"):
        floor.answer(assignment.annotator.name, assignment.example)
    floor.sync()
    assert len(told("batch.done")) == 2


def test_a_batch_that_was_closed_or_is_empty_is_not_done(floor, bob):  # noqa: F811
    Batch.objects.create(project=floor.project, number=7, title="empty", created_by=bob)
    batch = floor.ask(floor.examples(1))
    set_batch_state(batch, "closed", by=bob)
    tell_of_done_batches(floor.project)
    assert told("batch.done") == []
