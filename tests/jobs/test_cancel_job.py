"""Cancelling: a waiting job at once, a running one as soon as its worker looks, an ended one not at all."""

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs import services
from jobs.models import Job


@pytest.fixture
def waiting(project, bob):
    return services.enqueue("score", project, title="Scoring 40 examples", requested_by=bob)


def cancel(client, job, **headers):
    return client.post(reverse("jobs:job-cancel", args=[job.pk]), headers=headers)


@pytest.mark.parametrize(("who", "status", "state"), [
    ("alice", 302, "cancelled"), ("bob", 302, "cancelled"), ("charlie", 403, "queued"), ("dora", 404, "queued")])
def test_curators_and_admins_cancel(waiting, request, client_of, who, status, state):
    assert cancel(client_of(request.getfixturevalue(who)), waiting).status_code == status
    waiting.refresh_from_db()
    assert waiting.state == state


def test_a_running_job_stops_when_its_worker_looks(waiting, bob, client_of):
    job = services.claim(waiting.pk)
    cancel(client_of(bob), job)
    job.refresh_from_db()
    assert job.state == Job.State.cancelling
    with pytest.raises(services.Cancelled):
        services.progress_of(job)("Embedding", 1, 2)


def test_in_place_the_progress_line_comes_back_without_polling(waiting, bob, client_of):
    answer = cancel(client_of(bob), waiting, **{"HX-Request": "true"}).content
    assert f'id="job-{waiting.pk}"'.encode() in answer and b"cancelled" in answer and b"hx-trigger" not in answer


def test_an_ended_job_cannot_be_cancelled(project, bob, client_of):
    job = Job.objects.create(project=project, kind="score", title="Done", state="succeeded", finished_at=timezone.now())
    answer = cancel(client_of(bob), job, **{"HX-Request": "true"})
    assert "This job has ended already" in answer.content.decode()
    assert answer["HX-Retarget"] == "#messages"


def test_it_takes_a_post(waiting, bob, client_of):
    assert client_of(bob).get(reverse("jobs:job-cancel", args=[waiting.pk])).status_code == 405
