import pytest
from django.urls import reverse

from jobs.models import Job
from projects.models import AuditEvent
from tests.training.story import frozen_snapshot
from training.models import Evaluation, Run, TestLook, Verdict
from training.services.baseline import start_baseline


def start(client, snapshot, **more):
    return client.post(reverse("training:baseline", args=[snapshot.pk]), **more)


def said(response):
    return [str(message) for message in response.context["messages"]]


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_try_the_prompt(snapshot, request, client_of, who, status):
    user = request.getfixturevalue(who)
    response = start(client_of(user), snapshot)
    assert response.status_code == status
    assert [job.requested_by for job in Job.objects.filter(kind="baseline")] == ([user] if status == 302 else [])
    if status == 302:
        assert response.headers["Location"] == reverse("training:comparison", args=[snapshot.pk])


def test_an_unapproved_snapshot_is_refused_in_words(project, bob, client_of, model):
    snapshot = frozen_snapshot(project, maker=bob)
    back = f"http://testserver{reverse('training:comparison', args=[snapshot.pk])}"
    response = start(client_of(bob), snapshot, headers={"Referer": back}, follow=True)
    assert said(response) == ["Snapshot 1 is not approved. An admin who did not make it has to approve it first."]
    assert not Job.objects.filter(kind="baseline").exists()


def test_two_clicks_are_one_job(snapshot, alice, bob, client_of):
    start(client_of(bob), snapshot)
    start(client_of(alice), snapshot)
    assert Job.objects.filter(kind="baseline").count() == 1


def test_it_ends_with_a_verdict_and_one_look_per_rival(snapshot, bob, client_of, run_jobs):
    start(client_of(bob), snapshot)
    run_jobs()
    verdict = Verdict.objects.get()
    assert (verdict.snapshot, verdict.outcome, verdict.target_value) == (snapshot, "FINE_TUNE", 0.8)
    test = Evaluation.objects.get(run=verdict.best_prompt, split="test")
    assert (test.n, test.n_right) == (60, 30)
    looked = {look.run for look in TestLook.objects.select_related("run")}
    assert looked == {verdict.best_prompt, Run.objects.get(kind="probe")}
    assert AuditEvent.objects.filter(what="baseline", who="bob").exists()


def test_the_losing_prompt_never_sees_the_test_rows(judged, model):
    losers = Run.objects.filter(kind__in=Run.PROMPTS).exclude(pk=judged.verdict.best_prompt_id)
    assert [[one.split for one in loser.evaluations.all()] for loser in losers] == [["dev"], ["dev"]]
    assert len([module for module, _ in model.asked if module == "training.label_scoring"]) == 4, "thrice on dev"


def test_a_verdict_is_not_asked_for_twice(judged, bob, client_of):
    response = start(client_of(bob), judged)
    assert response.status_code == 400 and "has its verdict already" in response.content.decode()


def test_a_second_job_that_slipped_through_looks_at_nothing(snapshot, bob, run_jobs):
    first = start_baseline(snapshot, by=bob)
    second = Job.objects.create(project=snapshot.project, kind="baseline", title="Again", params=first.params)
    run_jobs()
    second.refresh_from_db()
    assert second.state == "failed" and "has its verdict already" in second.error
    assert TestLook.objects.count() == 2


def test_fitting_the_probe_is_told_apart_from_its_answers(judged):
    evaluation = Evaluation.objects.get(run__kind="probe", split="test")
    assert evaluation.metrics["fit_seconds"] > 0 and evaluation.seconds > 0
