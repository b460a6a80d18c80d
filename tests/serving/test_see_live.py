"""The page Live: what serves and why, what came in, what came back, how to call it."""

import pytest
from django.urls import reverse

from jobs.models import Job
from projects.models import AuditEvent
from serving.models import Replay, ServingRules
from tests.training.conftest import trained
from training.models import Adapter
from training.services.promotion import promote

pytestmark = pytest.mark.django_db


def page(client, project):
    response = client.get(reverse("serving:live", args=[project.pk]))
    assert response.status_code == 200
    return response.content.decode()


def test_a_project_without_a_baseline_says_what_is_missing(untried, alice, client_of):
    html = page(client_of(alice), untried)
    assert "Nothing serves yet." in html and "run the baseline" in html.lower() and html.count("btn-gold") == 1


def test_the_best_prompt_serves_until_an_adapter_is_promoted(adapter, alice, client_of, project):
    client = client_of(alice)
    html = page(client, project)
    assert "No adapter is the champion" in html and "Nobody has asked yet" in html
    promote(adapter, by=alice)
    html = page(client, project)
    assert f"{adapter} <span" in html and "alice promoted it with the proof that the gate asks for" in html
    assert "moods/champion" in html and "base_url=" in html and f"/v1/projects/{project.pk}/predict" in html


def test_a_promotion_against_the_gate_says_so(snapshot, alice, client_of, project, model, run_jobs):
    model.adapter_errs = lambda number: True
    promote(trained(snapshot, alice, run_jobs, seed=2), by=alice, override_reason="The boss wants it.")
    assert "against the gate: “The boss wants it.”" in page(client_of(alice), project)


def test_what_came_in_and_what_came_back(champion, backend, program, project, bob, client_of):
    exchanges = [program.predict(project).json()["exchange"] for _ in range(4)]
    program.predict(project, " ")
    program.say(exchanges[0], thumb="up")
    program.say(exchanges[1], thumb="down", correction="neutral")
    html = page(client_of(bob), project)
    assert "4 requests answered in 30 days, 1 not." in html and "data-chart" in html
    assert "n = 4, the newest answers." in html and "Thumbs up" in html and "1 up, 1 down" in html
    assert "4 of the answers have no cost" in html


def test_the_page_needs_few_queries_however_much_came_in(champion, backend, program, project, bob, client_of,
                                                        django_assert_max_num_queries):
    client = client_of(bob)
    for _ in range(5):
        program.say(program.predict(project).json()["exchange"], thumb="up")
    with django_assert_max_num_queries(27):
        page(client, project)


def test_an_admin_changes_limits_and_what_is_kept(champion, alice, bob, client_of, project):
    url = reverse("serving:live-rules", args=[project.pk])
    values = {"sample_share": "0.25", "retention_days": "7", "key_limit": "10", "project_limit": "20"}
    assert client_of(bob).post(url, values).status_code == 403
    response = client_of(alice).post(url, values)
    assert response.status_code == 302
    rules = ServingRules.objects.get(project=project)
    assert (rules.sample_share, rules.masks, rules.retention_days, rules.key_limit) == (0.25, False, 7, 10)
    assert AuditEvent.objects.filter(what="change_serving_rules", who="alice").exists()
    html = page(client_of(alice), project)
    assert "kept as it is" in html and "7 days" in html
    assert client_of(alice).post(url, values | {"sample_share": "2"}).status_code == 422


def test_what_serves_is_checked_against_what_was_evaluated(champion, backend, bob, client_of, project, run_jobs, model):
    client, url = client_of(bob), reverse("serving:live-replay", args=[project.pk])
    assert client.post(url).status_code == 302
    run_jobs()
    assert Job.objects.get(kind="replay").state == "succeeded", Job.objects.get(kind="replay").error
    replay = Replay.objects.get()
    assert (replay.n, replay.n_equal, replay.differing) == (60, 60, [])
    assert "deployed = evaluated" in page(client, project)
    model.adapter_errs = lambda number: number in (40, 41)  # something else serves than was evaluated
    client.post(url)
    run_jobs()
    assert set(Replay.objects.first().differing) >= {"e041"}
    assert "answered otherwise" in page(client, project)


def test_a_check_of_another_champion_is_not_shown(champion, backend, bob, client_of, project, run_jobs):
    client = client_of(bob)
    client.post(reverse("serving:live-replay", args=[project.pk]))
    run_jobs()
    Adapter.objects.filter(pk=champion.pk).update(stage="retired")
    assert "deployed = evaluated" not in page(client, project)
