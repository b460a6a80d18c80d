"""Suggestions come from the best model so far, for the pool only, and are refreshed by themselves."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from curation.models import QualityReport, Snapshot
from jobs.models import Job
from labeling.models import Annotation, Batch, Example, LabelingRules, Suggestion
from labeling.services.batches import Overlap, create_batch
from labeling.services.trust import add_known_answer
from projects.errors import UserError
from projects.models import AuditEvent, Project
from tests.training.story import WORDS, FakeModel, frozen_snapshot
from training.models import Adapter
from training.services import suggestions
from training.services.promotion import promote
from training.services.suggestions import best_source, poll, start_suggest, to_suggest


def add_new(project: Project, n: int = 6) -> list[Example]:
    """New pool examples, the word of each label in turn; their numbers go on where the story's end."""
    return [Example.objects.create(
        project=project, key=f"new{number}", text=f"Row {1000 + number} was {WORDS[project.labels[number % 3]]}.",
        data={}, split="pool", content_sha256=f"{10_000 + number:064x}", group=f"new{number}") for number in range(n)]


@pytest.fixture
def suggest(bob: User, run_jobs: Callable[[], None]) -> Callable[[Project], Job]:
    def run(project: Project) -> Job:
        job = start_suggest(project, by=bob)
        run_jobs()
        job.refresh_from_db()
        assert job.state == Job.State.succeeded, job.error
        return job

    return run


def suggested(by: str) -> dict[str, Any]:
    return dict(Suggestion.objects.filter(by=by).values_list("example__key", "value"))


def right(project: Project, *keys: str) -> dict[str, str]:
    return {key: project.labels[int(key.removeprefix("new")) % 3] for key in keys}


# Who suggests

def test_before_anything_is_scored_nothing_can_suggest(project: Project) -> None:
    with pytest.raises(UserError, match="score them first"):
        best_source(project)


def test_the_probe_suggests_while_there_is_no_verdict(
        project: Project, bob: User, model: FakeModel, suggest: Callable[[Project], Job]) -> None:
    frozen_snapshot(project, maker=bob)
    add_new(project)
    report = QualityReport.objects.get()
    job = suggest(project)
    assert (job.result["by"], job.result["n"]) == (f"probe on {report}", 6)
    assert suggested(f"probe on {report}") == right(project, *(f"new{n}" for n in range(6)))
    assert AuditEvent.objects.filter(what="suggest").get().detail == {"by": f"probe on {report}", "n": 6}


def test_the_probe_is_asked_while_it_beats_the_prompt(judged: Snapshot) -> None:
    assert best_source(judged.project).by.startswith("probe on report")


def test_a_prompt_that_beats_the_probe_suggests_under_its_calibration(
        project: Project, snapshot: Snapshot, bob: User, model: FakeModel, run_jobs: Callable[[], None],
        suggest: Callable[[Project], Job], monkeypatch: pytest.MonkeyPatch) -> None:
    from training.services.baseline import start_baseline

    model.prompt_errs = lambda number: number >= 1000 and number % 2 == 1  # right on the story's rows
    start_baseline(snapshot, by=bob)
    run_jobs()
    monkeypatch.setattr(suggestions, "_beats_probe", lambda verdict: True)
    add_new(project)
    source = best_source(project)
    assert source.by.startswith("prompt, ")
    assert f"(run {source.prompt.pk})" in source.by  # type: ignore[union-attr]
    suggest(project)
    assert suggested(source.by) == {
        f"new{n}": project.labels[(n + n % 2) % 3] for n in range(6)}


def test_a_prompt_of_a_model_that_is_gone_is_not_asked(judged: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "_beats_probe", lambda verdict: True)
    monkeypatch.setattr(suggestions, "_is_embedded", lambda run: False)
    assert best_source(judged.project).by.startswith("probe")


def test_the_champion_suggests_but_not_for_what_it_was_trained_on(
        adapter: Adapter, alice: User, bob: User, suggest: Callable[[Project], Job]) -> None:
    project = adapter.project
    promote(adapter, by=alice, override_reason="for this test")
    add_new(project)
    create_batch(project, Example.objects.filter(project=project, split="pool").values_list("pk", flat=True),
                 title="all", by=bob, overlap=Overlap(1, 0, 1, 1))
    suggest(project)
    assert best_source(project).by == f"adapter {adapter.pk}"
    assert suggested(f"adapter {adapter.pk}") == right(project, *(f"new{n}" for n in range(1, 6))) | {
        "new0": project.labels[1]}  # the fake errs on row 1000


@pytest.mark.parametrize("kind", ["multilabel", "preference", "response", "chat", "extraction", "spans"])
def test_types_without_a_model_are_refused_in_words(kind: str, project: Project) -> None:
    project.task_type = kind
    project.save()
    with pytest.raises(UserError, match=r"No model suggests .* yet"):
        best_source(project)


# For which examples

def test_held_out_and_known_examples_and_those_that_have_answers_are_not_asked_about(
        project: Project, bob: User, model: FakeModel) -> None:
    frozen_snapshot(project, maker=bob)
    new = add_new(project)
    add_known_answer(new[0], "negative", by=bob)
    asked, n_left = to_suggest(project, best_source(project))
    assert ([example.key for example in asked], n_left) == ([f"new{n}" for n in range(1, 6)], 0)


