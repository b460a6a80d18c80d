import csv
import hashlib
import io
import json
import re
import zipfile

import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.urls import reverse

from curation.answers import Answers
from curation.exports import EXPORTS, Folder, formats_of, write_rows
from curation.models import Snapshot
from curation.services import exporting
from curation.services.exporting import exported, write_export
from curation.services.frozen import FrozenRow, read_manifest, read_rows
from curation.services.snapshots import start_freeze
from jobs.models import Job
from labeling.models import Example
from labeling.reading import Mapping
from labeling.reading import read_rows as read_file
from projects.errors import UserError
from projects.objects import object_path
from tests.curation.conftest import annotate, new_example, new_report


@pytest.fixture
def snapshot(scored, alice, bob, run_jobs):
    scored.examples["p99"] = new_example(scored.project, "p99", "pool", text="=1+1")
    annotate(scored.examples["p99"], "mira", "neutral")
    report = new_report(scored.project, alice, {key: one for key, one in scored.examples.items() if key != "p99"})
    report.scores.create(example=scored.examples["p99"], label="neutral", n_labels=1, label_quality=0.99, cluster=900,
                         cluster_size=1)
    start_freeze(scored.project, by=bob)
    run_jobs()
    return Snapshot.objects.get()


def export(client, snapshot, **query):
    return client.get(reverse("curation:snapshot-export", args=[snapshot.pk]), query)


def content(response):
    return b"".join(response.streaming_content)


def folder_of(response):
    """The files of a downloaded folder: name → bytes."""
    with zipfile.ZipFile(io.BytesIO(content(response))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_export(snapshot, request, client_of, who, status):
    assert export(client_of(request.getfixturevalue(who)), snapshot).status_code == status


def test_jsonl_for_trl_has_every_row_as_prompt_and_completion(snapshot, bob, client_of):
    response = export(client_of(bob), snapshot, format="trl")
    rows = [json.loads(line) for line in content(response).splitlines()]
    assert len(rows) == snapshot.rows.count()
    assert {"prompt": [{"role": "system", "content": "Say the mood.\nAnswer with one of: negative, neutral, positive."},
                       {"role": "user", "content": "=1+1"}],
            "completion": [{"role": "assistant", "content": "neutral"}], "split": "train", "key": "p99",
            "row_sha256": snapshot.rows.get(example__key="p99").row_sha256} in rows
    assert response.headers["Content-Disposition"] == 'attachment; filename="moods-snapshot-1.trl.jsonl"'


def test_csv_runs_no_formula_in_a_spreadsheet(snapshot, bob, client_of):
    response = export(client_of(bob), snapshot, format="csv")
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(content(response).decode()))}
    assert len(rows) == snapshot.rows.count() and rows["p99"]["text"] == "'=1+1"


def test_an_unknown_format_is_refused_in_words(snapshot, bob, client_of):
    response = export(client_of(bob), snapshot, format="xml")
    assert response.status_code == 400 and "; got “xml”." in response.content.decode()


def test_changed_bytes_are_not_exported(snapshot, bob, client_of):
    object_path(settings.GOLDPAN_OBJECTS, snapshot.rows_sha256).write_bytes(b"")
    for format in ("trl", "parquet", "snapshot"):
        response = export(client_of(bob), snapshot, format=format)
        assert response.status_code == 400 and "has changed on the disk" in response.content.decode()


@pytest.mark.parametrize("format", ["trl", "parquet"])
@pytest.mark.parametrize("change", [lambda kept: b"0" * 64 + kept[64:], lambda kept: kept[:-65]])
def test_a_changed_list_of_hashes_is_not_exported(snapshot, tmp_path, format, change):
    path = object_path(settings.GOLDPAN_OBJECTS, read_manifest(snapshot)["rows"]["sha256s"]["sha256"])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match="has changed on the disk"):
        write_export(snapshot, format, tmp_path)


def test_an_export_keeps_the_guideline_it_was_frozen_with(snapshot, bob, client_of):
    snapshot.project.instructions = "Something else entirely."
    snapshot.project.save()
    record = json.loads(content(export(client_of(bob), snapshot, format="messages")).splitlines()[0])
    assert record["messages"][0]["content"].startswith("Say the mood.")
    assert read_manifest(snapshot)["guideline"] == {"version": 1, "text": "Say the mood."}


