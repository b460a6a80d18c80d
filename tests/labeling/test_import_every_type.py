"""Examples and labels of every task type come in from CSV and JSON Lines, checked by the type and stored canonical."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.models import Job
from labeling.models import Annotation, Example, Upload
from labeling.reading import FIELDS, Mapping
from labeling.services.imports import receive_upload, start_import
from labeling.task_types import task_type
from projects.models import Project
from projects.schema import METRICS, TASK_TYPES
from projects.services import create_project

Make = Callable[..., Project]

LABELS = {"labels": [{"name": "billing"}, {"name": "refund; cash"}, {"name": "other"}]}
PLACES = {"labels": [{"name": "PLACE"}, {"name": "PERSON"}]}
CONTRACT = {"json_schema": {"type": "object", "properties": {
    "parties": {"type": "array", "items": {"type": "string"}}, "date": {"type": "string"}}, "required": ["parties"]}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "classification": LABELS, "multilabel": LABELS, "spans": PLACES, "extraction": CONTRACT, "response": {},
    "chat": {"max_chars": 20}, "preference": {}}
TURNS = [{"role": "user", "content": "Where is Ada?"}]
ADA = "Ada is in London."  # Ada: 0–3, London: 10–16
LONDON = {"start": 10, "end": 16, "label": "PLACE"}

# Type → what an example has beside its text, a label as a CSV cell, natively in JSON, and as it is stored.
CASES: dict[str, tuple[dict[str, Any], str, Any, Any]] = {
    "classification": ({}, " billing ", "billing", "billing"),
    "multilabel": ({}, "refund; cash", ["other", "billing"], None),
    "response": ({}, " In London.\r\n", "In London.", "In London."),
    "extraction": ({}, '{"date": null, "parties": ["b", "a"]}', {"parties": ["a", "b"]}, {"parties": ["a", "b"]}),
    "preference": ({"left": "London", "right": "Rome"}, "left", "left", "left"),
    "spans": ({}, json.dumps([LONDON | {"text": "London"}]), [LONDON], [LONDON]),
    "chat": ({"messages": TURNS}, "In London.", "In London.", "In London."),
}


@pytest.fixture
def make(alice: User) -> Make:
    def project(kind: str, **more: Any) -> Project:
        return create_project(name=f"A {kind}", task_type=kind, schema=SCHEMAS[kind], instructions="", target_value=0.8,
                              created_by=alice, split_salt="tests", **more)

    return project


@pytest.fixture
def give(alice: User) -> Callable[..., Upload]:
    def receive(project: Project, rows: list[dict[str, Any]], *, name: str = "x.jsonl", kind: str = "examples",
                **more: Any) -> Upload:
        content = as_csv(rows) if name.endswith("csv") else "\n".join(map(json.dumps, rows)).encode()
        return receive_upload(project, io.BytesIO(content), name=name, kind=kind, by=alice, **more)

    return receive


@pytest.fixture
def bring(give: Callable[..., Upload], alice: User, run_jobs: Callable[[], None]) -> Callable[..., dict[str, Any]]:
    def receive_and_import(*args: Any, **more: Any) -> dict[str, Any]:
        upload = give(*args, **more)
        job = start_import(upload, by=alice)
        run_jobs()
        job.refresh_from_db()
        assert job.state == Job.State.succeeded, job.error
        return dict(job.result)

    return receive_and_import


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(rows[0])
    writer.writerows([cell if isinstance(cell, str) else json.dumps(cell) for cell in row.values()] for row in rows)
    return out.getvalue().encode()


def labels() -> list[Any]:
    return list(Annotation.objects.order_by("pk").values_list("value", flat=True))


# Good files

@pytest.mark.parametrize("kind", TASK_TYPES)
def test_examples_come_with_their_labels(kind: str, make: Make, bring: Any) -> None:
    data, cell, native, stored = CASES[kind]
    project = make(kind)
    for number, (name, label) in enumerate((("x.csv", cell), ("x.jsonl", native))):
        row = {"id": f"e{number}", "text": f"{ADA}{' ' * number}", **data, "label": label, "channel": "mail"}
        assert bring(project, [row], name=name) == {"n_examples": 1, "n_annotations": 1}
        example = Example.objects.get(key=f"e{number}")
        assert (example.text, example.data) == (row["text"], {"channel": "mail", **data})
    wanted = [["refund; cash"], ["billing", "other"]] if kind == "multilabel" else [stored, stored]
    assert labels() == wanted
    for value in labels():
        task_type(kind).validate_value(value, project.schema, text=ADA)
        assert task_type(kind).canonical(value) == value


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_labels_come_by_key_and_the_same_again_is_no_news(kind: str, make: Make, bring: Any) -> None:
    data, cell, native, _ = CASES[kind]
    project = make(kind)
    bring(project, [{"id": "a", "text": ADA, **data}])
    native = ["refund; cash"] if kind == "multilabel" else native
    for name, label, n_new in (("x.csv", cell, 1), ("x.jsonl", native, 0)):
        found = bring(project, [{"id": "a", "annotator": "ann", "label": label, "seconds": "12.5"}], name=name,
                      kind="annotations")
        assert found == {"n_examples": 0, "n_annotations": n_new}
    [annotation] = Annotation.objects.all()
    assert (annotation.seconds, annotation.cost, annotation.source) == (12.5, None, "file")


@pytest.mark.parametrize(("cell", "value"), [
    ("billing", ["billing"]), ("other; billing", ["billing", "other"]), ("refund; cash", ["refund; cash"]),
    ('["refund; cash", "billing"]', ["billing", "refund; cash"]), (" other ;", ["other"])])
def test_several_labels_are_a_json_list_or_stand_between_semicolons(
        cell: str, value: list[str], make: Make, bring: Any) -> None:
    bring(make("multilabel"), [{"id": "a", "text": ADA, "label": cell}], name="x.csv")
    assert labels() == [value]


def test_nothing_to_mark_is_a_label_and_an_empty_cell_is_none(make: Make, bring: Any) -> None:
    project = make("spans")
    assert bring(project, [{"id": "a", "text": ADA, "label": "[]"}, {"id": "b", "text": ADA, "label": ""}],
                 name="x.csv") == {"n_examples": 2, "n_annotations": 1}
    assert labels() == [[]]


def test_what_a_type_asks_about_may_stand_in_columns_of_any_name(make: Make, bring: Any) -> None:
    mapping = Mapping("question", left_column="gpt", right_column="ours", label_column="better")
    bring(make("preference"), [{"question": "Where?", "gpt": "Rome", "ours": "London", "better": "right"}],
          name="x.csv", mapping=mapping)
    assert Example.objects.get().data == {"left": "Rome", "right": "London"}
    assert labels() == ["right"]


def test_the_columns_of_a_type_are_found_by_their_names(make: Make, give: Any) -> None:
    upload = give(make("preference"), [{"prompt": "Where?", "answer_a": "Rome", "answer_b": "London", "winner": "tie"}])
    assert (upload.n_good, upload.mapping["left_column"], upload.mapping["label_column"]) == (1, "answer_a", "winner")


# Chats

def test_a_chat_has_its_messages_for_a_text_where_no_column_is_given(make: Make, bring: Any) -> None:
    turns = [{"role": "system", "content": "Be short."}, *TURNS]
    bring(make("chat"), [{"id": "a", "messages": turns}])
    example = Example.objects.get()
    assert (example.text, example.data) == ("system: Be short.\n\nuser: Where is Ada?", {"messages": turns})


def test_the_answer_that_ends_a_chat_is_its_label(make: Make, bring: Any) -> None:
    turns = [*TURNS, {"role": "assistant", "content": " In London. "}]
    assert bring(make("chat"), [{"messages": turns}]) == {"n_examples": 1, "n_annotations": 1}
    assert Example.objects.get().data == {"messages": TURNS}
    assert labels() == ["In London."]


def test_a_chat_that_ends_with_an_answer_and_has_a_label_column_too_is_bad(make: Make, give: Any) -> None:
    turns = [*TURNS, {"role": "assistant", "content": "In London."}]
    upload = give(make("chat"), [{"messages": turns, "label": "In Rome."}])
    assert upload.bad_rows == [[1, "The last message is the assistant's. A chat ends with a user's turn, which the "
                                   "answer follows. Correct it or remove the row."]]


# One content is one example

@pytest.mark.parametrize(("kind", "first", "second"), [
    ("preference", {"left": "Rome", "right": "London"}, {"left": "Rome", "right": "Paris"}),
    ("chat", {"messages": TURNS}, {"messages": [TURNS[0], {"role": "assistant", "content": "?"}, *TURNS]})])
def test_one_text_with_other_data_is_another_example(
        kind: str, first: dict[str, Any], second: dict[str, Any], make: Make, bring: Any, give: Any) -> None:
    project = make(kind)
    rows = [{"text": "Where?", **first}, {"text": "Where?", **second}]
    assert bring(project, rows)["n_examples"] == 2
    assert bring(project, rows)["n_examples"] == 0, "the same file again adds nothing"
    bring(project, [{"id": "a", "text": "Where?", **first}])
    upload = give(project, [{"id": "a", "text": "Where?", **first}, {"id": "b", "text": "Where?", **first}])
    assert upload.n_bad == 0
    upload = give(project, [{"id": "a", "text": "Where?", **second}])
    assert upload.n_bad == 1 and "“a” belongs to another" in upload.bad_rows[0][1]


# Bad rows: line, reason, fix

BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "no left answer": ("preference", {"right": "Rome", "label": "left"},
                       "“left” is empty, where an answer should be. Fill it in or remove the row."),
    "twice the same answer": ("preference", {"left": "Rome", "right": " Rome"},
                              "same answer. A comparison needs two different ones. Correct it"),
    "no side": ("preference", {"left": "Rome", "right": "London", "label": "lefft"}, "Did you mean “left”?"),
    "no messages": ("chat", {"messages": ""}, "A chat needs “messages”, a list"),
    "messages that are no JSON": ("chat", {"messages": "[{]"}, "This is not JSON"),
    "messages without a role": ("chat", {"messages": [{"content": "hi"}]}, "Message 1 needs a “role”"),
    "an answer that is too long": ("chat", {"messages": TURNS, "label": "x" * 21},
                                   "has 21 characters; at most 20 are allowed. Correct it or remove the row."),
    "an unknown label among several": ("multilabel", {"label": "billing; othr"}, "“othr” is none of the project's "
                                       "labels. Did you mean “other”?"),
    "a label twice": ("multilabel", {"label": "other; other"}, "a label was chosen twice"),
    "no label in a list": ("multilabel", {"label": "[]"}, "no label was chosen"),
    "an object that is no JSON": ("extraction", {"label": "{parties: []}"}, "Write it as {\"field\": \"value\"}."),
    "a list for an object": ("extraction", {"label": "[1]"}, "is not of type 'object'"),
    "a field that is missing": ("extraction", {"label": '{"date": "2024"}'}, "'parties' is a required property"),
    "a field of another type": ("extraction", {"label": '{"parties": "a"}'}, "“parties”: 'a' is not of type 'array'"),
    "NaN in an object": ("extraction", {"label": '{"parties": NaN}'}, "NaN is not a JSON number"),
    "a span beyond the text": ("spans", {"label": '[{"start": 0, "end": 99, "label": "PLACE"}]'}, "ends after the"),
    "a span of other words": ("spans", {"label": '[{"start": 9, "end": 15, "label": "PLACE", "text": "London"}]'},
                              "said to be 'London', but ' Londo' stands there. Count characters"),
    "a span without an end": ("spans", {"label": '[{"start": 0, "label": "PLACE"}]'}, "start, end and label"),
    "a span with an unknown label": ("spans", {"label": '[{"start": 0, "end": 3, "label": "PLAC"}]'},
                                     "Did you mean “PLACE”?"),
    "a span that is a word": ("spans", {"label": '["London"]'}, "none of the project's labels"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_of_any_type_is_named_with_its_line_and_what_to_do(name: str, make: Make, give: Any) -> None:
    kind, values, words = BAD[name]
    good = {"id": "good", "text": ADA, **dict.fromkeys(values, ""), **CASES[kind][0], "label": ""}
    bad = {**good, "id": "bad", **dict.fromkeys(CASES[kind][0], ""), **values}
    upload = give(make(kind), [good, bad], name="x.csv")
    assert (upload.n_good, upload.n_bad, upload.bad_rows[0][0]) == (1, 1, 3)
    assert words in upload.bad_rows[0][1]
    assert not Example.objects.exists()


@pytest.mark.parametrize(("label", "words"), [
    ([{"start": 0, "end": 99, "label": "PLACE"}], "ends after the text, which has 17 characters"),
    ([{"start": 3, "end": 4, "label": "PLACE"}], "only white space"),
    ([LONDON | {"text": "Rome"}], "said to be 'Rome', but 'London' stands there")])
def test_spans_that_come_by_key_are_held_against_the_text_too(
        label: list[Any], words: str, make: Make, bring: Any, give: Any) -> None:
    project = make("spans")
    bring(project, [{"id": "a", "text": ADA}])
    rows = [{"id": "a", "annotator": "x", "label": [LONDON]}, {"id": "a", "annotator": "y", "label": label}]
    upload = give(project, rows, kind="annotations")
    assert upload.bad_rows[0][0] == 2 and words in upload.bad_rows[0][1]


@pytest.mark.parametrize(("column", "cell", "words"), [
    ("seconds", "-1", "“-1” is no number of seconds"), ("seconds", "nan", "is no number of seconds"),
    ("cost", "0,05", "“0,05” is no cost"), ("cost", "-1", "is no cost"), ("cost", "0.00001", "at most four decimals"),
    ("cost", "1e9", "is no cost"), ("cost", "NaN", "is no cost")])
def test_seconds_and_costs_are_numbers(column: str, cell: str, words: str, make: Make, bring: Any, give: Any) -> None:
    project = make("response")
    bring(project, [{"id": "a", "text": ADA}])
    upload = give(project, [{"id": "a", "label": "x", column: cell}], name="x.csv", kind="annotations")
    assert words in upload.bad_rows[0][1]


def test_a_column_of_the_name_of_a_field_that_another_column_was_chosen_for_is_bad(make: Make, give: Any) -> None:
    upload = give(make("preference"), [{"text": "Where?", "left": "a", "l": "b", "right": "c"}],
                  mapping=Mapping("text", left_column="l", right_column="right"))
    assert "there is a “left” beside “l”" in upload.bad_rows[0][1]


# The tables here and in the task types say the same

def test_every_type_has_a_case_and_a_metric() -> None:
    assert set(CASES) == set(SCHEMAS) == set(TASK_TYPES) == set(METRICS)


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_the_metric_of_a_type_is_the_first_that_it_scores(kind: str) -> None:
    value = ["billing"] if kind == "multilabel" else CASES[kind][3]
    assert task_type(kind).score([value], [value]).primary == METRICS[kind]
    assert METRICS[kind] in Project.Metric.values


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_what_a_type_shows_is_what_the_import_reads(kind: str) -> None:
    shown = task_type(kind).task_data(ADA, CASES[kind][0])
    assert set(shown) == {"text", *FIELDS.get(kind, ())}
