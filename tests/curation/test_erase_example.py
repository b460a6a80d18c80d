"""Erasing because a person asks: the words go everywhere, hashes and lineage stay, and nothing else may change."""

import gzip
import io
import json
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.urls import reverse
from django.utils import timezone

from curation.answers import WRITTEN
from curation.models import (
    BulkDecision,
    Decision,
    Embedding,
    EmbeddingShard,
    Erasure,
    ExampleScore,
    PairToJudge,
    SavedView,
    Snapshot,
    SnapshotRow,
)
from curation.services import bulk_decisions, gold_sets
from curation.services.bulk_decisions import decide_all, look_at
from curation.services.checks import bytes_check
from curation.services.discussions import write_message
from curation.services.erasing import erase
from curation.services.exporting import open_export, start_export, write_export
from curation.services.frozen import read_rows, rows_file_of
from curation.services.maps import start_map
from curation.services.queue import Filter, Queue
from curation.services.review import decide, undo
from curation.services.saved_views import save_view
from curation.services.scoring import latest_report, start_score
from curation.services.selections import create_selection
from curation.services.snapshots import approve_snapshot, start_freeze, start_roll_back
from goldpan.verification import erasures, problems
from jobs.models import Job
from labeling.models import Annotation, Assignment, Batch, BatchItem, Desk, Example, KnownAnswer, Suggestion
from labeling.services.batches import create_batch
from labeling.services.imports import receive_upload
from labeling.task_types import task_type
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import AuditEvent, Role
from projects.objects import object_exists, object_path, put_object
from projects.services import add_member, create_project
from tests.curation.conftest import annotate, new_example
from tests.curation.test_every_task_type import CASES, spans_of
from tests.fake_label_studio import FakeLabelStudio


@pytest.fixture
def snapshot(scored, bob, run_jobs):
    start_freeze(scored.project, by=bob)
    run_jobs()
    return Snapshot.objects.get()


def erased(example, by, run_jobs):
    erase([example], reason="Somebody asked for it.", by=by)
    run_jobs()
    assert Job.objects.filter(kind="erase").first().state == Job.State.succeeded, Job.objects.first().error
    example.refresh_from_db()
    return example


def stored_files():
    return [path for path in settings.GOLDPAN_OBJECTS.rglob("*") if path.is_file()]


# Who, and what they see

@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_an_admin_erases(scored, request, client_of, who, status):
    url = reverse("curation:example-erase", args=[scored.examples["p10"].pk])
    response = client_of(request.getfixturevalue(who)).post(url, {"reason": "Somebody asked.", "sure": "on"})
    assert response.status_code == status and Erasure.objects.exists() == (status == 302)


def test_the_page_says_what_goes_and_what_cannot_be_reached(snapshot, scored, alice, client_of, run_jobs):
    client, url = client_of(alice), reverse("curation:example-erase", args=[scored.examples["p10"].pk])
    html = client.get(url).content.decode()
    assert "This is text p10." in html and "Snapshot 1" in html and "Backups" in html and "what an adapter" in html
    assert client.post(url, {"reason": "Somebody asked."}).status_code == 422  # not sure
    client.post(url, {"reason": "Somebody asked.", "sure": "on"})
    run_jobs()
    html = client.get(url).content.decode()
    assert "This is text p10." not in html and "1 with a tombstone in its place" in html


def test_all_of_a_customer_go_together(scored, alice, client_of):
    Example.objects.filter(key__in=["p10", "p11"]).update(group="jane")
    url = reverse("curation:example-erase", args=[scored.examples["p10"].pk])
    assert "and the 1 other example of its customer" in client_of(alice).get(url).content.decode()
    client_of(alice).post(url, {"reason": "Somebody asked.", "sure": "on", "group": "on"})
    assert set(Erasure.objects.values_list("example__key", flat=True)) == {"p10", "p11"}


# What goes and what stays