@pytest.mark.parametrize("format", formats_of("classification"))
def test_every_folder_has_hashes_versions_and_what_was_left_out(snapshot, bob, client_of, format):
    response = export(client_of(bob), snapshot, format=format, what="folder")
    assert response.headers["Content-Disposition"] == f'attachment; filename="moods-snapshot-1.{format}.zip"'
    files = folder_of(response)
    sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    facts = json.loads(files["goldpan.json"])
    assert facts["snapshot"]["sha256"] == snapshot.sha256 and facts["versions"]["guideline"] == 1
    assert facts["rows_in_files"] == snapshot.rows.count()
    hashes = {row["key"]: row["row_sha256"] for row in csv.DictReader(io.StringIO(files["row-hashes.csv"].decode()))}
    assert hashes == dict(snapshot.rows.values_list("example__key", "row_sha256"))
    left_out = {row["key"]: row["reason"] for row in csv.DictReader(io.StringIO(files["left-out.csv"].decode()))}
    assert left_out["p08"] == "duplicate of a dev or test example" and left_out["p00"] == "undecided label issue"
    assert len(left_out) + len(hashes) == Example.objects.filter(project=snapshot.project).count()
    assert EXPORTS[format].data == "" or EXPORTS[format].data in files


@pytest.mark.parametrize("format", formats_of("classification"))
def test_two_exports_of_one_snapshot_are_equal_byte_by_byte(snapshot, format):
    made = []
    for _ in range(2):
        with exported(snapshot, format, whole=True) as (path, _name):
            made.append(path.read_bytes())
    assert made[0] == made[1]


def test_parquet_holds_what_was_frozen(snapshot, tmp_path):
    folder = write_export(snapshot, "parquet", tmp_path)
    table = pq.read_table(tmp_path / "data.parquet")
    assert table.column_names == ["key", "split", "text", "label", "group", "row_sha256"]
    rows = [FrozenRow(**{name: value for name, value in row.items() if name != "row_sha256"})
            for row in table.to_pylist()]
    assert rows == read_rows(snapshot) and folder.n == len(rows)
    assert table["row_sha256"].to_pylist() == [row.sha256 for row in read_rows(snapshot)]


def test_a_hugging_face_folder_has_a_file_per_split_and_a_card(snapshot, tmp_path):
    write_export(snapshot, "huggingface", tmp_path)
    n = {name: pq.read_table(tmp_path / "data" / f"{name}.parquet").num_rows
         for name in ("train", "validation", "test")}
    assert n == {"train": snapshot.counts["train"], "validation": 6, "test": 9}
    card = (tmp_path / "README.md").read_text()
    assert "- {split: validation, path: data/validation.parquet}" in card and snapshot.sha256 in card
    assert f"| all rows | {n['train']} | 6 | 9 |" in card and "> Say the mood." in card


