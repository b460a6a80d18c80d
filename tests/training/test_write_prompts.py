"""Prompts in a curator's own words: written, changed, compared, tried on dev, and tried by the baseline."""

import json

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from curation.services.erasing import erase
from jobs.models import Job
from labeling.models import Example
from projects.errors import UserError
from projects.models import AuditEvent
from tests.training.story import frozen_snapshot
from training.models import CachedAnswer, Evaluation, PromptVersion, Run, TestLook, Verdict
from training.services.baseline import offered_arms, start_baseline
from training.services.quoting import has_lost_a_quote, has_lost_words
from training.services.suggestions import Source, _learnt
from training.services.written_prompts import Words, change_prompt, starting_words, write_prompt

FORM = {"name": "with edge cases", "system": "Say the mood. Irony is negative.", "instruction": "{text}",
        "examples": "none"}


def write(client, project, **changed):
    return client.post(reverse("training:prompt-new", args=[project.pk]), FORM | changed, follow=True)


@pytest.fixture
def version(project, bob):
    return write_prompt(project, name="irony", words=Words("Say the mood.", "{text}", PromptVersion.Examples.none),
                        note="", by=bob)


@pytest.fixture
def tried(version, snapshot, bob, client_of, run_jobs):
    client_of(bob).post(reverse("training:prompt-try", args=[version.pk]))
    run_jobs()
    return Run.objects.get(kind="by_hand")


def body(response):
    return response.content.decode()


# Writing

def test_a_new_prompt_begins_as_the_one_from_the_guideline(project, bob, client_of):
    html = body(client_of(bob).get(reverse("training:prompt-new", args=[project.pk])))
    assert "Answer with one of: negative, neutral, positive." in html and "{text}" in html


def test_what_a_curator_wrote_is_kept_word_for_word(project, bob, client_of):
    html = body(write(client_of(bob), project, system="Say the mood.\r\n<b>Irony</b> is negative. "))
    version = PromptVersion.objects.get()
    assert (version.name, version.version, version.created_by) == ("with edge cases", 1, bob)
    assert version.system == "Say the mood.\n<b>Irony</b> is negative."
    assert "&lt;b&gt;Irony" in html and "<b>Irony" not in html
    assert AuditEvent.objects.filter(what="write_prompt", who="bob").exists()


@pytest.mark.parametrize(("changed", "words"), [
    ({"instruction": "What is it?"}, "once, where the text goes"), ({"instruction": "{text} {text}"}, "stands 2 times"),
    ({"name": ""}, "required"), ({"examples": "all"}, "not one of the available")])
def test_what_cannot_be_asked_is_refused_and_stays_in_the_form(project, bob, client_of, changed, words):
    response = write(client_of(bob), project, **changed)
    assert response.status_code == 422 and words in body(response) and "Irony is negative" in body(response)
    assert not PromptVersion.objects.exists()


def test_a_name_is_taken_once(version, bob, client_of):
    response = write(client_of(bob), version.project, name=" irony ")
    assert response.status_code == 422 and "a prompt “irony” already" in body(response)


def test_a_change_is_a_new_version_and_the_old_one_stays(version, bob, client_of):
    url = reverse("training:prompt-change", args=[version.pk])
    response = client_of(bob).post(url, {**FORM, "note": "Irony was missed."}, follow=True)
    newest = PromptVersion.objects.get(version=2)
    assert newest.system == FORM["system"] and "Irony was missed." in body(response)
    version.refresh_from_db()
    assert version.system == "Say the mood."


def test_two_people_do_not_overwrite_each_other(version, alice, bob):
    first, second = (Words(f"Version of {name}.", "{text}", PromptVersion.Examples.none) for name in ("Bob", "Alice"))
    change_prompt(version, words=first, note="Mine.", by=bob)
    with pytest.raises(UserError, match="has been written since"):
        change_prompt(version, words=second, note="Mine.", by=alice)


@pytest.mark.parametrize(("words", "note", "said"), [
    (Words("Say the mood. ", "{text}", PromptVersion.Examples.none), "Why.", "exactly this already"),
    (Words("Other.", "{text}", PromptVersion.Examples.none), " ", "what changed and why"),
    (Words("x" * 20_001, "{text}", PromptVersion.Examples.none), "Why.", "at most 20,000"),
])
def test_a_change_says_something_new_and_why(version, bob, words, note, said):
    with pytest.raises(UserError, match=said):
        change_prompt(version, words=words, note=note, by=bob)


