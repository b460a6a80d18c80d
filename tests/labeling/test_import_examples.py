"""Importing a file: checked whole first, then all of it or nothing, and the same file twice adds nothing."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from jobs.models import Job
from labeling.models import Annotation, Annotator, Example, Upload
from labeling.reading import Mapping
from labeling.services import imports
from labeling.services.imports import receive_upload, start_import
from projects.errors import UserError
from projects.models import AuditEvent, Project
from projects.objects import open_object

GOOD = b"id,text,label,customer\na,It broke again.,negative,c1\nb,It works.,positive,c1\nc,It is blue.,,c2\n"
Give = Callable[..., Upload]
Import = Callable[..., Job]


@pytest.fixture
def give(project: Project, bob: User) -> Give:
    """Hand a file in, as the page and the command do."""

    def receive(content: bytes, name: str = "texts.csv", kind: str = "examples", **more: Any) -> Upload:
        return receive_upload(project, io.BytesIO(content), name=name, kind=kind, by=bob, **more)

    return receive


@pytest.fixture
def imported(give: Give, bob: User, run_jobs: Callable[[], None]) -> Import:
    """Hand a file in and import it; the job has ended."""

    def receive_and_import(content: bytes, *, skip_bad: bool = False, **more: Any) -> Job:
        job = start_import(give(content, **more), by=bob, skip_bad=skip_bad)
        run_jobs()
        job.refresh_from_db()
        return job

    return receive_and_import


def ledger() -> list[tuple[str, str, Any]]:
    return list(Annotation.objects.order_by("pk").values_list("example__key", "annotator__name", "value"))


def n_imports() -> int:
    return AuditEvent.objects.filter(what="import").count()


def nothing_is_written() -> bool:
    return not any(model.objects.exists() for model in (Example, Annotation, Annotator, Job)) and n_imports() == 0


# Good files

def test_examples_arrive_with_their_labels_groups_and_splits(imported: Import) -> None:
    job = imported(GOOD)
    assert (job.state, job.result) == (Job.State.succeeded, {"n_examples": 3, "n_annotations": 2})
    assert ledger() == [("a", "given", "negative"), ("b", "given", "positive")]
    a, b, c = Example.objects.all()
    assert (a.text, a.group, a.data) == ("It broke again.", "c1", {})
    assert a.split == b.split, "one group stays in one split"
    assert c.upload == Upload.objects.get() and c.upload.n_imported == 5 and c.upload.imported_at


def test_columns_without_a_role_are_kept_as_data(imported: Import) -> None:
    imported(b"id,text,channel\na,It broke.,mail\n")
    assert Example.objects.get().data == {"channel": "mail"}


def test_the_same_file_twice_adds_nothing(imported: Import) -> None:
    imported(GOOD)
    assert imported(GOOD).result == {"n_examples": 0, "n_annotations": 0}
    assert (Example.objects.count(), len(ledger()), n_imports()) == (3, 2, 2)


def test_the_same_file_again_is_not_read_a_second_time(imported: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(GOOD)
    monkeypatch.setattr(imports, "_staged", None)  # what would read it into the staging table
    assert imported(GOOD).result == {"n_examples": 0, "n_annotations": 0}
    assert n_imports() == 2 and Upload.objects.filter(imported_at__isnull=False).count() == 2


def test_the_same_file_again_brings_back_what_was_said_otherwise_since(imported: Import) -> None:
    imported(GOOD)
    imported(GOOD.replace(b"negative", b"neutral"))
    assert imported(GOOD).result == {"n_examples": 0, "n_annotations": 1}
    assert ledger()[-2:] == [("a", "given", "neutral"), ("a", "given", "negative")]


def test_the_same_file_without_keys_twice_adds_nothing(imported: Import) -> None:
    texts = b"text\nIt broke.\nIt works.\n"
    imported(texts)
    assert imported(texts).result == {"n_examples": 0, "n_annotations": 0}


def test_a_text_that_stands_twice_without_keys_is_one_example_and_its_last_label_counts(imported: Import) -> None:
    twice = b"text,label\nIt broke.,neutral\nIt works.,positive\nit  broke.,negative\nIt works.,positive\n"
    assert imported(twice).result == {"n_examples": 2, "n_annotations": 2}
    assert {value for _, _, value in ledger()} == {"positive", "negative"}
    assert imported(twice).result == {"n_examples": 0, "n_annotations": 0}


def test_a_longer_file_adds_only_what_is_new(imported: Import) -> None:
    imported(GOOD)
    assert imported(GOOD + b"d,It is late.,negative,c3\n").result == {"n_examples": 1, "n_annotations": 1}
    assert ledger()[-1] == ("d", "given", "negative")


def test_one_upload_is_imported_by_one_job_however_often_it_is_started(give: Give, bob: User) -> None:
    upload = give(GOOD)
    assert start_import(upload, by=bob) == start_import(upload, by=bob)


def test_labels_of_a_file_go_into_the_ledger_and_a_changed_one_is_a_new_row(imported: Import) -> None:
    imported(b"id,text\na,It broke.\nb,It works.\n")
    labels = b"id,annotator,label\na,carol,negative\na,dave,neutral\nb,carol,positive\n"
    assert imported(labels, kind="annotations").result == {"n_examples": 0, "n_annotations": 3}
    changed = labels.replace(b"a,dave,neutral", b"a,dave,negative")
    assert imported(changed, kind="annotations").result == {"n_examples": 0, "n_annotations": 1}
    assert ledger() == [("a", "carol", "negative"), ("a", "dave", "neutral"), ("b", "carol", "positive"),
                        ("a", "dave", "negative")]
    assert list(Annotation.objects.current().filter(annotator__name="dave").values_list("value", flat=True)) == [
        "negative"]


def test_a_label_that_comes_with_a_known_example_is_appended(imported: Import) -> None:
    imported(b"id,text\na,It broke.\n")
    assert imported(b"id,text,label\na,It broke.,negative\nb,It works.,positive\n").result == {
        "n_examples": 1, "n_annotations": 2}
    assert ledger() == [("a", "given", "negative"), ("b", "given", "positive")]


def test_rows_beyond_one_round_trip_arrive_too(imported: Import) -> None:
    rows = [f"k{n},Text number {n},{'positive' if n % 2 else ''}" for n in range(4500)]
    assert imported("\n".join(["id,text,label", *rows]).encode()).result == {
        "n_examples": 4500, "n_annotations": 2250}
    assert all(key == f"k{n}" for n, key in enumerate(Example.objects.values_list("key", flat=True)))
    assert {key for key, _, _ in ledger()} == {f"k{n}" for n in range(1, 4500, 2)}


def test_json_lines_keep_line_breaks_quotes_and_every_script(imported: Import) -> None:
    text = "He said: “¿qué?”\n\tКак дела\u2028 👩‍👩‍👧 =1+1"
    imported(json.dumps({"key": "a", "text": text}).encode() + b"\n", name="texts.jsonl")
    assert Example.objects.get().text == text


# Bad files: what is wrong, where, what to do, and nothing half-written

REFUSED = {
    "empty": (b"", "empty. Choose a file"),
    "only a header": (b"id,text\n", "no rows. Choose a file"),
    "UTF-16": ("id,text\na,It broke.\n".encode("utf-16"), "UTF-16 text. Save it again as UTF-8"),
    "one byte of Latin-1": (b"id,text\na,It broke.\nb,caf\xe9\n", "line 3, is 0xe9. Save it again as UTF-8"),
    "half a surrogate pair": (b"id,text\na,It broke.\nb,\xed\xa0\x80\n", "line 3, is 0xed. Save it again as UTF-8"),
    "two columns of one name": (b"text,text\na,b\n", "Two columns are named “text”. Rename one."),
    "an Excel file": (b"PK\x03\x04" + bytes(50), "Excel or zip file. Save the sheet as CSV"),
    "a JSON list that ends early": (b'[{"text": "a"},\n{"text": "b"}', "a comma or ] was expected on line 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_used_is_refused_whole(name: str, give: Give) -> None:
    content, words = REFUSED[name]
    with pytest.raises(UserError, match=words):
        give(content)
    assert nothing_is_written() and not Upload.objects.exists()


def test_a_column_that_is_not_there_is_refused_with_those_that_are(give: Give) -> None:
    with pytest.raises(UserError, match=r"no column “body”. The columns are: id, text"):
        give(b"id,text\na,It broke.\n", mapping=Mapping(text_column="body", key_column="id"))
    assert nothing_is_written() and not Upload.objects.exists()


def test_a_file_of_labels_without_a_label_column_is_refused(imported: Import, give: Give) -> None:
    with pytest.raises(UserError, match=r"needs two columns: the example's key and the label. Choose both"):
        give(b"id,text\na,It broke.\n", kind="annotations")
    assert nothing_is_written()


LINES = {
    "unknown label": (3, b"id,text,label\na,It broke.,negative\nb,It works.,postive\n", "Did you mean “positive”?"),
    "key twice": (4, b"id,text\na,It broke.\nb,It works.\na,It is blue.\n", "line 2 already. Give each row a key"),
    "NUL": (3, b"id,text\na,It broke.\nb,It \0 works.\n", "NUL character (U+0000), which cannot be stored. Remove it"),
    "a line of 2 MB": (3, b"id,text\na,It broke.\nb," + b"x" * 2_000_000 + b"\nc,It is blue.\n",
                       "longer than 1,000,000 characters. Shorten it"),
    "empty text": (3, b"id,text\na,It broke.\nb,  \n", "the text is empty. Fill it in or remove the row"),
    "empty key": (3, b"id,text\na,It broke.\n,It works.\n", "the key is empty. Fill it in or remove the row"),
    "a cell too many": (3, b"id,text\na,It broke.\nb,Yes, it works.\n", "3 cells and the header has 2. Put quotes"),
    "a quote that stays open": (3, b'id,text\na,It broke.\nb,"It works.\n', "opened and not closed. Close it"),
    "NaN in JSON": (2, b'{"text": "It broke."}\n{"text": "It works.", "score": NaN}\n', "NaN is not a JSON number"),
    "a JSON key twice": (2, b'{"text": "It broke."}\n{"text": "x", "text": "y"}\n', "'text' stands twice"),
    "half a surrogate pair in JSON": (2, b'{"text": "It broke."}\n{"text": "\\ud800"}\n', "half of a surrogate pair"),
    "NUL in JSON": (2, b'{"text": "It broke."}\n{"text": "a\\u0000b"}\n', "holds U+0000"),
    "JSON that ends early": (2, b'{"text": "It broke."}\n{"text": "It works."\n', "not JSON"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_bad_row_is_named_with_its_line_and_stops_the_file(name: str, give: Give, bob: User) -> None:
    line, content, words = LINES[name]
    upload = give(content)
    assert upload.n_bad == 1 and upload.bad_rows[0][0] == line and words in upload.bad_rows[0][1]
    with pytest.raises(UserError, match=f"1 of {upload.n_good + 1} rows cannot be imported; the first is line {line}"):
        start_import(upload, by=bob)
    assert nothing_is_written()


@pytest.mark.parametrize("name", LINES)
def test_the_good_rows_of_such_a_file_are_imported_if_asked_for(name: str, imported: Import) -> None:
    _, content, _ = LINES[name]
    job = imported(content, skip_bad=True)
    upload = Upload.objects.get()
    assert job.state == Job.State.succeeded
    assert job.result["n_examples"] == Example.objects.count() == upload.n_good > 0


def test_a_key_that_stands_for_another_text_is_a_bad_row(imported: Import, give: Give) -> None:
    imported(GOOD)
    upload = give(b"id,text\na,It broke AGAIN.\nb,It never worked.\nd,It is late.\n")
    assert (upload.n_good, upload.n_bad) == (2, 1)  # only its case differs: the same text
    assert upload.bad_rows[0][0] == 3 and "“b” belongs to another text already" in upload.bad_rows[0][1]


def test_a_label_for_an_unknown_key_is_a_bad_row(imported: Import, give: Give) -> None:
    imported(GOOD)
    upload = give(b"id,annotator,label\na,carol,negative\nz,carol,negative\n", kind="annotations")
    assert upload.bad_rows == [[3, "no example has the key “z”. Import the examples first."]]


def test_a_key_that_was_taken_since_the_check_stops_the_import(
        give: Give, bob: User, run_jobs: Callable[[], None]) -> None:
    uploads = [give(b"id,text\na,It broke.\n"), give(b"id,text\nb,It works.\na,It never broke.\n")]
    _, second = [start_import(upload, by=bob) for upload in uploads]
    run_jobs()
    second.refresh_from_db()
    assert second.state == Job.State.failed and "Line 3: the key “a” belongs to another text" in second.error
    assert [example.upload for example in Example.objects.all()] == uploads[:1]
    assert n_imports() == 1


def test_an_import_that_fails_in_the_middle_leaves_nothing(
        imported: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("labeling.services.imports.audit", broken)
    assert imported(GOOD).state == Job.State.failed
    assert not Example.objects.exists() and not Annotation.objects.exists() and n_imports() == 0


def test_all_bad_rows_can_be_downloaded_with_their_reasons(give: Give, settings: Any) -> None:
    upload = give(b"id,text\n" + b"".join(b"k%d,\n" % n for n in range(60)) + b"good,It works.\n=1+1,\n")
    assert (upload.n_bad, len(upload.bad_rows)) == (61, 50)
    with open_object(settings.GOLDPAN_OBJECTS, upload.bad_sha256) as file:
        header, *rows = csv.reader(io.StringIO(file.read().decode()))
    assert header == ["line", "reason", "row"] and len(rows) == 61
    assert rows[-1] == ["63", "the text is empty. Fill it in or remove the row.", "'=1+1,"]


def test_a_file_beyond_the_limit_is_refused(give: Give, settings: Any) -> None:
    settings.GOLDPAN_MAX_UPLOAD_MB = 1
    with pytest.raises(UserError, match=r"has 2 MB; at most 1 MB can be uploaded at once. Split the file"):
        give(b"text\n" + b"It broke.\n" * 200_000)
    assert nothing_is_written() and not Upload.objects.exists()


# The command

def command(project: Project, path: Path, *more: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("import_examples", project.name, str(path), "--json", "--by", "bob", *more, stdout=out)
    return dict(json.loads(out.getvalue()))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "texts.csv"
        path.write_bytes(content)
        return path

    return write


BAD = b"id,text\na,It broke.\na,It works.\nc,It is blue.\n"


def test_a_dry_run_names_the_bad_lines_and_imports_nothing(project: Project, file: Any) -> None:
    report = command(project, file(BAD), "--dry-run")
    assert (report["n_good"], report["n_bad"]) == (2, 1)
    assert report["bad_rows"] == [[3, "the key “a” is on line 2 already. Give each row a key of its own."]]
    assert nothing_is_written()


def test_the_command_stops_at_a_bad_line_with_an_error(project: Project, file: Any) -> None:
    with pytest.raises(CommandError, match="the first is line 3: the key “a” is on line 2 already"):
        command(project, file(BAD))
    assert nothing_is_written()


def test_the_command_leaves_bad_lines_out_if_told_to(project: Project, file: Any) -> None:
    assert command(project, file(BAD), "--skip-bad")["n_examples"] == 2
    assert list(Example.objects.values_list("key", flat=True)) == ["a", "c"]


def test_the_command_takes_columns_by_name(project: Project, file: Any) -> None:
    columns = ("--text", "body", "--key", "nr", "--label", "mood")
    report = command(project, file(b"nr,body,mood\n7,It broke.,negative\n"), *columns)
    assert (report["n_examples"], report["n_annotations"]) == (1, 1)
    assert Example.objects.get().key == "7"


def test_a_file_that_is_not_there_is_an_error_in_words(project: Project, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        command(project, tmp_path / "nowhere.csv")