def test_croissant_describes_every_column_of_every_file(snapshot, tmp_path):
    """Structure by the Croissant 1.0 specification: every reference leads to a file that is there, by its hash."""
    folder = write_export(snapshot, "huggingface", tmp_path)
    found = json.loads((tmp_path / "croissant.json").read_text())
    assert (found["@type"], found["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
    assert {"name", "description", "url", "version", "datePublished", "citeAs"} <= found.keys()
    files = {one["@id"]: one for one in found["distribution"]}
    assert all(one["@type"] == "cr:FileObject" and re.fullmatch("[0-9a-f]{64}", one["sha256"])
               and folder.sha256s[one["contentUrl"]] == one["sha256"] for one in files.values())
    ids = [*files, *(record["@id"] for record in found["recordSet"])]
    for record in found["recordSet"]:
        names = {field["@id"]: field for field in record["field"]}
        assert record["key"]["@id"] in names
        for field in names.values():
            source = field["source"]
            columns = pq.read_schema(tmp_path / files[source["fileObject"]["@id"]]["contentUrl"]).names
            assert source["extract"]["column"] in columns and field["dataType"] == "sc:Text"
        ids += names
    assert len(ids) == len(set(ids))


def test_what_label_studio_is_given_comes_back_as_it_was(snapshot, tmp_path):
    write_export(snapshot, "label-studio", tmp_path)
    rows = list(read_file(tmp_path / "data.json", format="ls-json", mapping=Mapping(text_column="text"),
                          kind="examples", schema=snapshot.project.schema))
    assert {(row.key, row.text, row.label) for row in rows} == {
        (row.key, row.text, row.label) for row in read_rows(snapshot)}


def test_a_large_export_is_a_job_with_a_file_to_download(snapshot, bob, client_of, run_jobs, monkeypatch):
    monkeypatch.setattr(exporting, "LARGE_ROWS", 10)
    monkeypatch.setattr("curation.views.snapshots.LARGE_ROWS", 10)
    client, url = client_of(bob), reverse("curation:snapshot-export-start", args=[snapshot.pk])
    assert "is exported by a job" in export(client, snapshot, format="trl").content.decode()
    client.post(url, {"format": "parquet"})
    client.post(url, {"format": "parquet"})  # two clicks are one wish
    job = Job.objects.get(kind="export")
    html = client.get(reverse("curation:snapshot-detail", args=[snapshot.pk])).content.decode()
    assert "Exporting snapshot 1 as Parquet" in html
    run_jobs()
    response = client.get(client.post(url, {"format": "parquet"}).headers["Location"])
    with exported(snapshot, "parquet", whole=True) as (path, name):
        assert content(response) == path.read_bytes() and name in response.headers["Content-Disposition"]
    assert Job.objects.get(kind="export") == job


def test_rows_frozen_before_there_were_task_types_are_read_as_they_are(snapshot):
    stored = {"group": "g", "key": "k", "label": "neutral", "split": "train", "text": "t"}
    assert FrozenRow(**stored).data == {} and FrozenRow(**stored).record == stored
    assert all("data" not in row.record for row in read_rows(snapshot))


# The formats by themselves

COMPARED = Answers("preference", {})
ROWS = [FrozenRow("a", "Hi?", "left", "train", "g", {"left": "yes", "right": "no"}, "1" * 64),
        FrozenRow("b", "Ho?", "tie", "dev", "h", {"left": "yes", "right": "no"}, "2" * 64)]


def written(rows, format, answers, tmp_path):
    folder = Folder(tmp_path)
    write_rows(rows, format, folder, answers=answers, instructions="Be kind.", name="moods")
    return folder


def test_kto_marks_one_answer_good_and_the_other_bad_and_leaves_ties_out(tmp_path):
    folder = written(ROWS, "kto", COMPARED, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "data.jsonl").read_text().splitlines()]
    assert [(line["completion"][0]["content"], line["label"]) for line in lines] == [("yes", True), ("no", False)]
    assert folder.n == 1 and [(one.key, one.reason[:5]) for one in folder.left_out] == [("b", "a tie")]


def test_alpaca_has_the_rules_as_its_instruction_and_the_text_as_its_input(tmp_path):
    answers = Answers("classification", {"labels": [{"name": name, "description": ""} for name in "xy"]})
    written([FrozenRow("a", "Hi?", "x", "train", "g", {}, "1" * 64)], "alpaca", answers, tmp_path)
    [line] = (tmp_path / "train.jsonl").read_text().splitlines()
    assert json.loads(line) == {"instruction": "Be kind.\nAnswer with one of: x, y.", "input": "Hi?", "output": "x",
                                "key": "a", "split": "train", "row_sha256": "1" * 64}
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["moods_train"]["columns"] == {"prompt": "instruction", "query": "input", "response": "output"}
    assert set(info) == {"moods_train", "moods_dev", "moods_test"}


def test_sharegpt_ranks_comparisons_and_needs_turns_that_alternate(tmp_path):
    written(ROWS, "sharegpt", COMPARED, tmp_path / "pairs")
    line = json.loads((tmp_path / "pairs" / "train.jsonl").read_text())
    assert line["conversations"] == [{"from": "human", "value": "Hi?"}]
    assert (line["chosen"]["value"], line["rejected"]["value"]) == ("yes", "no")
    assert json.loads((tmp_path / "pairs" / "dataset_info.json").read_text())["moods_dev"]["ranking"] is True
    turns = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
    chats = [FrozenRow("c", "two", "yes", "test", "g", {"messages": turns[1:]}),
             FrozenRow("d", "two", "yes", "test", "h", {"messages": turns})]
    folder = written(chats, "sharegpt", Answers("chat", {}), tmp_path / "chats")
    line = json.loads((tmp_path / "chats" / "test.jsonl").read_text())
    assert [turn["from"] for turn in line["conversations"]] == ["human", "gpt"] and line["system"] == "Be kind."
    assert [one.key for one in folder.left_out] == ["d"]


def test_each_type_is_offered_only_what_fits_it():
    assert {"preference", "kto"} & set(formats_of("classification")) == set()
    assert {"preference", "kto"} <= set(formats_of("preference")) and "alpaca" not in formats_of("preference")
    assert "alpaca" not in formats_of("chat")


def test_a_format_that_does_not_fit_is_refused(snapshot, tmp_path):
    with pytest.raises(UserError, match="got “kto”"):
        write_export(snapshot, "kto", tmp_path)
