import pytest
from django.db import DatabaseError, transaction
from django.urls import reverse

from curation.models import Snapshot
from jobs.models import Job
from projects.errors import UserError
from projects.models import AuditEvent
from tests.training.story import frozen_snapshot, quoted
from training.forms import KNOBS, TrainingForm
from training.models import Cap, Quote, Run
from training.services.baseline import start_baseline
from training.services.runs import start_training


def url(snapshot):
    return reverse("training:train", args=[snapshot.pk])


def filled(**changes):
    """The form of settings as the page brings it, with these changes."""
    form = TrainingForm()
    return {name: "" if form[name].value() is None else form[name].value() for name in KNOBS} | changes


def ask(client, snapshot, **changes):
    return client.post(reverse("training:quote", args=[snapshot.pk]), filled(**changes))


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_admins_train(judged, request, alice, client_of, who, status):
    quote = quoted(judged, alice)
    user = request.getfixturevalue(who)
    client = client_of(user)
    assert client.get(url(judged)).status_code == status
    assert ask(client, judged).status_code == (302 if status == 200 else status)
    assert client.post(url(judged), {"quote": quote.pk}).status_code == (302 if status == 200 else status)
    assert [run.created_by for run in Run.objects.filter(kind="lora")] == ([user] if status == 200 else [])


def test_without_a_knob_touched_the_defaults_train(judged, alice, client_of):
    quote = quoted(judged, alice)
    response = client_of(alice).post(url(judged), {"quote": quote.pk})
    run = Run.objects.get(kind="lora")
    assert response.headers["Location"] == reverse("training:run", args=[run.pk])
    assert (run.config["training"]["epochs"], run.config["training"]["r"], run.override_reason) == (3, 8, "")
    assert (run.job.kind, run.job.state, run.job.exclusive) == ("train", "queued", "train")
    event = AuditEvent.objects.get(what="train")
    assert event.who == "alice" and event.detail == {"snapshot": 1, "run": run.pk, "override": "", "quote": quote.pk,
                                                     "cap_seconds": round(quote.cap_seconds)}
    assert Cap.objects.get(run=run).seconds == quote.cap_seconds


def test_the_page_says_the_verdict_and_the_rows(judged, alice, client_of):
    quoted(judged, alice)
    html = client_of(alice).get(url(judged)).content.decode()
    assert "the prompt cannot reach the target" in html and "Start the training" in html
    assert "Why train all the same?" not in html
    assert "<td>neutral</td><td class=\"num\">10</td>" in html and "Advanced settings" in html


def test_three_sentences_say_what_it_takes_may_bring_and_what_stops_it(judged, alice, client_of, run_jobs):
    client = client_of(alice)
    html = client.get(url(judged)).content.decode()
    assert "A few real steps are tried first." in html and "Start the training" not in html
    assert ask(client, judged).status_code == 302
    assert "data-reload-on-finish" in client.get(url(judged)).content.decode()
    run_jobs()
    html = client.get(url(judged)).content.decode()
    assert "It takes about 1\u202fmin 26\u202fs on this machine" in html and "and 1.2\u202fGB of memory" in html
    assert "What an adapter would gain is not known yet" in html
    assert "Whatever happens, it stops after" in html and "Would it fit on a GPU?" in html


def test_a_quote_is_queued_once_and_not_beside_a_training(judged, alice, client_of):
    ask(client_of(alice), judged)
    ask(client_of(alice), judged)
    job = Job.objects.get(kind="quote")
    assert job.exclusive == "train" and job.params["config"]["training"]["epochs"] == 3


def test_without_a_quote_for_these_settings_nothing_starts(judged, alice):
    with pytest.raises(UserError, match="no quote for a training with these settings"):
        start_training(judged, by=alice)
    quoted(judged, alice)
    with pytest.raises(UserError, match="no quote for a training with these settings"):
        start_training(judged, by=alice, config={"epochs": 2})
    assert not Run.objects.filter(kind="lora").exists()


def test_a_quote_goes_stale_when_what_is_asked_changes(judged, alice, client_of):
    quote = quoted(judged, alice)
    judged.project.schema["labels"][0]["name"] = "sad"
    judged.project.save()
    client = client_of(alice)
    assert "This quote is for other labels or another base model" in client.get(url(judged)).content.decode()
    assert client.post(url(judged), {"quote": quote.pk}).status_code == 400
    assert not Run.objects.filter(kind="lora").exists()


