"""A batch goes to an outside company as a file and comes back as one, graded like anybody else's answers."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from jobs.models import Job
from labeling.models import Annotation, Annotator, Assignment, Batch, Example, LabelingRules, Upload
from labeling.services.batches import Overlap, create_batch, progress_of, set_batch_state
from labeling.services.desks import annotators_at_work
from labeling.services.imports import start_import
from labeling.services.trust import add_known_answer, results
from labeling.services.vendors import export_batch, receive_vendor_answers
from projects.errors import UserError
from projects.models import AuditEvent, Project
from projects.services import create_project


def examples(project: Project, n: int, prefix: str, **more: Any) -> list[Example]:
    values = {"split": "pool", "data": {}} | more
    return [Example.objects.create(project=project, key=f"{prefix}{number}", text=f"text {prefix}{number}",
                                   content_sha256=f"{number:064x}", group=f"{prefix}{number}", **values)
            for number in range(n)]


def ask(project: Project, by: User, chosen: list[Example], n: int = 1, at_most: int | None = None,
        vendor: str = "acme") -> Batch:
    return create_batch(project, [example.pk for example in chosen], title="out", by=by, vendor=vendor,
                        overlap=Overlap(n, 0, n, at_most or n))


@pytest.fixture
def known(project: Project, bob: User) -> list[Example]:
    """Ten examples whose answer, negative, is known."""
    found = examples(project, 10, "known")
    for example in found:
        add_known_answer(example, "negative", by=bob)
    LabelingRules.objects.create(project=project, honeypot_share=0.5)
    return found


@pytest.fixture
def batch(project: Project, bob: User) -> Batch:
    return ask(project, bob, examples(project, 4, "e"))


@pytest.fixture
def give(bob: User) -> Callable[..., Upload]:
    def receive(batch: Batch, *rows: tuple[Any, ...], header: str = "key,annotator,label,seconds,cost") -> Upload:
        out = io.StringIO()
        csv.writer(out).writerows([header.split(","), *rows])
        return receive_vendor_answers(batch, io.BytesIO(out.getvalue().encode()), name="answers.csv", by=bob)

    return receive


@pytest.fixture
def bring(give: Callable[..., Upload], bob: User, run_jobs: Callable[[], None]) -> Callable[..., Job]:
    def receive_and_import(batch: Batch, *rows: tuple[Any, ...]) -> Job:
        job = start_import(give(batch, *rows), by=bob)
        run_jobs()
        job.refresh_from_db()
        assert job.state == Job.State.succeeded, job.error
        return job

    return receive_and_import


def sent(batch: Batch) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in map(json.loads, export_batch(batch, "jsonl").splitlines())}


def reasons(upload: Upload) -> list[str]:
    return [reason for _, reason in upload.bad_rows]


# Out

def test_the_file_says_all_that_is_needed_to_answer_and_nothing_of_what_others_said(
        project: Project, batch: Batch) -> None:
    e0 = Example.objects.get(key="e0")
    Annotation.objects.create(example=e0, annotator=Annotator.objects.create(project=project, name="ann"),
                              value="positive", source="file", instructions_version=1, created_at=batch.created_at)
    rows = sent(batch)
    assert set(rows) == {"e0", "e1", "e2", "e3"}
    assert rows["e0"] == {
        "key": "e0", "text": "text e0", "task_type": "classification",
        "allowed_labels": ["negative", "neutral", "positive"], "schema": project.schema, "guideline": "Say the mood.",
        "guideline_version": 1, "n_annotators": 1}
    event = AuditEvent.objects.filter(what="export_batch").get()
    assert event.detail == {"batch": 1, "vendor": "acme", "format": "jsonl", "n_examples": 4}


def test_csv_has_the_same_rows_in_the_same_order(batch: Batch) -> None:
    table = list(csv.DictReader(io.StringIO(export_batch(batch, "csv").decode())))
    assert [row["key"] for row in table] == list(sent(batch))
    assert json.loads(table[0]["allowed_labels"]) == ["negative", "neutral", "positive"]


def test_known_answers_are_mixed_in_and_look_like_every_other_row(
        project: Project, batch: Batch, known: list[Example]) -> None:
    rows = sent(batch)
    assert len(rows) == 6, "four, and half as many known ones"
    assert rows.keys() - {"e0", "e1", "e2", "e3"} <= {example.key for example in known}
    assert len({tuple(row) for row in rows.values()}) == 1, "every row has the same fields"
    assert {row["n_annotators"] for row in rows.values()} == {1}
    assert sent(batch) == rows, "asked for twice it is the same file"
    assert list(rows)[-2:] != [key for key in rows if key.startswith("known")], "they do not stand at the end"


def test_held_out_examples_ask_for_three_people_and_are_no_honeypots(project: Project, bob: User) -> None:
    batch = ask(project, bob, [*examples(project, 1, "pool"), *examples(project, 1, "test", split="test")])
    assert {key: row["n_annotators"] for key, row in sent(batch).items()} == {"pool0": 1, "test0": 3}


def test_only_what_is_still_wanted_goes_out_again(project: Project, bob: User, bring: Any) -> None:
    batch = ask(project, bob, examples(project, 2, "e"), n=2)
    bring(batch, ("e0", "p1", "neutral", "", ""), ("e1", "p1", "neutral", "", ""), ("e1", "p2", "neutral", "", ""))
    assert {key: row["n_annotators"] for key, row in sent(batch).items()} == {"e0": 1}
    bring(batch, ("e0", "p2", "neutral", "", ""))
    with pytest.raises(UserError, match="Everything that Batch 1: out asks for is answered"):
        export_batch(batch, "jsonl")


def test_a_known_answer_that_the_vendor_has_seen_is_not_sent_again(
        project: Project, batch: Batch, known: list[Example], bring: Any) -> None:
    first = [key for key in sent(batch) if key.startswith("known")]
    bring(batch, *((key, "p1", "negative", "", "") for key in first))
    assert not set(first) & sent(batch).keys()


def test_what_a_type_shows_beside_the_text_goes_out_too(alice: User) -> None:
    project = create_project(name="Pairs", task_type="preference", instructions="", target_value=0.8, created_by=alice)
    batch = ask(project, alice, examples(project, 1, "e", data={"left": "a", "right": "b", "secret": "x"}))
    row = sent(batch)["e0"]
    assert (row["left"], row["right"], row["allowed_labels"]) == ("a", "b", ["left", "right", "tie"])
    assert "secret" not in row


def test_what_cannot_go_out_is_refused_in_words(project: Project, batch: Batch, alice: User, bob: User) -> None:
    with pytest.raises(UserError, match="formats are jsonl and csv; got “xml”"):
        export_batch(batch, "xml")
    with pytest.raises(UserError, match="Batch 2: out is labelled on desks"):
        export_batch(ask(project, bob, examples(project, 1, "desk"), vendor=""), "jsonl")
    spans = create_project(name="Spans", task_type="spans", schema={"labels": [{"name": "A"}]}, instructions="",
                           target_value=0.8, created_by=alice)
    with pytest.raises(UserError, match="Take JSONL"):
        export_batch(ask(spans, alice, examples(spans, 1, "e")), "csv")
    set_batch_state(batch, "closed", by=bob)
    with pytest.raises(UserError, match="closed"):
        export_batch(batch, "jsonl")


# Back

def test_answers_come_back_with_their_person_cost_and_time_and_count(
        project: Project, batch: Batch, bring: Any) -> None:
    job = bring(batch, ("e0", "p1", "neutral", "7.5", "0.05"), ("e1", "p2", "positive", "", "0.1250"))
    assert job.result == {"n_examples": 0, "n_annotations": 2}
    first, second = Annotation.objects.order_by("pk").select_related("annotator")
    assert (first.annotator.name, first.annotator.vendor, first.value) == ("acme/p1", "acme", "neutral")
    assert (first.seconds, first.cost, second.cost, first.source) == (7.5, Decimal("0.05"), Decimal("0.1250"), "file")
    progress = progress_of(batch)
    assert (progress.n_examples, progress.n_done, progress.n_answered, progress.n_open) == (4, 2, 2, 0)
    assert list(batch.items.order_by("pk").values_list("n_taken", flat=True)) == [1, 1, 0, 0]
    assert annotators_at_work(project)[0].name == "charlie" and len(annotators_at_work(project)) == 1
    event = AuditEvent.objects.filter(what="import").get()
    assert (event.detail["batch"], event.detail["vendor"]) == (1, "acme")


def test_a_vendors_people_are_graded_by_known_answers_like_anybody(
        project: Project, batch: Batch, known: list[Example], bring: Any) -> None:
    bring(batch, *((example.key, "good", "negative", "", "") for example in known),
          *((example.key, "bad", "positive", "", "") for example in known), ("e0", "bad", "positive", "", ""))
    good, bad = (Annotator.objects.get(name=f"acme/{name}") for name in ("good", "bad"))
    assert (results(good, "honeypot").n_right, results(good, "honeypot").n) == (10, 10)
    assert (results(bad, "honeypot").n_right, results(bad, "honeypot").n) == (0, 10)
    assert good.paused_at is None and "0 of 10 known answers right" in bad.paused_because
    assert sent(batch)["e0"]["n_annotators"] == 1, "somebody else is asked for what they answered"


def test_one_more_is_asked_where_a_vendors_people_differ(project: Project, bob: User, bring: Any) -> None:
    batch = ask(project, bob, examples(project, 1, "e"), n=2, at_most=3)
    bring(batch, ("e0", "p1", "neutral", "", ""), ("e0", "p2", "positive", "", ""))
    assert sent(batch)["e0"]["n_annotators"] == 1


BAD = {
    "not in the batch": (("other0", "p1", "neutral", "", ""), "“other0” is not in batch 1. Remove the row."),
    "unknown": (("nowhere", "p1", "neutral", "", ""), "no example has the key “nowhere”"),
    "nobody named": (("e0", "", "neutral", "", ""), "does not say who answered"),
    "no label of ours": (("e0", "p1", "neutrl", "", ""), "Did you mean “neutral”?"),
    "no label": (("e0", "p1", "", "", ""), "the label is empty"),
    "one more than wanted": (("e1", "p2", "neutral", "", ""), "“e1” has all the answers that are wanted"),
    "the same person again": (("e1", "p1", "neutral", "", ""), "by the same annotator already"),
    "no cost": (("e0", "p1", "neutral", "", "free"), "“free” is no cost"),
    "a name that is too long": (("e0", "p" * 97, "neutral", "", ""), "at most 100 are allowed. Shorten the name"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_answer_that_was_not_asked_for_is_a_bad_row(name: str, project: Project, batch: Batch, give: Any) -> None:
    examples(project, 1, "other")
    row, words = BAD[name]
    upload = give(batch, ("e1", "p1", "neutral", "", ""), row)
    assert (upload.n_good, upload.n_bad, upload.bad_rows[0][0]) == (1, 1, 3)
    assert words in upload.bad_rows[0][1]
    assert not Assignment.objects.exists() and not Annotation.objects.exists()


def test_the_same_file_again_is_refused_row_by_row(batch: Batch, bring: Any, give: Any) -> None:
    rows = (("e0", "p1", "neutral", "", ""), ("e1", "p1", "neutral", "", ""))
    bring(batch, *rows)
    assert reasons(give(batch, *rows))[0].startswith("acme/p1 has answered “e0” already. Ask somebody else")
    assert "has all the answers" in reasons(give(batch, ("e0", "p2", "neutral", "", "")))[0]


def test_somebody_who_is_paused_is_not_heard(project: Project, batch: Batch, give: Any) -> None:
    Annotator.objects.create(project=project, name="acme/p1", vendor="acme", paused_at=batch.created_at,
                             paused_because="Entry exam: 2 of 10 right.")
    assert reasons(give(batch, ("e0", "p1", "neutral", "", ""))) == [
        "acme/p1 is paused: Entry exam: 2 of 10 right. Ask somebody else, or remove the row."]


def test_one_person_of_two_vendors_is_two(project: Project, batch: Batch, bob: User, bring: Any) -> None:
    other = ask(project, bob, examples(project, 1, "x"), vendor="bulk")
    bring(batch, ("e0", "p1", "neutral", "", ""))
    bring(other, ("x0", "p1", "neutral", "", ""))
    assert list(Annotator.objects.exclude(vendor="").values_list("name", "vendor")) == [
        ("acme/p1", "acme"), ("bulk/p1", "bulk")]


def test_a_key_that_a_spreadsheet_was_guarded_from_comes_back_as_itself(
        project: Project, bob: User, bring: Any) -> None:
    example = examples(project, 1, "=1+1|")[0]
    batch = ask(project, bob, [example])
    [row] = csv.DictReader(io.StringIO(export_batch(batch, "csv").decode()))
    assert row["key"] == "'=1+1\\|0"
    bring(batch, (row["key"], "p1", "neutral", "", ""))
    assert Annotation.objects.get().example == example


def test_the_import_fails_whole_if_an_answer_came_from_elsewhere_since_the_check(
        batch: Batch, give: Any, bob: User, run_jobs: Callable[[], None]) -> None:
    uploads = [give(batch, ("e0", "p1", "neutral", "", "")), give(batch, ("e1", "p2", "neutral", "", ""),
                                                                  ("e0", "p2", "neutral", "", ""))]
    _, second = [start_import(upload, by=bob) for upload in uploads]
    run_jobs()
    second.refresh_from_db()
    assert second.state == Job.State.failed and "Line 3: “e0” has all the answers" in second.error
    assert Annotation.objects.count() == Assignment.objects.count() == 1


def test_answers_to_a_batch_on_desks_are_refused(project: Project, bob: User, give: Any) -> None:
    with pytest.raises(UserError, match="labelled on desks"):
        give(ask(project, bob, examples(project, 1, "e"), vendor=""), ("e0", "p1", "neutral", "", ""))


def test_a_vendor_may_answer_in_json_lines_with_names_of_its_own(batch: Batch, bob: User) -> None:
    lines = b'{"key": "e0", "annotator": 17, "label": "neutral", "lead_time": 3, "cost": 0.05, "note": [1]}\n'
    upload = receive_vendor_answers(batch, io.BytesIO(lines), name="a.jsonl", by=bob)
    assert (upload.n_good, upload.mapping["seconds_column"], upload.mapping["cost_column"]) == (1, "lead_time", "cost")


# The commands

def command(name: str, *arguments: object) -> dict[str, Any]:
    out = io.StringIO()
    call_command(name, *map(str, arguments), "--json", "--by", "bob", stdout=out)
    return dict(json.loads(out.getvalue()))


def test_the_commands_send_and_receive(project: Project, batch: Batch, tmp_path: Path) -> None:
    out, back = tmp_path / "out.jsonl", tmp_path / "back.csv"
    assert command("export_batch", "Moods", 1, out)["bytes"] == out.stat().st_size
    keys = [json.loads(line)["key"] for line in out.read_text().splitlines()]
    back.write_text("key,annotator,label\n" + "".join(f"{key},p1,neutral\n" for key in [*keys, "nowhere"]))
    report = command("import_examples", "Moods", back, "--batch", 1, "--dry-run")
    assert (report["n_good"], report["bad_rows"][0][0]) == (4, 6) and not Annotation.objects.exists()
    assert command("import_examples", "Moods", back, "--batch", 1, "--skip-bad")["n_annotations"] == 4
    with pytest.raises(CommandError, match="no batch 9 in “Moods”"):
        command("export_batch", "Moods", 9, out)
    with pytest.raises(CommandError, match="no batch 9 in “Moods”"):
        command("import_examples", "Moods", back, "--batch", 9)
