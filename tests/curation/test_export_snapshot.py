import csv
import io
import json

import pytest
from django.conf import settings
from django.urls import reverse

from curation.models import Snapshot
from curation.services.snapshots import FrozenRow, read_manifest, read_rows, start_freeze
from labeling.models import Example
from projects.objects import object_path
from tests.curation.conftest import annotate, new_example


@pytest.fixture
def snapshot(scored, bob, run_jobs):
    formula = new_example(scored.project, "p99", "pool", text="=1+1")
    scored.report.scores.create(example=formula, label="neutral", n_labels=1, label_quality=0.99, cluster=900,
                                cluster_size=1)
    annotate(formula, "mira", "neutral")
    start_freeze(scored.project, by=bob)
    run_jobs()
    return Snapshot.objects.get()


def export(client, snapshot, **query):
    return client.get(reverse("curation:snapshot-export", args=[snapshot.pk]), query)


@pytest.mark.parametrize(("who", "status"), [("alice", 200), ("bob", 200), ("charlie", 403), ("dora", 404)])
def test_curators_and_admins_export(snapshot, request, client_of, who, status):
    assert export(client_of(request.getfixturevalue(who)), snapshot).status_code == status


def test_jsonl_for_trl_has_every_row_as_prompt_and_completion(snapshot, bob, client_of):
    response = export(client_of(bob), snapshot, format="trl")
    rows = [json.loads(line) for line in response.content.splitlines()]
    assert len(rows) == snapshot.rows.count() and set(rows[0]) == {"prompt", "completion", "split", "key"}
    assert {"prompt": [{"role": "system", "content": "Say the mood.\nAnswer with one of: negative, neutral, positive."},
                       {"role": "user", "content": "=1+1"}],
            "completion": [{"role": "assistant", "content": "neutral"}], "split": "train", "key": "p99"} in rows
    assert response.headers["Content-Disposition"] == 'attachment; filename="moods-snapshot-1.jsonl"'


def test_csv_runs_no_formula_in_a_spreadsheet(snapshot, bob, client_of):
    response = export(client_of(bob), snapshot, format="csv")
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(response.content.decode()))}
    assert len(rows) == snapshot.rows.count() and rows["p99"]["text"] == "'=1+1"
    assert response.headers["Content-Type"].startswith("text/csv")


def test_an_unknown_format_is_refused_in_words(snapshot, bob, client_of):
    response = export(client_of(bob), snapshot, format="xml")
    assert response.status_code == 400 and "The formats are trl, messages, csv; got “xml”." in response.content.decode()


def test_changed_bytes_are_not_exported(snapshot, bob, client_of):
    object_path(settings.GOLDPAN_OBJECTS, snapshot.rows_sha256).write_bytes(b"")
    response = export(client_of(bob), snapshot)
    assert response.status_code == 400 and "has changed on the disk" in response.content.decode()


def test_an_export_keeps_the_guideline_it_was_frozen_with(snapshot, bob, client_of):
    snapshot.project.instructions = "Something else entirely."
    snapshot.project.save()
    record = json.loads(export(client_of(bob), snapshot, format="messages").content.splitlines()[0])
    assert record["messages"][0]["content"].startswith("Say the mood.")
    assert read_manifest(snapshot)["guideline"] == {"version": 1, "text": "Say the mood."}


def test_what_is_not_in_the_file_is_listed_with_its_reason(snapshot, bob, client_of):
    response = export(client_of(bob), snapshot, format="trl", what="left-out")
    reasons = {row["key"]: row["reason"] for row in csv.DictReader(io.StringIO(response.content.decode()))}
    assert reasons["p08"] == "duplicate of a dev or test example" and reasons["p00"] == "undecided label issue"
    assert len(reasons) + snapshot.rows.count() == Example.objects.count()
    assert response.headers["Content-Disposition"] == 'attachment; filename="moods-snapshot-1.trl-left-out.csv"'


def test_rows_frozen_before_there_were_task_types_are_read_as_they_are(snapshot):
    stored = {"group": "g", "key": "k", "label": "neutral", "split": "train", "text": "t"}
    assert FrozenRow(**stored).data == {} and FrozenRow(**stored).record == stored
    assert all("data" not in row.record for row in read_rows(snapshot))