def test_an_older_quote_can_be_looked_at_and_started_from(judged, alice, client_of):
    older, newer = quoted(judged, alice, epochs=2), quoted(judged, alice)
    client = client_of(alice)
    assert f"Quote {newer.pk}," in client.get(url(judged)).content.decode()
    assert f"Quote {older.pk}," in client.get(f"{url(judged)}?quote={older.pk}").content.decode()
    client.post(url(judged), {"quote": older.pk})
    assert Run.objects.get(kind="lora").config["training"]["epochs"] == 2


def test_a_quote_is_never_changed(judged, alice):
    quote = quoted(judged, alice)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Quote.objects.filter(pk=quote.pk).update(seconds=1)


def test_the_cap_can_be_said_in_minutes(judged, alice, client_of):
    quote = quoted(judged, alice)
    client_of(alice).post(url(judged), {"quote": quote.pk, "cap_minutes": "2.5"})
    assert Cap.objects.get().seconds == 150.0


@pytest.mark.parametrize(("changes", "words"), [
    ({"epochs": 99}, "This must be between 1 and 50, got 99."),
    ({"learning_rate": "fast"}, "Enter a number."),
    ({"batch_size": "2.5"}, "Enter a whole number.")])
def test_an_impossible_setting_is_said_at_its_field(judged, alice, client_of, changes, words):
    response = ask(client_of(alice), judged, **changes)
    html = response.content.decode()
    assert response.status_code == 422 and words in html and "<details class=\"mb-3\" open>" in html
    assert not Job.objects.filter(kind="quote").exists()


def test_before_a_verdict_it_takes_a_written_reason(snapshot, alice, client_of):
    quoted(snapshot, alice)
    client = client_of(alice)
    html = client.get(url(snapshot)).content.decode()
    assert "No prompt has been tried on Snapshot 1 yet." in html and "Try the prompt first</button>" in html
    assert client.post(url(snapshot), {"override_reason": "  "}).status_code == 422
    assert not Run.objects.exists()
    client.post(url(snapshot), {"override_reason": "The prompt was tried elsewhere."})
    run = Run.objects.get()
    assert run.override_reason == "The prompt was tried elsewhere."
    assert AuditEvent.objects.get(what="train").detail["override"] == "The prompt was tried elsewhere."
    assert "Started against the gate" in client.get(reverse("training:run", args=[run.pk])).content.decode()


def test_against_a_good_prompt_it_takes_a_written_reason(snapshot, alice, client_of, model, run_jobs):
    model.prompt_errs = lambda number: False
    start_baseline(snapshot, by=alice)
    run_jobs()
    quoted(snapshot, alice)
    client = client_of(alice)
    assert "The gate advises against training." in client.get(url(snapshot)).content.decode()
    response = client.post(url(snapshot), {})
    assert response.status_code == 422 and "This field is required." in response.content.decode()
    client.post(url(snapshot), {"override_reason": "To measure the difference."})
    assert Run.objects.filter(kind="lora").count() == 1


def test_nothing_is_trained_on_an_unapproved_snapshot(project, alice, bob, client_of, model):
    snapshot = frozen_snapshot(project, maker=bob)
    client = client_of(alice)
    assert "Snapshot 1 is not approved." in client.get(url(snapshot)).content.decode()
    response = client.post(url(snapshot), {"override_reason": "Now."})
    assert response.status_code == 400 and "is not approved" in response.content.decode()
    assert not Run.objects.exists()


def test_of_two_clicks_one_trains(judged, alice, client_of):
    quote, other = quoted(judged, alice), quoted(judged, alice, seed=2)
    client = client_of(alice)
    client.post(url(judged), {"quote": quote.pk})
    response = client.post(url(judged), {"quote": quote.pk})
    assert response.status_code == 400 and "is on its way with the same settings" in response.content.decode()
    assert client.post(url(judged), {"quote": other.pk}).status_code == 302
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
    assert "There is no quote for a training" in act(client_of(alice), judged).content.decode()
    quoted(judged, alice)
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
    quoted(judged, alice, epochs=1)
    run = start_training(Snapshot.objects.get(), by=alice, config={"epochs": 1})
    assert run.config["training"]["epochs"] == 1 and run.seed == 1
