"""Looking at jobs: what runs, what ended and how, and running a failed one again."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs import services
from jobs.models import Job, JobEvent


@pytest.fixture
def running(project, bob):
    return Job.objects.create(
        project=project, kind="score", title="Scoring 40 examples", state="running", stage="Embedding", done=10,
        total=40, fence=1, attempt=1, requested_by=bob, started_at=timezone.now(),
        stage_started_at=timezone.now() - timedelta(seconds=30))


@pytest.fixture
def failed(project, bob):
    job = Job.objects.create(
        project=project, kind="pull", title="Pulling from Label Studio", state="failed", attempt=1, requested_by=bob,
        error="Label Studio cannot be reached.", started_at=timezone.now() - timedelta(seconds=75),
        finished_at=timezone.now())
    JobEvent.objects.create(job=job, fence=1, what="attempt 1 on a-machine:7")
    return job


def job_list(client, project):
    return client.get(reverse("jobs:job-list", args=[project.pk]))


def test_the_list_tells_what_runs_and_how_the_others_ended(project, bob, running, failed, client_of):
    html = job_list(client_of(bob), project).content.decode()
    assert "25 %" in html and "Embedding, 10 of 40" in html
    assert "Label Studio cannot be reached." in html and "1\u202fmin 15\u202fs" in html
    assert reverse("jobs:job-retry", args=[failed.pk]) in html


def test_an_empty_list_says_what_will_be_there(project, bob, client_of):
    assert "No jobs yet" in job_list(client_of(bob), project).content.decode()


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_see_jobs(project, failed, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert job_list(client, project).status_code == status
    for name in ("jobs:job", "jobs:job-progress"):
        assert client.get(reverse(name, args=[failed.pk])).status_code == status


def test_the_page_of_a_failed_job_tells_why_and_what_happened(bob, failed, client_of):
    html = client_of(bob).get(reverse("jobs:job", args=[failed.pk])).content.decode()
    assert "Label Studio cannot be reached." in html and "attempt 1 on a-machine:7" in html and "Run again" in html


def test_a_result_is_told_in_words(project, bob, client_of):
    job = Job.objects.create(project=project, kind="score", title="Scoring", state="succeeded",
                             finished_at=timezone.now(), result={"n_scored": 497})
    html = client_of(bob).get(reverse("jobs:job", args=[job.pk])).content.decode()
    assert "<dt>Scored</dt><dd class=\"num\">497</dd>" in html


def test_progress_polls_until_the_job_ends(bob, running, failed, client_of):
    client = client_of(bob)
    assert b"every 2s" in client.get(reverse("jobs:job-progress", args=[running.pk])).content
    ended = client.get(reverse("jobs:job-progress", args=[failed.pk])).content
    assert b"hx-trigger" not in ended and b"data-finished" in ended


def test_a_failed_job_runs_again(bob, failed, client_of, django_capture_on_commit_callbacks):
    client_of(bob).post(reverse("jobs:job-retry", args=[failed.pk]))
    failed.refresh_from_db()
    assert (failed.state, failed.error) == ("queued", "")


def test_a_running_job_cannot_run_again(bob, running, client_of):
    page = reverse("jobs:job", args=[running.pk])
    answer = client_of(bob).post(reverse("jobs:job-retry", args=[running.pk]), follow=True,
                                 headers={"Referer": f"http://testserver{page}"})
    assert "Only a failed or cancelled job can run again" in answer.content.decode()


def test_the_list_takes_as_many_queries_for_fifty_jobs_as_for_one(
        project, bob, failed, client_of, django_assert_max_num_queries):
    for _ in range(50):
        services.cancel(services.enqueue("score", project, title="More", requested_by=bob))
    client = client_of(bob)
    with django_assert_max_num_queries(12):
        job_list(client, project)
