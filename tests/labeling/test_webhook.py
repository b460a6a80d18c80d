"""Label Studio's webhooks: a hint that a round is worth while, from nobody but Label Studio."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job
from jobs.services import claim
from labeling.models import Annotator, Desk

SECRET = "a secret that only Label Studio was told"


@pytest.fixture
def desk(project):
    return Desk.objects.create(project=project, annotator=Annotator.objects.create(project=project, name="charlie"),
                               url="http://label-studio.test", ls_project_id=3, config_sha256="0" * 64,
                               instructions_version=1, webhook_secret=SECRET)


def send(pk, secret=SECRET, body='{"action": "ANNOTATION_CREATED"}', **headers):
    client = Client(enforce_csrf_checks=True)  # a server sends no page's token
    return client.post(reverse("labeling:webhook", args=[pk]), body, content_type="application/json",
                       headers={"Authorization": f"Bearer {secret}", **headers})


def test_the_right_secret_queues_a_round(desk):
    assert send(desk.pk).status_code == 202
    job = Job.objects.get()
    assert (job.kind, job.params, job.requested_by) == ("sync", {"reconcile": False}, None)
    desk.refresh_from_db()
    assert desk.hinted_at is not None


def test_a_burst_queues_one_round_and_a_hint_during_it_the_next(desk):
    for _ in range(20):
        send(desk.pk)
    assert Job.objects.count() == 1
    Job.objects.update(run_after=timezone.now())
    assert claim(Job.objects.get().pk) is not None
    send(desk.pk)
    assert Job.objects.count() == 2


@pytest.mark.parametrize("secret", ["", "wrong", SECRET[:-1], SECRET.upper(), f"{SECRET} "])
def test_another_secret_does_nothing(desk, secret):
    assert send(desk.pk, secret).status_code == 401 and not Job.objects.exists()


def test_an_unknown_desk_answers_as_a_wrong_secret_does(desk):
    wrong, unknown, empty = send(desk.pk, "wrong"), send(10**9, SECRET), send(10**9, "")
    assert unknown.status_code == empty.status_code == 401
    assert unknown.content == empty.content == wrong.content
    assert not Job.objects.exists()


def test_a_body_over_a_megabyte_is_refused(desk):
    assert send(desk.pk, body="x" * 1_000_001).status_code == 413 and not Job.objects.exists()


def test_what_the_body_says_is_not_read(desk):
    assert send(desk.pk, body="no JSON at all").status_code == 202


def test_it_takes_a_post(desk, client):
    assert client.get(reverse("labeling:webhook", args=[desk.pk])).status_code == 405
