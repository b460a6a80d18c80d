"""Files that a program carries: an outside company's answers, a snapshot, a run to another machine and its result."""

import io
import tarfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from curation.models import Snapshot
from curation.services.exporting import write_export
from curation.services.snapshots import start_freeze
from jobs.models import Job
from labeling.models import Annotation, Batch
from labeling.services.batches import Overlap, create_batch
from projects.models import AuditEvent, Role
from projects.services import add_member
from tests.conftest import new_project
from tests.curation.conftest import Scored, new_example, scored  # noqa: F401
from tests.training.conftest import judged, model, snapshot  # noqa: F401
from tests.training.elsewhere import HEX, write_result
from training.bundle import config_sha256
from training.models import Adapter, Run


def file(content: bytes, name: str = "answers.csv") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


# An outside company

@pytest.fixture
def batch(project, bob) -> Batch:
    examples = [new_example(project, key, "pool").pk for key in ("one", "two")]
    return create_batch(project, examples, title="out", by=bob, vendor="acme", overlap=Overlap(1, 0, 1, 1))


def test_a_batch_goes_out_as_a_file_and_its_answers_come_back(batch, bob, program_of, run_jobs):
    program = program_of(bob)
    sent = program.get(f"/batches/{batch.pk}/file?format=csv")
    assert sent.status_code == 200 and b"".join(sent.streaming_content).count(b"\n") == 3
    answers = file(b"key,annotator,label\none,ann,neutral\nnone,ann,neutral\n")
    upload = program.upload(f"/batches/{batch.pk}/answers", answers)
    assert upload.status_code == 201 and (upload.data["n_good"], upload.data["n_bad"]) == (1, 1)
    assert upload.data["kind"] == "annotations" and not Annotation.objects.exists()
    program.post(f"/uploads/{upload.data['id']}/import", {"skip_bad": True})
    run_jobs()
    assert Annotation.objects.get().example.key == "one"


def test_a_companys_columns_may_be_named(batch, bob, program_of):
    answers = file(b"a,b,c\none,ann,neutral\n")
    upload = program_of(bob).upload(f"/batches/{batch.pk}/answers", answers, key_column="a", annotator_column="b",
                                    label_column="c")
    assert upload.status_code == 201 and upload.data["n_good"] == 1


def test_answers_that_cannot_be_taken_are_refused_in_words(batch, project, bob, program_of, settings):
    program, on_desks = program_of(bob), Batch.objects.create(project=project, number=9, title="here", created_by=bob)
    refused = program.upload(f"/batches/{on_desks.pk}/answers", file(b"key,annotator,label\n"))
    assert refused.status_code == 409 and "is labelled on desks" in refused.data["detail"]
    assert program.get(f"/batches/{on_desks.pk}/file").status_code == 409
    assert program.get(f"/batches/{batch.pk}/file?format=xml").status_code == 422
    assert program.post(f"/batches/{batch.pk}/answers").status_code == 422, "no file"
    settings.GOLDPAN_MAX_UPLOAD_MB = 0.00001
    assert program.upload(f"/batches/{batch.pk}/answers", file(b"key,annotator,label\n")).status_code == 413


# A snapshot

def test_a_snapshot_file_is_proven_and_imported_once_however_often_it_is_sent(
        scored: Scored, alice, bob, program_of, run_jobs, tmp_path):  # noqa: F811
    start_freeze(scored.project, by=bob)
    run_jobs()
    here = Snapshot.objects.get()
    write_export(here, "snapshot", tmp_path / "out")
    content = (tmp_path / "out" / "snapshot.jsonl").read_bytes()
    elsewhere = new_project("Elsewhere", alice)
    add_member(elsewhere, bob, Role.curator, by=alice)
    program, path = program_of(bob, of=elsewhere), f"/projects/{elsewhere.pk}/snapshots/import"
    job, again = (program.upload(path, file(content, "moods.jsonl")) for _ in range(2))
    assert job.status_code == 202 and again.data["id"] == job.data["id"]
    run_jobs()
    assert program.get(f"/jobs/{job.data['id']}").data["state"] == "succeeded"
    assert Snapshot.objects.get(project=elsewhere).sha256 == here.sha256
    late = program.upload(path, file(content, "moods.jsonl"))
    assert late.status_code == 409 and "which is here already" in late.data["detail"]


