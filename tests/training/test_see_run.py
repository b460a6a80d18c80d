import json

import pytest
from django.conf import settings
from django.urls import reverse

from jobs import services as jobs
from jobs.models import Job
from tests.training.story import start_quoted
from training.models import Run


def page(client, run):
    return client.get(reverse("training:run", args=[run.pk])).content.decode()


def live(client, run):
    return client.get(reverse("training:run-live", args=[run.pk]), headers={"HX-Request": "true"}).content.decode()


@pytest.fixture
def running(judged, alice):
    """A LoRA run in the middle: two whole lines of metrics, a third half written, and a log."""
    run = start_quoted(judged, by=alice)
    job = jobs.claim(run.job_id)
    jobs.progress_of(job)("Training", 2, 12)
    folder = settings.GOLDPAN_JOBS / str(job.pk) / str(job.fence)
    folder.mkdir(parents=True)
    lines = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.25}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "lo')
    (folder / "log.txt").write_text("\n".join(f"line {number}" for number in range(100)))
    return Run.objects.get(pk=run.pk)


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_of_the_project_see_it(running, request, client_of, who, status):
    client = client_of(request.getfixturevalue(who))
    for name in ("training:run", "training:run-live"):
        assert client.get(reverse(name, args=[running.pk])).status_code == status


def test_a_running_run_shows_its_loss_its_log_and_a_way_to_stop(running, bob, client_of):
    html = page(client_of(bob), running)
    assert "under way." in html and "training from 2.50 to 1.25 over 2 steps" in html
    assert "line 99" in html and "line 87" not in html
    assert reverse("jobs:job-cancel", args=[running.job_id]) in html and "Training, 2 of 12" in html


def test_live_parts_ask_anew_only_while_it_runs(running, bob, client_of):
    html = live(client_of(bob), running)
    assert html.strip().startswith('<section class="sheet" id="run-live"') and "<html" not in html
    assert reverse("training:run-live", args=[running.pk]) in html and 'hx-trigger="every 3s"' in html
    Job.objects.filter(pk=running.job_id).update(state="cancelled", finished_at=running.created_at)
    html = live(client_of(bob), running)
    assert "hx-trigger" not in html and "training from 2.50 to 1.25" in html


def test_a_waiting_run_says_that_nothing_is_logged(judged, alice, client_of):
    run = start_quoted(judged, by=alice)
    html = page(client_of(alice), run)
    assert "waiting for a worker" in html and "No step has been logged yet." in html


def test_a_finished_run_shows_receipt_evaluation_and_adapter(adapter, bob, client_of):
    html = page(client_of(bob), adapter.run)
    assert "LoRA: 95.0\u202f% right." in html and "n = 60" in html and "57 of 60" in html
    for words in ("1\u202fmin, 2 steps", "4,321", "1.2\u202fGB", "30 trained on, 0 refused"):
        assert words in html
    assert reverse("training:adapter", args=[adapter.pk]) in html
    assert reverse("training:flips", args=[adapter.run_id]) in html
    assert "training from 2.50 to 1.25" in html and "87.5\u202f%" in html and "hx-trigger" not in html


def test_refused_rows_are_named(judged, alice, client_of, model, run_jobs):
    model.refused = [["e004", "The row has 600 tokens, more than 512."]]
    run = start_quoted(judged, by=alice)
    run_jobs()
    html = page(client_of(alice), run)
    assert "1 refused" in html and "e004" in html and "The row has 600 tokens" in html


def test_the_prompt_is_shown_as_it_is(judged, bob, client_of):
    zero, few = (Run.objects.get(kind=kind) for kind in ("zero_shot", "few_shot"))
    html = page(client_of(bob), zero)
    assert "Say the mood." in html and "Answer with one of: negative, neutral, positive." in html
    assert zero.config["prompt_sha256"] in html and "solved ones" not in html
    html = page(client_of(bob), few)
    assert "8 solved ones" in html and few.config["prompt"]["shots"][0]["text"] in html


def test_the_best_prompt_and_the_one_that_lost_are_told_apart(judged, bob, client_of):
    best = judged.verdict.best_prompt
    other = Run.objects.filter(kind__in=Run.PROMPTS).exclude(pk=best.pk)[0]
    assert "It is the best prompt: what every training has to beat." in page(client_of(bob), best)
    html = page(client_of(bob), other)
    assert "tried on dev only." in html and "never looked at the test rows" in html


def test_other_peoples_words_are_data(snapshot, alice, client_of):
    run = start_quoted(snapshot, by=alice, override_reason="<b>bold</b>\u202eevil")
    html = page(client_of(alice), run)
    assert "<b>bold</b>" not in html and "&lt;b&gt;bold&lt;/b&gt;" in html and "⟨U+202E⟩" in html


def test_a_failed_run_says_why_and_leads_to_its_job(judged, alice, client_of, model, run_jobs):
    run = start_quoted(judged, by=alice)
    model.refused = None
    model._train = lambda spec, folder: {}  # the child comes back with nothing
    run_jobs()
    html = page(client_of(alice), run)
    assert '<span class="no">failed.</span>' in html and reverse("jobs:job", args=[run.job_id]) in html


def test_the_page_takes_few_queries(adapter, bob, client_of, django_assert_max_num_queries):
    client = client_of(bob)
    with django_assert_max_num_queries(22):
        page(client, adapter.run)
    with django_assert_max_num_queries(14):
        live(client, adapter.run)