def test_the_text_goes_and_the_snapshot_proves_the_rest(snapshot, scored, alice, bob, run_jobs):
    example, before = scored.examples["p10"], read_rows(snapshot)
    decide(example, verdict="relabel", value="positive", reason="p10 says so", by=bob, report=scored.report)
    example = erased(example, alice, run_jobs)
    assert (example.text, example.data) == ("", {}) and len(example.content_sha256) == 64
    assert not any(b"text p10" in path.read_bytes() for path in stored_files())
    assert not object_exists(settings.GOLDPAN_OBJECTS, snapshot.rows_sha256)
    after = read_rows(snapshot)
    assert after == [row for row in before if row.key != "p10"] and snapshot.rows.count() == len(before)
    assert bytes_check(snapshot, whole=True).holds and "Erased since: 1;" in bytes_check(snapshot).found
    assert not ExampleScore.objects.filter(example=example).exists()
    assert not Decision.objects.filter(example=example).exclude(reason="").exists()
    assert list(Annotation.objects.filter(example=example).values_list("value", flat=True)) == ["neutral"]
    assert list(problems()) == []
    assert list(erasures()) == ["1 row was erased from Snapshot 1 of “Moods” since it was frozen; the hashes are kept, "
                                "and the other rows are the frozen ones."]
    assert AuditEvent.objects.get(what="erase").detail["examples"] == ["p10"]


def test_it_can_still_be_approved_and_says_what_is_missing(snapshot, scored, alice, client_of, run_jobs):
    erased(scored.examples["p10"], alice, run_jobs)
    html = client_of(alice).get(reverse("curation:snapshot-detail", args=[snapshot.pk])).content.decode()
    assert "1 row was erased since" in html and "All 10 checks hold." in html
    row = snapshot.rows.get(example__key="p10")
    html = client_of(alice).get(reverse("curation:snapshot-row", args=[snapshot.pk, row.position])).content.decode()
    assert "alice erased this example" in html and row.row_sha256 in html
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=alice)