def test_a_changed_snapshot_file_is_refused_and_a_too_large_one(project, bob, program_of, settings):
    program, path = program_of(bob), f"/projects/{project.pk}/snapshots/import"
    refused = program.upload(path, file(b'{"not": "a snapshot"}\n', "x.jsonl"))
    assert refused.status_code == 409 and len(refused.data["detail"]) > 20
    settings.GOLDPAN_MAX_UPLOAD_MB = 0.00001
    assert "GOLDPAN_MAX_UPLOAD_MB" in program.upload(path, file(b"{}" * 99)).data["detail"]
    assert not Job.objects.filter(kind="import_snapshot").exists()


# A run on another machine

@pytest.fixture
def program(program_of, alice, settings, monkeypatch):
    settings.GOLDPAN_EXECUTORS = ["local", "bundle"]
    monkeypatch.setattr("training.language_model.model_identity", lambda folder: f"tiny@sha256:{HEX}")
    return program_of(alice)


@pytest.fixture
def carried(program, judged, run_jobs) -> Run:  # noqa: F811
    """A run that a program has started for another machine."""
    started = program.post(f"/snapshots/{judged.pk}/runs", {"executor": "bundle", "settings": {
        "method": "lora", "epochs": 1}, "cap_seconds": 90})
    assert started.status_code == 202 and started.data["executor"] == "bundle"
    run_jobs()
    return Run.objects.get(pk=started.data["id"])


def result_of(run: Run, folder, **changes) -> list[SimpleUploadedFile]:
    spec = {"prompt": run.config["prompt"], "config": run.config["training"]}
    written = write_result(folder, **{
        "bundle": run.submissions.get().bundle_id, "snapshot_sha256": run.snapshot.sha256,
        "config_sha256": config_sha256(spec)} | changes)
    return [SimpleUploadedFile(path.name, path.read_bytes()) for path in sorted(written.iterdir())]


def bring(program, run: Run, files):
    return program.client.post(f"/api/v1/runs/{run.pk}/result", {"files": files})


def test_a_run_goes_out_as_a_file_and_its_result_comes_back(program, carried, tmp_path):
    assert carried.config["training"]["epochs"] == 1 and carried.caps.get().seconds == 90
    sent = program.get(f"/runs/{carried.pk}/bundle")
    assert f'filename="goldpan-run-{carried.pk}.tar"' in sent["Content-Disposition"]
    with tarfile.open(fileobj=io.BytesIO(b"".join(sent.streaming_content))) as tar:
        names = tar.getnames()
    assert f"goldpan-run-{carried.pk}/run.py" in names and not [name for name in names if "test.jsonl" in name]
    assert AuditEvent.objects.filter(what="download bundle", who="alice").count() == 1
    brought = bring(program, carried, result_of(carried, tmp_path / "result"))
    assert brought.status_code == 201 and brought.json()["run_id"] == carried.pk
    assert program.get(f"/projects/{carried.project.pk}/jobs?kind=evaluate").data["items"][0]["state"] == "queued"
    second = bring(program, carried, result_of(carried, tmp_path / "again"))
    assert second.status_code == 409 and "has its result already" in second.json()["detail"]
    assert Adapter.objects.filter(run=carried).count() == 1


def test_a_result_that_is_not_this_runs_is_not_taken(program, carried, tmp_path, settings):
    whole = result_of(carried, tmp_path / "other", snapshot_sha256=HEX)
    assert "This result is not taken" in bring(program, carried, whole).json()["detail"]
    refused = bring(program, carried, [SimpleUploadedFile("result.zip", b"PK")])
    assert refused.status_code == 409 and "result.zip is not wanted" in refused.json()["detail"]
    assert bring(program, carried, []).status_code == 422
    settings.GOLDPAN_MAX_UPLOAD_MB = 0.00001
    assert bring(program, carried, result_of(carried, tmp_path / "large")).status_code == 413
    assert not Adapter.objects.exists()


def test_a_run_of_this_machine_has_no_files_and_takes_no_result(program, judged):  # noqa: F811
    prompt = Run.objects.filter(snapshot=judged).first()
    taken = program.get(f"/runs/{prompt.pk}/bundle")
    assert taken.status_code == 409 and "is not trained elsewhere" in taken.data["detail"]
    brought = bring(program, prompt, [SimpleUploadedFile("receipt.json", b"{}")])
    assert brought.status_code == 409 and "trained by Goldpan itself" in brought.json()["detail"]
    unknown = program.post(f"/snapshots/{judged.pk}/runs", {"executor": "ray"})
    assert unknown.status_code == 409 and "GOLDPAN_EXECUTORS offers local, bundle" in unknown.data["detail"]
