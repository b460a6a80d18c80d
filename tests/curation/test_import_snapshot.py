"""A snapshot file proves itself: imported elsewhere it gives the same hash, or nothing at all."""

import io

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from curation.bundle import open_bundle
from curation.models import Snapshot
from curation.services.approvals import approve_snapshot, judged_checks, override_check
from curation.services.exporting import write_export
from curation.services.frozen import read_manifest, read_rows
from curation.services.importing import receive_snapshot
from curation.services.snapshots import start_freeze
from goldpan.verification import problems
from jobs.models import Job
from labeling.models import Example
from projects.errors import UserError
from projects.models import Role
from projects.objects import object_exists
from projects.services import add_member
from tests.conftest import new_project
from tests.curation.conftest import new_example


@pytest.fixture
def snapshot(scored, bob, run_jobs):
    start_freeze(scored.project, by=bob)
    run_jobs()
    return Snapshot.objects.get()


@pytest.fixture
def file(snapshot, tmp_path):
    write_export(snapshot, "snapshot", tmp_path / "out")
    return (tmp_path / "out" / "snapshot.jsonl").read_bytes()


@pytest.fixture
def elsewhere(alice, bob):
    """An empty project with the same labels, and a salt of its own."""
    project = new_project("Elsewhere", alice)
    type(project).objects.filter(pk=project.pk).update(split_salt="another")
    add_member(project, bob, Role.curator, by=alice)
    project.refresh_from_db()
    return project


def received(project, content, by, run_jobs):
    receive_snapshot(project, io.BytesIO(content), name="moods.jsonl", by=by)
    run_jobs()
    job = Job.objects.filter(kind="import_snapshot").first()
    assert job.state == Job.State.succeeded, job.error
    return Snapshot.objects.get(pk=job.result["snapshot"])


def test_it_gives_the_same_hash_and_the_same_rows(snapshot, file, elsewhere, bob, run_jobs):
    imported = received(elsewhere, file, bob, run_jobs)
    assert (imported.sha256, imported.rows_sha256) == (snapshot.sha256, snapshot.rows_sha256)
    assert read_rows(imported) == read_rows(snapshot) and read_manifest(imported) == read_manifest(snapshot)
    assert (imported.project, imported.number, imported.origin) == (elsewhere, 1, "imported")
    examples = Example.objects.filter(project=elsewhere)
    assert examples.count() == snapshot.rows.count() and list(problems()) == []
    elsewhere.refresh_from_db()
    assert elsewhere.split_salt == snapshot.project.split_salt
    assert {one.key: one.split for one in examples} == {
        row.key: "pool" if row.split == "train" else row.split for row in read_rows(snapshot)}
    job = Job.objects.filter(kind="import_snapshot").first()
    assert not object_exists(settings.GOLDPAN_OBJECTS, job.params["file"])  # no second copy of the texts


def test_what_is_exported_again_is_the_same_file(snapshot, file, elsewhere, bob, run_jobs, tmp_path):
    imported = received(elsewhere, file, bob, run_jobs)
    write_export(imported, "huggingface", tmp_path / "again")
    assert (tmp_path / "again" / "snapshot.jsonl").read_bytes() == file


def test_the_checks_say_that_its_answers_are_not_here_and_an_admin_may_trust_it(
        file, elsewhere, alice, bob, client_of, run_jobs):
    imported = received(elsewhere, file, bob, run_jobs)
    red = [judged.check for judged in judged_checks(imported) if not judged.is_green]
    assert [check.name for check in red] == ["leaks", "blind_labels", "scoring"]
    html = client_of(alice).get(reverse("curation:snapshot-detail", args=[imported.pk])).content.decode()
    assert "snapshot 1 of “Moods”" in html and "3 of 10 checks fail" in html
    row = reverse("curation:snapshot-row", args=[imported.pk, 0])
    assert "The snapshot was imported." in client_of(alice).get(row).content.decode()
    for check in red:
        override_check(imported, name=check.name, n=check.n, reason="Checked where it was frozen.", by=alice)
    approve_snapshot(imported, sha256=imported.sha256, approver=alice)


