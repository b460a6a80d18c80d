"""The board's section on suggestions: who is shown one follows it how often."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.test import RequestFactory

from labeling.label_studio import TaskIn
from labeling.models import Assignment, LabelingRules, Suggestion
from labeling.services.suggestions import suggestion_effect, suggestions_of
from labeling.services.trust import add_known_answer
from labeling.task_types.classification import to_result
from projects.models import Project
from tests.fake_label_studio import FakeLabelStudio
from tests.labeling.conftest import Floor


@pytest.fixture
def suggesting(floor: Floor, prefilled: set[str]) -> Floor:
    """Twenty examples, each suggested as neutral, lie on Charlie's desk; about half of the suggestions are shown."""
    LabelingRules.objects.create(project=floor.project, shows_suggestions=True, hidden_share=0.5, honeypot_share=0)
    examples = floor.examples(20)
    for example in examples:
        Suggestion.objects.create(example=example, value="neutral", by="probe on report 1")
    floor.ask(examples)
    floor.sync()
    return floor


@pytest.fixture
def prefilled(server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The keys of the examples that reach Label Studio with a prediction."""
    keys: set[str] = set()
    bring = server.import_tasks

    def import_tasks(ls_project_id: int, tasks: list[TaskIn]) -> list[int]:
        keys.update(task.key for task in tasks if task.prediction is not None)
        return bring(ls_project_id, tasks)

    monkeypatch.setattr(server, "import_tasks", import_tasks)
    return keys


def is_shown(floor: Floor) -> dict[str, bool]:
    return {row.example.key: row.shows_suggestion for row in floor.desk("charlie")}


def test_only_shown_suggestions_prefill_a_task(suggesting: Floor, prefilled: set[str]) -> None:
    shown = is_shown(suggesting)
    assert 0 < sum(shown.values()) < 20
    assert prefilled == {key for key, shows in shown.items() if shows}


def test_answers_are_compared_with_shown_and_with_hidden_suggestions(suggesting: Floor) -> None:
    shown = is_shown(suggesting)
    for row in suggesting.desk("charlie"):
        suggesting.answer("charlie", row.example, "neutral" if shown[row.example.key] else "positive")
    suggesting.sync()
    effect = suggestion_effect(suggesting.project)
    assert effect is not None
    n_shown = sum(shown.values())
    assert (effect.shown.estimate, effect.shown.n) == (1.0, n_shown)
    assert (effect.hidden.estimate, effect.hidden.n) == (0.0, 20 - n_shown)
    assert effect.pull.low > 0
    assert effect.saved is not None
    assert effect.saved.estimate == 0  # the fake's people take 7 s for everything


def test_a_changed_answer_counts_as_it_stands_and_a_skip_not_at_all(
        suggesting: Floor, server: FakeLabelStudio) -> None:
    first, second, *_ = suggesting.desk("charlie")
    answer = suggesting.answer("charlie", first.example, "neutral")
    suggesting.answer("charlie", second.example, skips=True)
    suggesting.sync()
    server.change_annotation(first.ls_task_id or 0, answer, to_result("negative"))
    suggesting.sync()
    effect = suggestion_effect(suggesting.project)
    assert effect is not None
    assert effect.shown.n + effect.hidden.n == 1
    assert max(effect.shown.estimate if effect.shown.n else 0, effect.hidden.estimate if effect.hidden.n else 0) == 0


def test_held_out_and_known_examples_never_carry_a_suggestion(floor: Floor, bob: User, prefilled: set[str]) -> None:
    LabelingRules.objects.create(project=floor.project, shows_suggestions=True, hidden_share=0, honeypot_share=0.5)
    held_out, known = floor.examples(2, split="test", prefix="t"), floor.examples(3, prefix="k")
    pool = floor.examples(6)
    for example in known:
        add_known_answer(example, "neutral", by=bob)
    for example in (*held_out, *known, *pool):
        Suggestion.objects.create(example=example, value="neutral", by="probe on report 1")
    floor.ask([*held_out, *pool])
    floor.sync()
    assert Assignment.objects.filter(purpose=Assignment.Purpose.honeypot).exists()
    assert prefilled == {example.key for example in pool}


def test_without_answers_there_is_no_effect(suggesting: Floor) -> None:
    assert suggestion_effect(suggesting.project) is None


def section(project: Project) -> str:
    request: Any = RequestFactory().get("/")
    request.project = project
    return render_to_string("labeling/_suggestions.html", {"suggestions": suggestions_of(project)}, request=request)


def test_the_section_says_what_was_found(suggesting: Floor) -> None:
    assert "No answer with a suggestion has come back yet." in section(suggesting.project)
    for row in suggesting.desk("charlie"):
        suggesting.answer("charlie", row.example, "neutral")
    suggesting.sync()
    drawn = section(suggesting.project)
    assert "No pull can be shown yet" in drawn
    assert "Kept back" in drawn
    assert "Refresh suggestions" in drawn


def test_the_section_costs_few_queries(suggesting: Floor, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(5):
        suggestions_of(suggesting.project)


def test_where_nothing_was_ever_suggested_the_section_is_left_out(
        floor: Floor, run_jobs: Callable[[], None]) -> None:
    assert not suggestions_of(floor.project).is_shown
