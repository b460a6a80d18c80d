"""The pages on drift: what they say, who sees them, and that they give no answer away."""

import pytest
from django.urls import reverse

from serving.models import Look, TrainingProposal, WatchPlan

pytestmark = pytest.mark.django_db


def get(client, name, pk):
    response = client.get(reverse(f"serving:{name}", args=[pk]))
    assert response.status_code == 200
    return response.content.decode()


def test_before_anything_serves_the_page_says_what_will_happen(untried, alice, client_of):
    html = get(client_of(alice), "drift", untried.pk)
    assert "Nothing is watched yet." in html and html.count("btn-gold") == 1


def test_a_look_keeps_answers_and_labels_to_itself_until_it_is_counted(world, project, bob, client_of):
    world.week(0, n=40, labels=False)
    client, look = client_of(bob), Look.objects.get()
    html = get(client, "look", look.pk)
    assert "neither labels nor answers" in html and "The model said" not in html and "See the batch" in html
    world.label(n=20)
    assert "The model said" not in get(client, "look", look.pk)
    api = client.get(f"/api/v1/looks/{look.pk}").json()
    assert api["rows"] and all(row["answer"] is None and row["label"] is None for row in api["rows"])
    world.label()
    world.tick(8)
    assert "The model said" in get(client, "look", look.pk)
    assert all(row["answer"] for row in client.get(f"/api/v1/looks/{look.pk}").json()["rows"])


def test_annotators_see_none_of_it(world, project, client_of):
    world.week(0, n=40)
    from django.contrib.auth.models import User
    client = client_of(User.objects.get(username="charlie"))
    for name, pk in (("drift", project.pk), ("look", Look.objects.get().pk), ("watch-plan", project.pk)):
        assert client.get(reverse(f"serving:{name}", args=[pk])).status_code == 403


def test_the_page_says_where_things_stand_in_few_queries(world, project, alice, client_of,
                                                         django_assert_max_num_queries):
    for week in range(2):
        world.week(week, n=40, accuracy=0.95)
    world.week(2, n=40, labels=False)
    client = client_of(alice)
    with django_assert_max_num_queries(60):
        html = get(client, "drift", project.pk)
    assert "No sign of a drop." in html and html.count("data-chart") == 3
    assert "Who labels now" in html and "The next look is drawn on" in html and "labels a week" in html
    found = client.get(f"/api/v1/projects/{project.pk}/drift").json()
    assert found["level"] == "quiet" and found["threshold"] > 100 and found["newest"]["n"] == 40


def test_the_plan_is_changed_with_a_reason_and_says_what_that_brings(world, project, bob, client_of):
    client, url = client_of(bob), reverse("serving:watch-plan", args=[project.pk])
    assert "half of all drops" in client.get(url).content.decode()
    values = {"cadence": "weekly", "labels": "100", "uniform_share": "0.8", "retrain_weeks": "8", "is_on": "on"}
    assert client.post(url, values).status_code == 422
    live = client.get(reverse("serving:watch-advice", args=[project.pk]), values | {"floor": "0.8"})
    assert "With 100 labels a week, 80 of them at random" in live.content.decode()
    assert client.post(url, values | {"reason": "More traffic."}).status_code == 302
    plan = WatchPlan.objects.first()
    assert (plan.labels, plan.retrain_weeks, plan.created_by, plan.reason) == (100, 8, bob, "More traffic.")
    assert client.post(url, values | {"reason": "Again.", "floor": "1"}).status_code == 422


def test_an_admin_decides_on_a_proposal_and_is_led_on(world, project, alice, bob, client_of):
    world.week(0, n=40, accuracy=0.4)
    world.label()
    world.tick(8)
    proposal = TrainingProposal.objects.get()
    html = get(client_of(bob), "proposal", proposal.pk)
    assert "An admin decides." in html and "Approving starts nothing." in html and "The alarm rang" in html
    client, url = client_of(alice), reverse("serving:proposal-decide", args=[proposal.pk])
    assert "Decide on the proposal" in get(client, "drift", project.pk)
    assert client.post(url, {"verdict": "maybe"}).status_code == 422
    assert client.post(url, {"verdict": "decline"}).status_code == 422  # without a reason
    assert client.post(url, {"verdict": "approve", "reason": "It is time."}).status_code == 302
    html = get(client, "proposal", proposal.pk)
    assert "Approved: train again." in html and "It is time." in html and 'aria-current="step"' in html