def test_what_waits_in_open_batches_comes_first_in_its_order(
        project: Project, bob: User, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen_snapshot(project, maker=bob)
    new = add_new(project)
    labelled = Example.objects.get(key="e000")
    create_batch(project, [new[4].pk, labelled.pk, new[2].pk], title="some", by=bob, overlap=Overlap(1, 0, 1, 1))
    asked, _ = to_suggest(project, best_source(project))
    assert [example.key for example in asked] == ["new4", "e000", "new2", "new0", "new1", "new3", "new5"]
    monkeypatch.setattr(suggestions, "MOST", 2)
    asked, n_left = to_suggest(project, best_source(project))
    assert ([example.key for example in asked], n_left) == (["new4", "e000"], 1)


def test_an_answered_example_is_suggested_by_a_probe_that_did_not_see_its_label(
        project: Project, bob: User, model: FakeModel, suggest: Callable[[Project], Job]) -> None:
    frozen_snapshot(project, maker=bob)
    wrong = Example.objects.get(key="e000")  # its text is of a negative one
    QualityReport.objects.get().scores.filter(example=wrong).update(label="positive")
    create_batch(project, [wrong.pk], title="again", by=bob, overlap=Overlap(1, 0, 1, 1))
    suggest(project)
    assert Suggestion.objects.get(example=wrong).value == "negative"


def test_a_second_refresh_adds_nothing(
        project: Project, bob: User, model: FakeModel, suggest: Callable[[Project], Job]) -> None:
    frozen_snapshot(project, maker=bob)
    add_new(project)
    suggest(project)
    assert suggest(project).result["n_asked"] == 0
    assert Suggestion.objects.count() == 6


def test_suggestions_are_no_answers(
        project: Project, bob: User, model: FakeModel, suggest: Callable[[Project], Job]) -> None:
    frozen_snapshot(project, maker=bob)
    before = Annotation.objects.count()
    add_new(project)
    suggest(project)
    assert Annotation.objects.count() == before


# By itself

def test_the_tick_refreshes_for_another_batch_or_another_model_and_else_rests(
        project: Project, bob: User, model: FakeModel, run_jobs: Callable[[], None]) -> None:
    frozen_snapshot(project, maker=bob)
    new = add_new(project)
    rules = LabelingRules.objects.create(project=project, shows_suggestions=False)
    create_batch(project, [new[0].pk], title="one", by=bob, overlap=Overlap(1, 0, 1, 1))
    jobs = Job.objects.filter(kind="suggest")
    poll()
    assert not jobs.exists()
    rules.shows_suggestions = True
    rules.save()
    poll()
    poll()
    assert jobs.count() == 1
    run_jobs()
    poll()
    assert jobs.count() == 1
    create_batch(project, [new[1].pk], title="two", by=bob, overlap=Overlap(1, 0, 1, 1))
    poll()
    assert jobs.count() == 2
    run_jobs()
    report = QualityReport.objects.get()
    report.pk, report.job = None, Job.objects.create(project=project, kind="score", title="Scored")
    report.save()
    poll()
    assert jobs.count() == 3


def test_a_failed_refresh_is_not_tried_at_every_tick(
        project: Project, bob: User, model: FakeModel, run_jobs: Callable[[], None],
        monkeypatch: pytest.MonkeyPatch) -> None:
    frozen_snapshot(project, maker=bob)
    new = add_new(project)
    LabelingRules.objects.create(project=project, shows_suggestions=True)
    create_batch(project, [new[0].pk], title="one", by=bob, overlap=Overlap(1, 0, 1, 1))

    def fails(*args: Any) -> None:
        raise UserError("The probe is out.")

    monkeypatch.setattr(suggestions, "probe_answers", fails)
    poll()
    run_jobs()
    poll()
    assert [job.state for job in Job.objects.filter(kind="suggest")] == ["failed"]


def test_the_tick_goes_on_where_a_batch_did_not_fit_into_one_refresh(
        project: Project, bob: User, model: FakeModel, run_jobs: Callable[[], None],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "MOST", 2)
    frozen_snapshot(project, maker=bob)
    new = add_new(project)
    LabelingRules.objects.create(project=project, shows_suggestions=True)
    create_batch(project, [one.pk for one in new], title="six", by=bob, overlap=Overlap(1, 0, 1, 1))
    for _ in range(5):
        poll()
        run_jobs()
    assert Suggestion.objects.count() == 6
    assert Job.objects.filter(kind="suggest").count() == 3


# The button and the command

def test_the_button_queues_a_refresh(
        project: Project, bob: User, model: FakeModel, client_of: Callable[[User], Client]) -> None:
    frozen_snapshot(project, maker=bob)
    response = client_of(bob).post(reverse("training:suggest", args=[project.pk]))
    assert response.headers["Location"] == reverse("labeling:board", args=[project.pk])
    assert Job.objects.get(kind="suggest").requested_by == bob


def test_the_command_says_who_suggests_how_many(
        project: Project, bob: User, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs import services as jobs

    frozen_snapshot(project, maker=bob)
    add_new(project)
    run = jobs.run
    monkeypatch.setattr(jobs, "run", lambda job_id: run(job_id, heartbeat=False))
    out = StringIO()
    call_command("suggest", project.name, stdout=out)
    assert out.getvalue().strip().endswith("suggests a label for 6 of 6 examples.")
    assert Batch.objects.count() == 0