@pytest.mark.parametrize(("change", "words"), [
    (lambda lines: [lines[0], lines[1].replace(b"This", b"That"), *lines[2:]], "The rows are not the ones that were"),
    (lambda lines: lines[:-1], "The file ends within its left_out"),
    (lambda lines: [*lines, b"{}\n"], "There is something behind the last line"),
    (lambda lines: lines[1:], "This is no snapshot file of Goldpan"),
    (lambda lines: [lines[0].replace(b'"n":', b'"m":'), *lines[1:]], "This is no snapshot file of Goldpan"),
    (lambda lines: [b'{"format":3}\n'], "This is no snapshot file of Goldpan"),
    (lambda lines: [b"\xff\xfe\n"], "This is no snapshot file of Goldpan"),
    (lambda lines: [], "This is no snapshot file of Goldpan")])
def test_a_file_that_is_not_what_was_frozen_is_refused_in_words(file, elsewhere, bob, client_of, change, words):
    content = b"".join(change(file.splitlines(keepends=True)))
    response = client_of(bob).post(reverse("curation:snapshot-import", args=[elsewhere.pk]), {
        "file": SimpleUploadedFile("moods.jsonl", content or b" ")})
    assert response.status_code == 422 and words in response.content.decode()
    assert not Job.objects.filter(kind="import_snapshot").exists()


def test_a_changed_manifest_is_another_snapshot_and_says_so_by_its_hash(file, tmp_path):
    """Nobody can keep the hash and change a word: the hash is of the line with the words."""
    head, rest = file.split(b"\n", 1)
    path = tmp_path / "file"
    path.write_bytes(head.replace(b"Moods", b"Moans") + b"\n" + rest)
    changed = open_bundle(path)
    path.write_bytes(file)
    assert changed.manifest["project"] == "Moans" and changed.sha256 != open_bundle(path).sha256


def test_where_it_is_already_nothing_is_imported(snapshot, file, bob):
    with pytest.raises(UserError, match="This is snapshot 1, which is here already"):
        receive_snapshot(snapshot.project, io.BytesIO(file), name="x", by=bob)


def test_it_fits_only_a_project_of_its_kind(file, elsewhere, alice, bob):
    new_example(elsewhere, "old", "pool")
    with pytest.raises(UserError, match="splits its examples otherwise"):
        receive_snapshot(elsewhere, io.BytesIO(file), name="x", by=bob)
    type(elsewhere).objects.filter(pk=elsewhere.pk).update(schema={"labels": elsewhere.schema["labels"][:2]})
    elsewhere.refresh_from_db()
    with pytest.raises(UserError, match="follow another schema"):
        receive_snapshot(elsewhere, io.BytesIO(file), name="x", by=bob)
    elsewhere.task_type = "multilabel"
    with pytest.raises(UserError, match="is of type classification, “Elsewhere” is of type multilabel"):
        receive_snapshot(elsewhere, io.BytesIO(file), name="x", by=bob)


def test_a_key_that_stands_for_another_text_stops_all_of_it(file, elsewhere, snapshot, bob, run_jobs):
    type(elsewhere).objects.filter(pk=elsewhere.pk).update(split_salt=snapshot.project.split_salt)
    elsewhere.refresh_from_db()
    new_example(elsewhere, "p10", "pool", text="Another text.")
    receive_snapshot(elsewhere, io.BytesIO(file), name="x", by=bob)
    run_jobs()
    job = Job.objects.get(kind="import_snapshot")
    assert job.state == Job.State.failed and "The key “p10” stands for another text" in job.error
    assert Example.objects.filter(project=elsewhere).count() == 1


@pytest.mark.parametrize(("who", "status"), [("alice", 302), ("bob", 302), ("charlie", 403), ("dora", 404)])
def test_who_may_import_examples_may_import_a_snapshot(
        file, elsewhere, charlie, alice, request, client_of, who, status):
    add_member(elsewhere, charlie, Role.annotator, by=alice)
    response = client_of(request.getfixturevalue(who)).post(
        reverse("curation:snapshot-import", args=[elsewhere.pk]), {"file": SimpleUploadedFile("m.jsonl", file)})
    assert response.status_code == status