def test_a_version_cannot_be_changed_behind_our_back(version):
    for statement in ("UPDATE training_promptversion SET note = 'x'", "DELETE FROM training_promptversion",
                      "UPDATE training_promptversion SET content = '{}'"):
        with (pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic(),
              connection.cursor() as cursor):
            cursor.execute(statement)


# On dev

def test_trying_looks_at_dev_and_never_at_test(tried, version, model, client_of, bob):
    evaluation = Evaluation.objects.get()
    assert (evaluation.run, evaluation.split, evaluation.n) == (tried, "dev", 9)
    assert tried.config["prompt"]["system"] == "Say the mood." and tried.config["prompt_version"] == version.pk
    assert not TestLook.objects.exists() and not Verdict.objects.exists()
    html = body(client_of(bob).get(reverse("training:prompt", args=[version.pk])))
    assert "1 prompt tried on the 9 dev rows of snapshot 1" in html and "Try again" in html
    html = body(client_of(bob).get(reverse("training:run", args=[tried.pk])))
    assert "Prompt “irony”, version 1" in html and "Only the best prompt of a baseline" in html


def test_two_clicks_are_one_try(version, snapshot, bob, client_of):
    for _ in range(2):
        client_of(bob).post(reverse("training:prompt-try", args=[version.pk]))
    assert Job.objects.filter(kind="try_prompt").count() == 1


def test_every_look_is_counted(tried, version, snapshot, bob, client_of, run_jobs):
    client_of(bob).post(reverse("training:prompt-try", args=[version.pk]))
    run_jobs()
    html = body(client_of(bob).get(reverse("training:prompt-list", args=[version.project_id])))
    assert "2 prompts tried on the 9 dev rows" in html


def test_without_an_approved_snapshot_the_page_says_what_to_do(version, project, bob, client_of, model):
    url = reverse("training:prompt", args=[version.pk])
    assert "there is none. Freeze one first." in body(client_of(bob).get(url))
    frozen_snapshot(project, maker=bob)
    assert "Snapshot 1 is not approved." in body(client_of(bob).get(url))
    response = client_of(bob).post(reverse("training:prompt-try", args=[version.pk]))
    assert response.status_code == 400 and not Job.objects.filter(kind="try_prompt").exists()


def test_versions_are_compared_on_the_same_dev_rows(tried, version, model, bob, client_of, run_jobs):
    better = change_prompt(version, words=Words("Say the mood. Irony is negative.", "{text}",
                                                PromptVersion.Examples.spread), note="Irony.", by=bob)
    model.prompt_errs = lambda number: False
    client_of(bob).post(reverse("training:prompt-try", args=[better.pk]))
    run_jobs()
    html = body(client_of(bob).get(reverse("training:prompt-differences", args=[better.pk])))
    assert "<ins> Irony is negative.</ins>" in html and "The two ask the same." in html
    assert "On the same 9 dev rows: +" in html and "<del>None</del>" in html
    shots = Run.objects.get(config__prompt_version=better.pk).config["prompt"]["shots"]
    assert sorted({shot["label"] for shot in shots}) == ["negative", "neutral", "positive"] and len(shots) == 8
    other = reverse("training:prompt-differences", args=[version.pk])
    assert client_of(bob).get(f"{other}?from={better.pk}").status_code == 200
    assert client_of(bob).get(f"{other}?from=99999").status_code == 404


def test_nearest_examples_go_with_each_row_and_not_into_the_run(version, snapshot, model, bob, client_of, run_jobs):
    near = change_prompt(version, words=Words("Say the mood.", "{text}", PromptVersion.Examples.nearest), note="Near.",
                         by=bob)
    asked = []
    fake = model._score
    model._score = lambda spec, folder: (asked.append((folder / "texts.jsonl").read_text()), fake(spec, folder))[1]
    client_of(bob).post(reverse("training:prompt-try", args=[near.pk]))
    run_jobs()

    rows = [json.loads(line) for line in asked[0].splitlines()]
    train = set(snapshot.rows.filter(split="train").values_list("example__text", flat=True))
    assert len(rows) == 9 and all(len(row["shots"]) == 8 and {s["text"] for s in row["shots"]} <= train for row in rows)
    assert len({str(row["shots"]) for row in rows}) > 1
    run = Run.objects.get(kind="by_hand")
    assert run.config["prompt"]["shots"] == [] and run.config["prompt"]["neighbours"] == 8
    learnt = Example.objects.filter(_learnt(Source("prompt", prompt=run)))
    assert set(learnt.values_list("text", flat=True)) == train, "a training row would be its own neighbour"


