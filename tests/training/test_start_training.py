import pytest
from django.urls import reverse

from curation.models import Snapshot
from jobs.models import Job
from projects.models import AuditEvent
from tests.training.conftest import trained
from tests.training.story import frozen_snapshot
from training.forms import KNOBS, TrainingForm
from training.models import Run
from training.services.baseline import start_baseline
from training.services.runs import start_training


def url(snapshot):
    return reverse("training:train", args=[snapshot.pk])


def filled(**changes):
    """The form as the page brings it, with these changes."""
    form = TrainingForm(needs_reason=False)
    return {name: form[name].value() for name in KNOBS} | changes


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_admins_train(judged, request, client_of, who, status):
    user = request.getfixturevalue(who)
    client = client_of(user)
    assert client.get(url(judged)).status_code == status
    assert client.post(url(judged), filled()).status_code == (302 if status == 200 else status)
    assert [run.created_by for run in Run.objects.filter(kind="lora")] == ([user] if status == 200 else [])


def test_without_a_knob_touched_the_defaults_train(judged, alice, client_of):
    response = client_of(alice).post(url(judged), filled())
    run = Run.objects.get(kind="lora")
    assert response.headers["Location"] == reverse("training:run", args=[run.pk])
    assert (run.config["training"]["epochs"], run.config["training"]["r"], run.override_reason) == (3, 8, "")
    assert (run.job.kind, run.job.state, run.job.exclusive) == ("train", "queued", "train")
    event = AuditEvent.objects.get(what="train")
    assert event.who == "alice" and event.detail == {"snapshot": 1, "run": run.pk, "override": ""}


def test_the_page_says_the_verdict_and_the_rows(judged, alice, client_of):
    html = client_of(alice).get(url(judged)).content.decode()
    assert "the prompt cannot reach the target" in html and "Start the training" in html
    assert "Why train all the same?" not in html
    assert "<td>neutral</td><td class=\"num\">10</td>" in html and "Advanced settings" in html


def test_the_forecast_is_measured_or_absent(judged, alice, client_of, run_jobs):
    client = client_of(alice)
    assert "no measured time to forecast from" in client.get(url(judged)).content.decode()
    adapter = trained(judged, alice, run_jobs)  # 60 s for 3 passes over 30 rows
    html = client.get(url(judged)).content.decode()
    assert "About 1\u202fmin<" in html and f"run {adapter.run_id}</a>" in html and "12 steps" in html


@pytest.mark.parametrize(("changes", "words"), [
    ({"epochs": 99}, "This must be between 1 and 50, got 99."),
    ({"learning_rate": "fast"}, "Enter a number."),
    ({"batch_size": "2.5"}, "Enter a whole number.")])
def test_an_impossible_setting_is_said_at_its_field(judged, alice, client_of, changes, words):
    response = client_of(alice).post(url(judged), filled(**changes))
    html = response.content.decode()
    assert response.status_code == 422 and words in html and "<details class=\"mb-3\" open>" in html
    assert not Run.objects.filter(kind="lora").exists()


def test_before_a_verdict_it_takes_a_written_reason(snapshot, alice, client_of):
    client = client_of(alice)
    html = client.get(url(snapshot)).content.decode()
    assert "No prompt has been tried on Snapshot 1 yet." in html and "Try the prompt first</button>" in html
    assert client.post(url(snapshot), filled(override_reason="  ")).status_code == 422
    assert not Run.objects.exists()
    client.post(url(snapshot), filled(override_reason="The prompt was tried elsewhere."))
    run = Run.objects.get()
    assert run.override_reason == "The prompt was tried elsewhere."
    assert AuditEvent.objects.get(what="train").detail["override"] == "The prompt was tried elsewhere."
    assert "Started against the gate" in client.get(reverse("training:run", args=[run.pk])).content.decode()


def test_against_a_good_prompt_it_takes_a_written_reason(snapshot, alice, client_of, model, run_jobs):
    model.prompt_errs = lambda number: False
    start_baseline(snapshot, by=alice)
    run_jobs()
    client = client_of(alice)
    assert "The gate advises against training." in client.get(url(snapshot)).content.decode()
    response = client.post(url(snapshot), filled())
    assert response.status_code == 422 and "This field is required." in response.content.decode()
    client.post(url(snapshot), filled(override_reason="To measure the difference."))
    assert Run.objects.filter(kind="lora").count() == 1


def test_nothing_is_trained_on_an_unapproved_snapshot(project, alice, bob, client_of, model):
    snapshot = frozen_snapshot(project, maker=bob)
    client = client_of(alice)
    assert "Snapshot 1 is not approved." in client.get(url(snapshot)).content.decode()
    response = client.post(url(snapshot), filled(override_reason="Now."))
    assert response.status_code == 400 and "is not approved" in response.content.decode()
    assert not Run.objects.exists()


def test_of_two_clicks_one_trains(judged, alice, client_of):
    client = client_of(alice)
    client.post(url(judged), filled())
    response = client.post(url(judged), filled())
    assert response.status_code == 400 and "is on its way with the same settings" in response.content.decode()
    assert client.post(url(judged), filled(seed=2)).status_code == 302
    assert Run.objects.filter(kind="lora").count() == 2


def test_the_receipt_names_the_versions_it_was_trained_with(adapter):
    assert {"Python", "numpy"} <= adapter.receipt["versions"].keys()


# The same from Django's admin

def act(client, snapshot):
    return client.post(reverse("admin:curation_snapshot_changelist"), {
        "action": "start_lora_run", "_selected_action": [snapshot.pk]}, follow=True)


def test_the_admin_action_trains_for_a_superuser_with_the_role(judged, alice, client_of):
    alice.is_staff = alice.is_superuser = True
    alice.save()
    assert "waits for a worker" in act(client_of(alice), judged).content.decode()
    assert Run.objects.get(kind="lora").created_by == alice


def test_the_admin_action_refuses_a_superuser_without_the_role(judged, dora, client_of):
    dora.is_staff = dora.is_superuser = True
    dora.save()
    html = act(client_of(dora), judged).content.decode()
    assert "Only an admin of “Moods” starts a training run; dora is none." in html
    assert not Job.objects.filter(kind="train").exists()


def test_the_admin_action_keeps_the_gate(snapshot, alice, client_of):
    alice.is_staff = alice.is_superuser = True
    alice.save()
    html = act(client_of(alice), snapshot).content.decode()
    assert "No prompt has been tried on Snapshot 1 yet." in html and not Run.objects.exists()


def test_a_run_needs_nothing_but_the_service(judged, alice):
    run = start_training(Snapshot.objects.get(), by=alice, config={"epochs": 1})
    assert run.config["training"]["epochs"] == 1 and run.seed == 1
