"""Durable jobs: what two workers, a dead worker, a zombie and a cancel can do to one row."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs import services
from jobs.models import Job
from jobs.progress import Cancelled, LeaseLost, Progress
from projects.errors import UserError
from projects.models import AuditEvent, Project
from projects.services import audit

WORK: list[Any] = []  # what the test's kind of job does, called in turn


def do_the_work(job: Job, progress: Progress) -> None:
    WORK.pop(0)(job, progress)


@pytest.fixture(autouse=True)
def _kind(settings: Any) -> None:
    WORK.clear()
    settings.JOB_KINDS = {"test": "tests.jobs.test_jobs.do_the_work"}


@pytest.fixture
def queued(project: Project, alice: User) -> Job:
    return services.enqueue("test", project, title="A test", requested_by=alice, exclusive="one")


def effect(job: Job, progress: Progress) -> None:
    with services.completing(job) as result:
        audit(job.project, None, "effect", {"job": job.pk})
        result["answer"] = 42


def n_effects() -> int:
    return AuditEvent.objects.filter(what="effect").count()


def run(job: Job) -> Job:
    services.run(job.pk, heartbeat=False)
    job.refresh_from_db()
    return job


def test_a_job_runs_once_however_often_it_is_woken(queued: Job) -> None:
    WORK.append(effect)
    run(queued)
    run(queued)
    assert (queued.state, queued.result, n_effects()) == (Job.State.succeeded, {"answer": 42}, 1)


def test_of_two_workers_one_claims(queued: Job) -> None:
    first, second = services.claim(queued.pk), services.claim(queued.pk)
    assert first is not None and second is None


def test_an_exclusive_name_runs_one_job_at_a_time(queued: Job, project: Project) -> None:
    other = services.enqueue("test", project, title="Another", requested_by=None, exclusive="one")
    assert services.claim(queued.pk) is not None
    assert services.claim(other.pk) is None
    other.refresh_from_db()
    assert other.state == Job.State.queued
    assert services.due() == []


def test_the_wake_up_leaves_when_the_transaction_commits(
        queued: Job, project: Project, monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks: Any) -> None:
    woken: list[int] = []
    monkeypatch.setattr(services, "send_wake", woken.append)
    with django_capture_on_commit_callbacks(execute=True):
        job = services.enqueue("test", project, title="New", requested_by=None)
        assert woken == []
    assert woken == [job.pk]


def test_a_dead_workers_job_goes_back_to_the_queue_and_then_ends(queued: Job) -> None:
    for _ in range(queued.max_attempts):
        assert services.claim(queued.pk) is not None
        expire(queued)
        assert services.reap() == 1
        queued.refresh_from_db()
    assert queued.state == Job.State.failed
    assert "5 times" in queued.error


def test_a_living_workers_job_is_left_alone(queued: Job) -> None:
    services.claim(queued.pk)
    assert services.reap() == 0


def test_a_zombies_effect_is_refused_and_taken_back(queued: Job) -> None:
    def overtaken(job: Job, progress: Progress) -> None:
        expire(job)
        services.reap()
        WORK.append(effect)
        services.run(job.pk, heartbeat=False)  # another worker has it meanwhile
        effect(job, progress)

    WORK.append(overtaken)
    run(queued)
    assert (queued.state, queued.fence, n_effects()) == (Job.State.succeeded, 2, 1)


def test_a_zombies_progress_is_refused(queued: Job) -> None:
    zombie = services.claim(queued.pk)
    expire(queued)
    services.reap()
    services.claim(queued.pk)
    assert zombie is not None
    with pytest.raises(LeaseLost):
        services.progress_of(zombie)("Still here", 1, 2)


def test_a_waiting_job_is_cancelled_at_once(queued: Job) -> None:
    assert services.cancel(queued).state == Job.State.cancelled
    assert services.claim(queued.pk) is None


def test_a_running_job_learns_of_its_cancel_and_has_no_effect(queued: Job) -> None:
    def cancelled(job: Job, progress: Progress) -> None:
        services.cancel(Job.objects.get(pk=job.pk))
        with pytest.raises(Cancelled):
            progress("Working", 1, 2)
        effect(job, progress)

    WORK.append(cancelled)
    run(queued)
    assert (queued.state, n_effects()) == (Job.State.cancelled, 0)


def test_a_job_that_ended_cannot_be_cancelled(queued: Job) -> None:
    WORK.append(effect)
    run(queued)
    with pytest.raises(UserError, match="ended already"):
        services.cancel(queued)


def test_a_user_error_is_shown_and_a_bug_is_not(queued: Job, project: Project) -> None:
    def refused(job: Job, progress: Progress) -> None:
        raise UserError("Label 5 more.")

    def broken(job: Job, progress: Progress) -> None:
        raise ZeroDivisionError("secret detail")

    WORK.extend([refused, broken])
    assert run(queued).error == "Label 5 more."
    other = run(services.enqueue("test", project, title="Another", requested_by=None))
    assert other.state == Job.State.failed
    assert "secret" not in other.error and str(other.pk) in other.error


def test_a_failed_job_can_run_again(queued: Job) -> None:
    WORK.extend([lambda job, progress: 1 / 0, effect])
    run(queued)
    services.retry(queued)
    assert run(queued).state == Job.State.succeeded
    with pytest.raises(UserError, match="Only a failed"):
        services.retry(queued)


def test_a_dedupe_key_queues_once(project: Project) -> None:
    first = services.enqueue("test", project, title="Slot", requested_by=None, dedupe_key="slot:1")
    second = services.enqueue("test", project, title="Slot", requested_by=None, dedupe_key="slot:1")
    assert first.pk == second.pk


def test_progress_is_written_at_most_once_a_second_within_a_stage(queued: Job, django_assert_num_queries: Any) -> None:
    job = services.claim(queued.pk)
    assert job is not None
    progress = services.progress_of(job)
    with django_assert_num_queries(1):
        for done in range(100):
            progress("Counting", done, 100)
    with django_assert_num_queries(1):
        progress("Another stage", 0, 1)


def test_due_gives_no_more_jobs_than_there_are_free_workers(project: Project, settings: Any) -> None:
    settings.GOLDPAN_WORKERS = 2
    for n in range(3):
        services.enqueue("test", project, title=str(n), requested_by=None)
    waiting = services.due()
    assert len(waiting) == 2
    services.claim(waiting[0])
    assert len(services.due()) == 1


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
