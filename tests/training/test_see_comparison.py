import pytest
from django.urls import reverse

from jobs.models import Job
from tests.training.conftest import trained
from tests.training.story import frozen_snapshot
from training.models import TestLook
from training.services.baseline import start_baseline
from training.services.comparison import compare

THIN = "\u202f"


def page(client, snapshot):
    return client.get(reverse("training:comparison", args=[snapshot.pk])).content.decode()


def run_list(client, project):
    return client.get(reverse("training:run-list", args=[project.pk])).content.decode()


def flips(client, run, **query):
    return client.get(reverse("training:flips", args=[run.pk]), query)


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_of_the_project_see_it(snapshot, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    assert client.get(reverse("training:comparison", args=[snapshot.pk])).status_code == status
    assert client.get(reverse("training:run-list", args=[snapshot.project_id])).status_code == status


def test_an_unapproved_snapshot_is_sent_to_its_approval(project, bob, client_of, model):
    snapshot = frozen_snapshot(project, maker=bob)
    html = page(client_of(bob), snapshot)
    assert "It waits for an admin who did not make it" in html and "Try the prompt first" not in html
    assert reverse("curation:snapshot-detail", args=[snapshot.pk]) in html


def test_the_prompt_comes_first(snapshot, bob, client_of):
    html = page(client_of(bob), snapshot)
    assert "No prompt has been tried yet." in html and "Try the prompt first</button>" in html
    assert "Train a LoRA adapter" not in html and "<table" not in html


def test_a_running_job_stands_in_its_place(snapshot, bob, client_of):
    job = start_baseline(snapshot, by=bob)
    html = page(client_of(bob), snapshot)
    assert reverse("jobs:job-progress", args=[job.pk]) in html and "data-reload-on-finish" in html
    assert "Try the prompt first</button>" not in html


def test_a_failed_job_is_shown_and_can_be_tried_again(snapshot, bob, client_of, model, run_jobs):
    model.prompt_errs = None  # the child dies of it
    start_baseline(snapshot, by=bob)
    run_jobs()
    html = page(client_of(bob), snapshot)
    assert Job.objects.get(kind="baseline").state == "failed"
    assert "This is a fault of Goldpan" in html and "Try the prompt first</button>" in html


def test_the_verdict_leads_an_admin_to_training_and_tells_a_curator_who_may(judged, alice, bob, client_of):
    html = page(client_of(alice), judged)
    assert "The prompt cannot reach the target." in html and reverse("training:train", args=[judged.pk]) in html
    html = page(client_of(bob), judged)
    assert "An admin has to start the training." in html and reverse("training:train", args=[judged.pk]) not in html


def test_a_good_prompt_is_not_trained_against_by_a_primary_button(snapshot, alice, client_of, model, run_jobs):
    model.prompt_errs = lambda number: False
    start_baseline(snapshot, by=alice)
    run_jobs()
    html = page(client_of(alice), snapshot)
    assert "The prompt is good enough." in html and 'class="btn-line" href="' + reverse(
        "training:train", args=[snapshot.pk]) in html
    assert "btn-gold" not in html


def test_a_better_adapter_is_called_better_with_its_interval(adapter, alice, client_of):
    html = page(client_of(alice), adapter.run.snapshot)
    assert "Is fine-tuning worth it?" in html and '<span class="yes">Yes, by ' in html
    assert "beats the prompt, p &lt; 0.001" in html and f"95.0{THIN}%" in html and f"50.0{THIN}%" in html
    lora = compare(adapter.run.snapshot).lora
    assert lora.difference_range in html and lora.other_cells[0][2] in html
    assert f"1{THIN}min 40{THIN}s" in html, "the prompt took 6 s for 60 rows"


def test_an_equal_adapter_is_not_called_better(judged, alice, client_of, model, run_jobs):
    model.adapter_errs = lambda number: number % 2 == (1 if number < 69 else 0)
    trained(judged, alice, run_jobs)
    html = page(client_of(alice), judged)
    assert "Not proven better than the prompt." in html and '<span class="open">' in html
    assert "not shown to differ, p = " in html and "Promote this adapter" not in html
    assert html.count("beats the prompt") == 1, "only the probe"


def test_a_worse_adapter_is_called_worse(judged, alice, client_of, model, run_jobs):
    model.adapter_errs = lambda number: True
    trained(judged, alice, run_jobs)
    html = page(client_of(alice), judged)
    assert "No, it is worse by " in html and '<span class="no">' in html
    assert "loses to the prompt, p &lt; 0.001" in html and "Why it is not promoted" in html


def test_a_probe_that_is_ahead_takes_the_primary_button(judged, alice, client_of, model, run_jobs):
    html = page(client_of(alice), judged)
    assert "Before you train: the linear probe gets" in html
    model.adapter_errs = lambda number: number % 3 == 0
    trained(judged, alice, run_jobs)
    html = page(client_of(alice), judged)
    assert "Before you promote: the linear probe is" in html and '<button class="btn-line">Promote this adapter' in html


def test_without_such_a_probe_promotion_is_the_one_primary_action(adapter, alice, bob, client_of):
    html = page(client_of(alice), adapter.run.snapshot)
    assert html.count("btn-gold") == 1 and '<button class="btn-gold">Promote this adapter' in html
    assert "Promote this adapter" not in page(client_of(bob), adapter.run.snapshot)


def test_every_look_at_the_test_rows_is_counted(adapter, alice, client_of, monkeypatch):
    client, snapshot = client_of(alice), adapter.run.snapshot
    assert "3 looks at this project's test rows so far; after 10, refresh them." in page(client, snapshot)
    monkeypatch.setattr("training.services.comparison.MAX_LOOKS", 3)
    assert "they have been seen too often" in page(client, snapshot)


def test_what_was_tried_on_dev_is_all_there(judged, bob, client_of):
    html = page(client_of(bob), judged)
    for words in ("What was tried on dev", "as it is", "contextual", "balance fitted on dev", "not looked at on test"):
        assert words in html


def test_labels_are_compared_and_lead_to_their_rows(adapter, bob, client_of):
    lines = {line.label: line for line in compare(adapter.run.snapshot).labels}
    assert {label: line.n for label, line in lines.items()} == {"negative": 20, "neutral": 20, "positive": 20}
    assert sum(line.n_won for line in lines.values()) == 27 and not any(line.n_lost for line in lines.values())
    link = reverse("training:flips", args=[adapter.run_id]) + "?label=negative"
    assert link in page(client_of(bob), adapter.run.snapshot)
    response = client_of(bob).get(link)
    assert {flip.gold for flip in response.context["page"]} == {"negative"}


def test_lost_rows_are_read_first(judged, alice, bob, client_of, model, run_jobs):
    model.adapter_errs = lambda number: number % 5 == 1
    adapter = trained(judged, alice, run_jobs)
    response = flips(client_of(bob), adapter.run)
    html, shown = response.content.decode(), list(response.context["page"])
    won = [flip.is_second_better for flip in shown]
    assert won == sorted(won) and not won[0] and won[-1]
    assert f"{won.count(False)} lost" in html and f"{won.count(True)} won" in html
    assert shown[0].text in html and html.index(">lost<") < html.index(">won<")


def test_the_best_prompt_has_no_flips_of_its_own(judged, bob, client_of):
    response = flips(client_of(bob), judged.verdict.best_prompt)
    assert response.status_code == 400 and "is the best prompt" in response.content.decode()


def test_a_run_that_never_looked_at_test_has_no_flips(judged, bob, client_of):
    unlooked = judged.runs.exclude(pk__in=TestLook.objects.values("run")).first()
    assert "has not been compared" in flips(client_of(bob), unlooked).content.decode()


def test_the_next_step_is_said_in_words_all_the_way(project, snapshot, alice, bob, client_of, run_jobs):
    client = client_of(alice)
    assert "Try the prompt first" in run_list(client, project)
    start_baseline(snapshot, by=bob)
    assert "Prompts are being tried" in run_list(client, project)
    run_jobs()
    assert "Train a LoRA adapter and compare it" in run_list(client, project)
    adapter = trained(snapshot, alice, run_jobs)
    html = run_list(client, project)
    assert f"decide whether {adapter} becomes the champion" in html and "No adapter is the champion yet." in html


def test_without_a_snapshot_there_is_one_thing_to_do(project, bob, client_of):
    html = run_list(client_of(bob), project)
    assert "No runs yet" in html and reverse("curation:snapshot-list", args=[project.pk]) in html


def test_queries_do_not_grow_with_the_rivals(adapter, alice, client_of, run_jobs, django_assert_max_num_queries):
    client, snapshot = client_of(alice), adapter.run.snapshot
    for seed in (2, 3):
        trained(snapshot, alice, run_jobs, seed=seed)
    with django_assert_max_num_queries(35):
        page(client, snapshot)
    with django_assert_max_num_queries(16):
        run_list(client, snapshot.project)