def test_pages_ask_the_same_few_questions_for_any_number_of_versions(tried, version, bob, client_of,
                                                                     django_assert_max_num_queries):
    for n in range(12):
        write_prompt(version.project, name=f"p{n}", words=starting_words(version.project), note="", by=bob)
    client = client_of(bob)
    with django_assert_max_num_queries(14):
        client.get(reverse("training:prompt-list", args=[version.project_id]))
    with django_assert_max_num_queries(18):
        client.get(reverse("training:prompt", args=[version.pk]))


# In the baseline

def test_the_baseline_tries_what_was_written_beside_its_own(version, snapshot, bob, run_jobs):
    start_baseline(snapshot, by=bob)
    run_jobs()
    kinds = list(Run.objects.filter(kind__in=Run.PROMPTS).order_by("pk").values_list("kind", flat=True))
    assert kinds == ["zero_shot", "few_shot", "nearest", "by_hand"], "with nothing defined “defined” says the same"
    assert TestLook.objects.count() == 2, "the winner's and the probe's"


def test_only_the_chosen_prompts_are_tried(version, snapshot, bob, client_of, run_jobs):
    client_of(bob).post(reverse("training:baseline", args=[snapshot.pk]), {
        "choice": "1", "arms": ["few_shot", f"by_hand-{version.pk}"]})
    run_jobs()
    assert set(Run.objects.filter(kind__in=Run.PROMPTS).values_list("kind", flat=True)) == {"few_shot", "by_hand"}


@pytest.mark.parametrize(("arms", "said"), [([], "Choose at least one prompt"), (["by_hand-9999"], "not offered")])
def test_a_choice_of_nothing_or_of_what_is_not_offered_is_refused(snapshot, bob, client_of, arms, said):
    response = client_of(bob).post(reverse("training:baseline", args=[snapshot.pk]), {"choice": "1", "arms": arms})
    assert response.status_code == 400 and said in body(response) and not Job.objects.filter(kind="baseline").exists()


def test_nearest_examples_are_left_out_by_default_where_they_would_take_long(snapshot, settings, monkeypatch):
    def default(key):
        return next(offer for offer in offered_arms(snapshot) if offer.key == key).is_default

    assert default("nearest")
    monkeypatch.setattr("training.services.baseline.NEAREST_DEV_ROWS", 8)
    assert not default("nearest") and default("few_shot")
    settings.GOLDPAN_LLM_URL = "http://127.0.0.1:9/v1"
    assert default("nearest"), "an endpoint reads as fast"


def test_the_page_offers_each_with_what_it_costs(version, snapshot, bob, client_of):
    html = body(client_of(bob).get(reverse("training:comparison", args=[snapshot.pk])))
    assert "5 to choose from" in html and "No text shares its examples with another" in html
    assert f'value="by_hand-{version.pk}"' in html


# Erasure

def test_an_erased_text_leaves_prompts_runs_and_the_cache(version, snapshot, alice, bob, client_of, run_jobs):
    quoted = Example.objects.filter(split="pool")[0]
    text = quoted.text
    quoting = change_prompt(version, words=Words(f"Say the mood. “{text}” is negative.", "{text}",
                                                 PromptVersion.Examples.none), note="An example.", by=bob)
    client_of(bob).post(reverse("training:prompt-try", args=[quoting.pk]))
    run_jobs()
    run = Run.objects.get(kind="by_hand")
    sha256 = run.config["prompt_sha256"]
    CachedAnswer.objects.create(project=version.project, request_sha256="0" * 64, answer=text)
    erase([quoted], reason="Somebody asked.", by=alice)
    run_jobs()
    quoting.refresh_from_db()
    run.refresh_from_db()
    assert quoting.system == "Say the mood. “[erased]” is negative." and has_lost_words(quoting)
    assert has_lost_a_quote(run) and text not in str(run.config) and run.config["prompt_sha256"] == sha256
    assert not CachedAnswer.objects.exists()
    assert Job.objects.get(kind="erase").result["n_prompts"] == 2
    assert f"by_hand-{quoting.pk}" not in [offer.key for offer in offered_arms(snapshot)]
    html = body(client_of(bob).get(reverse("training:prompt", args=[quoting.pk])))
    assert "lost words when an example was erased" in html and text not in html
    with (pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic(),
          connection.cursor() as cursor):
        cursor.execute("UPDATE training_promptversion SET note = 'x'")
