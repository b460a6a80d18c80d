"""A JSON export of Label Studio, or any JSON list, comes in: task by task, answers, skips, predictions, keys."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from jobs.models import Job
from labeling.models import Annotation, Example, Suggestion, Upload
from labeling.reading import BadRow, FileRefused, Mapping, read_rows, sniff
from labeling.reading.lists import Objects
from labeling.services.imports import receive_upload, start_import
from labeling.task_types import task_type
from projects.models import Project
from projects.services import create_project
from tests.labeling.test_import_every_type import ADA, CASES, SCHEMAS


def choice(label: str, control: str = "label") -> list[dict[str, Any]]:
    return [{"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": [label]}}]


def annotation(result: list[dict[str, Any]], by: Any = 7, **more: Any) -> dict[str, Any]:
    return {"id": 1, "result": result, "completed_by": by, "was_cancelled": False, "lead_time": 4.5,
            "updated_at": "2026-01-01T00:00:00Z", **more}


def task(number: int, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"text": f"text {number}", "channel": "mail"}, "annotations": list(annotations),
            "predictions": [], "meta": {}, "inner_id": number, **more}


@pytest.fixture
def give(project: Project, bob: User) -> Callable[..., Upload]:
    def receive(tasks: Any, kind: str = "examples", to: Project | None = None, **more: Any) -> Upload:
        content = tasks if isinstance(tasks, bytes) else json.dumps(tasks, indent=2).encode()
        return receive_upload(to or project, io.BytesIO(content), name="export.json", kind=kind, by=bob, **more)

    return receive


@pytest.fixture
def bring(give: Callable[..., Upload], bob: User, run_jobs: Callable[[], None]) -> Callable[..., dict[str, Any]]:
    def receive_and_import(tasks: Any, *, skip_bad: bool = False, **more: Any) -> dict[str, Any]:
        job = start_import(give(tasks, **more), by=bob, skip_bad=skip_bad)
        run_jobs()
        job.refresh_from_db()
        assert job.state == Job.State.succeeded, job.error
        return dict(job.result)

    return receive_and_import


def ledger() -> list[tuple[str, str, Any]]:
    return list(Annotation.objects.order_by("pk").values_list("example__key", "annotator__name", "value"))


# Tasks

def test_a_task_is_an_example_and_each_of_its_annotations_a_label(bring: Any) -> None:
    found = bring([task(1, annotation(choice("negative")), annotation(choice("neutral"), {"email": "ada@example.org"})),
                   task(2)])
    assert found == {"n_examples": 2, "n_annotations": 2, "n_suggestions": 0}
    assert ledger() == [("1", "label-studio-7", "negative"), ("1", "ada@example.org", "neutral")]
    assert list(Example.objects.values_list("key", "text", "data")) == [
        ("1", "text 1", {"channel": "mail"}), ("2", "text 2", {"channel": "mail"})]
    assert Annotation.objects.first().seconds == 4.5  # type: ignore[union-attr]


def test_the_same_export_twice_adds_nothing(bring: Any) -> None:
    tasks = [task(1, annotation(choice("negative")), predictions=[
        {"result": choice("positive"), "model_version": "probe"}])]
    bring(tasks)
    assert bring(tasks) == {"n_examples": 0, "n_annotations": 0, "n_suggestions": 0}


def test_the_key_is_goldpans_own_where_the_task_has_it(bring: Any) -> None:
    bring([task(1, meta={"goldpan": {"external_id": "ticket-9"}}), task(2, meta=None)])
    assert list(Example.objects.values_list("key", flat=True)) == ["ticket-9", "2"]


def test_a_field_can_be_chosen_for_the_key(bring: Any, give: Any, project: Project) -> None:
    tasks = [task(1, data={"text": "a", "nr": "x1"})]
    assert give(tasks).mapping["key_column"] is None
    bring(tasks, mapping=Mapping("text", key_column="nr"))
    assert Example.objects.get().key == "x1"


def test_what_was_skipped_is_passed_over_and_of_two_answers_by_one_person_the_later_counts(bring: Any) -> None:
    bring([task(1, annotation([], was_cancelled=True), annotation(choice("neutral"), 8, updated_at="2026-01-03"),
                annotation(choice("negative"), 8, updated_at="2026-01-02"))])
    assert ledger() == [("1", "label-studio-8", "neutral")]


def test_an_answer_of_a_deleted_account_keeps_its_label(bring: Any) -> None:
    bring([task(1, annotation(choice("neutral"), None))])
    assert ledger() == [("1", "given", "neutral")]


def test_predictions_are_suggestions_and_no_labels(bring: Any) -> None:
    found = bring([task(1, predictions=[{"result": choice("positive"), "model_version": "probe 3"}])])
    assert found == {"n_examples": 1, "n_annotations": 0, "n_suggestions": 1}
    suggestion = Suggestion.objects.get()
    assert (suggestion.value, suggestion.by, ledger()) == ("positive", "probe 3", [])


def test_labels_alone_come_in_by_key_and_unlabelled_tasks_are_passed_over(bring: Any) -> None:
    bring([task(1), task(2)])
    assert bring([task(1, annotation(choice("neutral"))), task(2)], kind="annotations")["n_annotations"] == 1
    assert ledger() == [("1", "label-studio-7", "neutral")]


def test_the_only_control_of_the_right_kind_is_the_one_that_asks(bring: Any) -> None:
    bring([task(1, annotation([*choice("negative", "sentiment"), {"type": "rating", "value": {"rating": 3}}]))])
    assert ledger() == [("1", "label-studio-7", "negative")]


@pytest.mark.parametrize("kind", CASES)
def test_answers_of_every_type_come_home(kind: str, bring: Any, alice: User) -> None:
    data, value = CASES[kind][0], ["billing"] if kind == "multilabel" else CASES[kind][3]
    project = create_project(name=f"A {kind}", task_type=kind, schema=SCHEMAS[kind], instructions="", target_value=0.8,
                             created_by=alice)
    result = task_type(kind).to_result(value)
    found = bring([task(1, annotation(result), data={"text": ADA, **data})], to=project)
    assert found["n_annotations"] == 1 and [label for _, _, label in ledger()] == [value]


def test_a_pairwise_choice_is_a_preference(bring: Any, alice: User) -> None:
    project = create_project(name="Pairs", task_type="preference", instructions="", target_value=0.8, created_by=alice)
    pairwise = [{"from_name": "pref", "to_name": "pref", "type": "pairwise", "value": {"selected": "right"}}]
    bring([task(1, annotation(pairwise), data={"text": "Where?", "left": "a", "right": "b"})], to=project)
    assert ledger() == [("1", "label-studio-7", "right")]


BAD = {
    "an unknown label": (task(2, annotation(choice("negativ"))), "“negativ” is none of the project's labels. Did you"),
    "two controls": (task(2, annotation([*choice("negative", "a"), *choice("neutral", "b")])), "several controls"),
    "no choice": (task(2, annotation([])), "an answer of task “2” cannot be read: no label was chosen. Correct it"),
    "no text": (task(2, data={"text": ""}), "the text is empty"),
    "no data": ({"id": 2, "annotations": []}, "the task has no “data”"),
    "annotations that are no list": (task(2) | {"annotations": 3}, "“annotations” of the task is no list"),
    "a task twice": (task(1), "the key “1” is on line 2 already"),
    "no key": (task(2) | {"id": None}, "the task has no key"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_task_is_named_with_the_line_on_which_it_begins(name: str, give: Any) -> None:
    bad, words = BAD[name]
    content = b"[\n" + json.dumps(task(1)).encode() + b",\n" + json.dumps(bad).encode() + b"\n]\n"
    upload = give(content)
    assert (upload.format, upload.n_good, upload.n_bad, upload.bad_rows[0][0]) == ("ls-json", 1, 1, 3)
    assert words in upload.bad_rows[0][1]


def test_the_good_answers_of_a_task_with_a_bad_one_can_be_taken(bring: Any) -> None:
    bring([task(1, annotation(choice("nonsense")), annotation(choice("neutral"), 8))], skip_bad=True)
    assert ledger() == [("1", "label-studio-8", "neutral")]


# Lists of plain objects

def test_a_json_list_is_read_as_json_lines_are(bring: Any) -> None:
    assert bring([{"id": "a", "text": "It broke.", "label": "negative"}, {"id": "b", "text": "It works."}]) == {
        "n_examples": 2, "n_annotations": 1}


@pytest.mark.parametrize(("content", "words"), [
    (b"[]", "is an empty list. Choose a file"), (b"[ \n", "an object was expected"), (b"[1]", "an object was expected"),
    (b'[{"text": "a"}', "a comma or ] was expected on line 1"), (b'[{"text": "a"},]', "an object was expected"),
    (b'[{"text": "a"}\n{"text": "b"}]', "a comma or ] was expected on line 2"),
    (b'[{"text": "a"}]\n[', "nothing was expected behind the list on line 2"),
    (b'[{"text": "a"},\n\n{"text": }]', "Expecting value on line 3"),
    (b'[{"a":' + b"[" * 100_000, "too deeply|JSON list"),
    (b'[{"text": "caf\xe9"}]', "byte 14, on line 1, is 0xe9"),
    (b'[{"text": "a"},\n{"text": "\xe2\x82', "not UTF-8: byte"),
    (b'[{"text": "' + b"x" * 9_000_000 + b'"}]', "not closed within 4,000,000 characters")])
def test_a_list_that_breaks_is_refused_whole_with_the_line(content: bytes, words: str, tmp_path: Any) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(FileRefused, match=words):
        sniffed = sniff(path)
        list(read_rows(path, format=sniffed.format, mapping=sniffed.mapping, kind="examples", schema=SCHEMAS["spans"]))


@pytest.mark.parametrize(("bad", "words"), [
    (b'{"text": "a", "text": "b"}', "'text' stands twice"), (b'{"text": NaN}', "NaN is not a JSON number"),
    (b'{"text": "\\ud800"}', "half of a surrogate pair"), (b'{"text": "a\\u0000"}', "holds U\\+0000"),
    (b'{"text": ""}', "the text is empty"), (b'{"body": "a"}', "there is no “text” among: body")])
def test_an_object_that_cannot_be_used_spoils_no_other(bad: bytes, words: str, tmp_path: Any) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf[{"text": "a"},\n' + bad + b',\r\n{"text": "c"}]')
    sniffed = sniff(path)
    first, second, third = read_rows(path, format="json", mapping=sniffed.mapping, kind="examples",
                                     schema=SCHEMAS["spans"])
    assert (first.line, third.line) == (1, 3) and isinstance(second, BadRow)
    assert second.line == 2 and second.raw == bad.decode()
    assert re.search(words, second.reason)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(st.lists(st.dictionaries(TEXTS, TEXTS | st.integers(0, 9), max_size=3), max_size=8),
       st.integers(1, 40), st.sampled_from([None, 1]))
def test_a_list_gives_its_objects_however_it_is_cut_into_blocks(
        objects: list[Any], block: int, indent: int | None) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(block if size and size > 0 else size)

    content = json.dumps(objects, ensure_ascii=False, indent=indent).encode()
    _, *found = Objects(Slow(content)).records()
    assert [values for _, values in found] == objects