def test_exports_leave_it_out_with_the_reason_and_no_old_one_is_kept(snapshot, scored, alice, run_jobs, tmp_path):
    job = start_export(snapshot, "csv", by=alice)
    run_jobs()
    erased(scored.examples["p10"], alice, run_jobs)
    job.refresh_from_db()
    with pytest.raises(UserError, match="was removed, since a row in it was erased"):
        open_export(job)
    assert start_export(snapshot, "csv", by=alice).pk != job.pk
    for format in ("trl", "parquet", "huggingface"):
        folder = write_export(snapshot, format, tmp_path / format)
        left_out = (tmp_path / format / "left-out.csv").read_text()
        assert folder.n == snapshot.rows.count() - 1 and "p10,train,\"erased at somebody's wish on" in left_out
        assert not any(b"text p10" in path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
    with pytest.raises(UserError, match=r"1 row of snapshot 1 was erased.*Freeze its rows again"):
        write_export(snapshot, "snapshot", tmp_path / "snapshot")
    start_roll_back(snapshot, by=alice)
    run_jobs()
    assert write_export(Snapshot.objects.first(), "snapshot", tmp_path / "again").n == snapshot.rows.count() - 1


def test_a_second_erasure_keeps_the_first(snapshot, scored, alice, run_jobs):
    for key in ("p10", "t3"):
        erased(scored.examples[key], alice, run_jobs)
    assert {"p10", "t3"}.isdisjoint(row.key for row in read_rows(snapshot)) and list(problems()) == []
    assert snapshot.redactions.count() == 2 and rows_file_of(snapshot) == snapshot.redactions.last().sha256


def test_a_job_that_was_cut_off_is_run_again(snapshot, scored, alice, run_jobs, monkeypatch):
    broken = "curation.services.erasing._remove_exports"
    with monkeypatch.context() as patched:
        patched.setattr(broken, lambda examples: 1 / 0)
        erase([scored.examples["p10"]], reason="Somebody asked.", by=alice)
        run_jobs()
    job = Job.objects.get(kind="erase")
    assert job.state == Job.State.failed
    Job.objects.filter(pk=job.pk).update(state="queued", finished_at=None)
    run_jobs()
    job.refresh_from_db()
    assert job.state == Job.State.succeeded and snapshot.redactions.count() == 1 and list(problems()) == []


def test_a_tombstone_without_an_erasure_is_found(snapshot, scored, alice, run_jobs):
    erased(scored.examples["p10"], alice, run_jobs)
    path = object_path(settings.GOLDPAN_OBJECTS, rows_file_of(snapshot))
    lines = path.read_bytes().splitlines(keepends=True)
    row = snapshot.rows.get(example__key="p13")
    lines[row.position] = json.dumps({"erased": True, "key": "p13", "row_sha256": row.row_sha256,
                                      "split": "train"}).encode() + b"\n"
    forged = put_object(settings.GOLDPAN_OBJECTS, b"".join(lines))
    snapshot.redactions.create(sha256=forged, replaces_sha256="0" * 64, n_erased=2, job=Job.objects.first())
    assert list(problems()) == [f"Row {row.position} of Snapshot 1 is not the line of its file."]


# Everywhere else

def test_uploads_that_hold_it_are_removed_and_others_stay(scored, alice, bob, run_jobs, client_of):
    holding = receive_upload(scored.project, io.BytesIO(b"id,text\np10,This is text p10.\n"), name="a.csv",
                             kind="examples", by=bob)
    labels = receive_upload(scored.project, io.BytesIO(b"id,label\np10,neutral\n"), name="b.csv", kind="annotations",
                            by=bob)
    other = receive_upload(scored.project, io.BytesIO(b"id,text\nq1,Another text.\n"), name="c.csv", kind="examples",
                           by=bob)
    erased(scored.examples["p10"], alice, run_jobs)
    there = {upload.name: object_exists(settings.GOLDPAN_OBJECTS, upload.sha256) for upload in (holding, labels, other)}
    assert there == {"a.csv": False, "b.csv": False, "c.csv": True} and list(problems()) == []
    html = client_of(bob).get(reverse("labeling:upload", args=[holding.pk])).content.decode()
    assert "is not kept any more" in html


def test_its_vector_is_overwritten_unless_another_example_has_the_text(scored, alice, run_jobs):
    vectors, out = np.ones((2, 4), dtype=np.float16), io.BytesIO()
    np.save(out, vectors)
    before = put_object(settings.GOLDPAN_OBJECTS, out.getvalue())
    shard = EmbeddingShard.objects.create(encoder="hashing", sha256=before, n_rows=2)
    Example.objects.filter(key="p10").update(observed_at=timezone.now())
    for row, key in enumerate(("p10", "p11")):
        Embedding.objects.create(encoder="hashing", content_sha256=content_sha256(f"This is text {key}."), shard=shard,
                                 row=row)
    erased(scored.examples["p10"], alice, run_jobs)
    shard.refresh_from_db()
    kept = np.load(object_path(settings.GOLDPAN_OBJECTS, shard.sha256))
    assert kept[0].tolist() == [0] * 4 and kept[1].tolist() == [1] * 4
    assert not object_exists(settings.GOLDPAN_OBJECTS, before) and Embedding.objects.count() == 1


def test_its_tasks_in_label_studio_are_deleted(scored, alice, charlie, run_jobs, settings):
    server = FakeLabelStudio()
    settings.GOLDPAN_LABEL_STUDIO_CLIENT = f"{__name__}.the_server"
    settings.GOLDPAN_LABEL_STUDIO_BOOTSTRAP = f"{__name__}.a_token"
    SERVER[:] = [server]
    example, other = scored.examples["p10"], scored.examples["p11"]
    annotator = annotate(other, "charlie", "neutral").annotator
    there = server.create_project("desk", "<View/>", 1)
    from labeling.label_studio import TaskIn

    tasks = server.import_tasks(there, [TaskIn(one.key, {"text": one.text}, "b") for one in (example, other)])
    Desk.objects.create(project=scored.project, annotator=annotator, url=server.url, ls_project_id=there,
                        config_sha256="0" * 64, instructions_version=1, webhook_secret="s")
    batch = Batch.objects.create(project=scored.project, number=1, title="all", created_by=alice)
    for one, task in zip((example, other), tasks, strict=True):
        item = BatchItem.objects.create(batch=batch, example=one, n_wanted=2, n_taken=1)
        Assignment.objects.create(example=one, annotator=annotator, item=item, state="placed", ls_task_id=task,
                                  expires_at=timezone.now())
    server.unavailable = True
    erase([example], reason="Somebody asked.", by=alice)
    run_jobs()
    job = Job.objects.get(kind="erase")
    assert job.state == Job.State.failed and "run this job again once Label Studio answers" in job.error
    server.unavailable = False
    Job.objects.filter(pk=job.pk).update(state="queued", finished_at=None)
    run_jobs()
    assert [key for _, key, _ in server.scan_identities(there)] == ["p11"]
    mine = Assignment.objects.get(example=example)
    assert (mine.state, mine.ls_task_id) == ("expired", None) and mine.item.n_wanted == mine.item.n_taken


SERVER: list[FakeLabelStudio] = []


def the_server(url: str, token: str) -> FakeLabelStudio:
    return SERVER[0]


def a_token(url: str, email: str, password: str) -> str:
    return "token"


# The whole database and the whole object store

WORD = "zanzibar"


def holds(content: bytes) -> bool:
    """Whether the word is in a file, or in what it packs."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return any(holds(file.read(name)) for name in file.namelist())
    if content[:4] == b"PAR1":
        content = str(pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pydict()).encode()
    return WORD.encode() in content.lower()


def places() -> set[str]:
    """Tables, kinds of files and folders of jobs in which the word stands."""
    found = {"a file" for path in stored_files() if holds(path.read_bytes())}
    found |= {"a job's folder" for path in settings.GOLDPAN_JOBS.rglob("*") if path.is_file()
              and holds(path.read_bytes())}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            if any(WORD in str(cell).lower() for row in cursor.fetchall() for cell in row):
                found.add(table)
    return found


@pytest.fixture
def told(request, alice, bob, run_jobs, monkeypatch):
    """A project of a type in which an example and its twin tell the word, and every room has something of it."""
    case = CASES[request.param]
    project = create_project(name="Letters", task_type=request.param, schema=case.schema, created_by=alice,
                             instructions="Read it.", target_value=0.8, split_salt="tests")
    add_member(project, bob, Role.curator, by=alice)
    examples = {}
    for n, key in enumerate([*(f"p{n:02}" for n in range(24)), *(f"d{n}" for n in range(4)),
                             *(f"t{n}" for n in range(4))]):
        split = {"p": "pool", "d": "dev", "t": "test"}[key[0]]
        text, right = case.text(n), case.right(n)
        if n in (3, 4):
            text = f"{text} {WORD} {WORD} {n}."
            if request.param == "response":
                right = f"{right} We shall write to {WORD}."
            elif request.param == "spans":
                right = [*right, *spans_of(text, WORD)]
        examples[key] = new_example(project, key, split, text=text, content_sha256=content_sha256(text))
        for name in ("mira",) if split == "pool" else ("mira", "jon", "kim"):
            annotate(examples[key], name, task_type(request.param).canonical(right))
    mine = [example for example in examples.values() if WORD in example.text]
    receive_upload(project, io.BytesIO(f"id,text\n{mine[0].key},\"{mine[0].text}\"\n".encode()), name="a.csv",
                   kind="examples", by=bob)
    for _ in range(2):  # the second one says what has changed
        start_score(project, by=bob)
        run_jobs()
        annotate(mine[0], "jon", task_type(request.param).canonical(case.other(0)))
    report = latest_report(project)
    monkeypatch.setattr(gold_sets, "IN_PAGE", 0)
    gold_sets.look(project, gold_sets.rule_of(gold_sets.gold_set_of(project)), by=bob)
    start_map(project, by=bob)
    start_freeze(project, by=bob)
    run_jobs()
    start_export(Snapshot.objects.get(), "csv", by=bob)
    start_export(Snapshot.objects.get(), "parquet", by=bob)
    run_jobs()
    assert not Job.objects.exclude(state="succeeded").exists(), Job.objects.exclude(state="succeeded")[0].error
    create_selection(project, [example.pk for example in mine], by=bob)
    decide(mine[0], verdict="discuss", reason=f"Is it {WORD}?", by=bob, report=report)
    write_message(mine[0], text=f"Yes, {WORD}.", by=alice)
    KnownAnswer.objects.create(project=project, example=mine[1], added_by=bob, value=Annotation.objects.filter(
        example=mine[1])[0].value)
    Suggestion.objects.create(example=mine[1], value=Annotation.objects.filter(example=mine[1])[0].value,
                              by="adapter 1")
    save_view(project, {"view": "all", "q": WORD}, name=f"What {WORD} wrote", is_shared=True, by=bob)
    for one in mine:  # bulk decisions with the words in them, below and above what is decided at once
        queue = Queue(report, Filter(view="all", q=WORD, state="any"))
        monkeypatch.setattr(bulk_decisions, "MAX_AT_ONCE", 2000 if one is mine[0] else 0)
        decide_all(project, queue.filter, seen=look_at(queue).seen, action="keep", reason=f"{WORD} is right.", by=bob)
    run_jobs()
    assert BulkDecision.objects.count() == 2
    if request.param in WRITTEN:
        decide(mine[0], verdict="relabel", value=Decision.objects.filter(example=mine[0]).last().value, by=bob,
               report=report)
    PairToJudge.objects.create(report=report, place=99, example_a=mine[0], example_b=mine[1], similarity=0.9)
    return project, mine


@pytest.mark.parametrize("told", ["classification", "response", "spans"], indirect=True)
def test_the_word_is_nowhere_any_more(told, alice, run_jobs):
    project, mine = told
    before = places()
    assert {"a file", "labeling_example", "curation_decision", "curation_message"} <= before
    erase(mine, reason="Somebody asked for it.", by=alice)
    run_jobs()
    assert Job.objects.get(kind="erase").state == Job.State.succeeded, Job.objects.get(kind="erase").error
    assert places() == set()
    assert list(problems()) == []
    start_freeze(project, by=alice)
    start_map(project, by=alice)
    run_jobs()
    assert places() == set() and list(problems()) == []


def test_of_searches_those_go_that_find_nothing_else(scored, alice, bob, run_jobs):
    for name, q in (("mine", "text p10"), ("everybody's", "this is"), ("nobody's", "unheard of")):
        save_view(scored.project, {"view": "all", "q": q}, name=name, is_shared=False, by=bob)
    for q in ("text p10", "this is"):
        queue = Queue(scored.report, Filter(view="all", q=q))
        decide_all(scored.project, queue.filter, seen=look_at(queue).seen, action="keep", reason="Read.", by=bob)
    erased(scored.examples["p10"], alice, run_jobs)
    assert set(SavedView.objects.values_list("name", flat=True)) == {"everybody's", "nobody's"}
    assert list(BulkDecision.objects.order_by("pk").values_list("query", "reason")) == [
        ("[erased]", ""), ("view=all&q=this+is", "Read.")]
    assert Job.objects.get(kind="erase").result["n_searches"] == 1


def test_the_page_of_bulk_decisions_says_that_the_words_are_gone(scored, alice, bob, client_of, run_jobs):
    queue = Queue(scored.report, Filter(view="all", q="text p10"))
    decide_all(scored.project, queue.filter, seen=look_at(queue).seen, action="keep", by=bob)
    erased(scored.examples["p10"], alice, run_jobs)
    html = client_of(bob).get(reverse("curation:bulk", args=[scored.project.pk])).content.decode()
    assert "the filter’s words were erased" in html and "p10" not in html


# Out of all queues

def test_nobody_decides_on_it_or_is_asked_about_it_any_more(scored, alice, bob, run_jobs):
    decide(scored.examples["p00"], verdict="keep", by=alice, report=scored.report)
    example = erased(scored.examples["p10"], alice, run_jobs)
    with pytest.raises(UserError, match="There is nothing left to decide"):
        decide(example, verdict="discuss", by=bob)
    assert undo(scored.project, by=alice).example == scored.examples["p00"]  # not the erasure
    with pytest.raises(UserError, match="All of these examples"):
        create_batch(scored.project, [example.pk], title="more", by=bob)


def test_it_is_not_erased_twice_nor_while_somebody_reads(scored, alice, run_jobs):
    Job.objects.create(project=scored.project, kind="score", title="Scoring", state="running", owner="x")
    with pytest.raises(UserError, match="“Scoring” is reading texts now"):
        erase([scored.examples["p10"]], reason="Somebody asked.", by=alice)
    Job.objects.update(state="succeeded", finished_at=timezone.now())
    erased(scored.examples["p10"], alice, run_jobs)
    with pytest.raises(UserError, match="was erased on"):
        erase([scored.examples["p10"]], reason="Somebody asked.", by=alice)


# The triggers let exactly this through

FORBIDDEN = [
    "UPDATE labeling_example SET text = '' WHERE key = 'p11'",  # not erased
    "UPDATE labeling_example SET text = 'other' WHERE key = 'p10'",
    "UPDATE labeling_example SET text = '', key = 'q' WHERE key = 'p10'",
    "UPDATE labeling_example SET content_sha256 = 'x' WHERE key = 'p10'",
    "DELETE FROM labeling_example WHERE key = 'p10'",
    "UPDATE labeling_annotation SET value = '\"[erased]\"' WHERE example_id = {p11}",
    "UPDATE labeling_annotation SET value = '\"positive\"' WHERE example_id = {p10}",
    "UPDATE labeling_annotation SET value = '[]', seconds = 1 WHERE example_id = {p10}",
    "DELETE FROM labeling_annotation WHERE example_id = {p10}",
    "UPDATE curation_snapshotrow SET label = '[erased]' WHERE example_id = {p11}",
    "UPDATE curation_snapshotrow SET label = 'positive' WHERE example_id = {p10}",
    "UPDATE curation_snapshotrow SET label = '[erased]', row_sha256 = 'x' WHERE example_id = {p10}",
    "UPDATE curation_decision SET value = '[erased]' WHERE example_id = {p00}",
    "UPDATE curation_decision SET verdict = 'open', reason = '' WHERE example_id = {p10}",
    "DELETE FROM curation_decision WHERE example_id = {p10}",
    "UPDATE curation_bulkdecision SET query = 'view=flagged'",
    "UPDATE curation_bulkdecision SET query = '[erased]', n_decided = 7",
    "DELETE FROM curation_bulkdecision",
    "UPDATE curation_erasure SET reason = 'x'",
    "DELETE FROM curation_erasure",
    "DELETE FROM curation_redactedrows"]


def test_nothing_else_can_be_changed_even_after_an_erasure(snapshot, scored, alice, bob, run_jobs):
    decide(scored.examples["p00"], verdict="relabel", value="positive", reason="said so", by=bob, report=scored.report)
    queue = Queue(scored.report, Filter(view="all"))
    decide_all(scored.project, queue.filter, seen=look_at(queue).seen, action="keep", by=bob)
    erased(scored.examples["p10"], alice, run_jobs)
    ids = {key: scored.examples[key].pk for key in ("p00", "p10", "p11")}
    for statement in FORBIDDEN:
        with (pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic(),
              connection.cursor() as cursor):
            cursor.execute(statement.format(**ids))


def test_the_same_blanking_is_let_through_again(snapshot, scored, alice, run_jobs):
    example = erased(scored.examples["p10"], alice, run_jobs)
    Example.objects.filter(pk=example.pk).update(text="", data={})
    assert SnapshotRow.objects.filter(example=example).update(label="[erased]") == 1
