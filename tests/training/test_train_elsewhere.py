import io
import json
import tarfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, transaction
from django.urls import reverse

from curation.services.erasing import erase
from jobs import services as jobs
from jobs.models import Job
from projects.errors import UserError
from projects.models import AuditEvent
from projects.wording import UNKNOWN
from tests.training.elsewhere import HEX, receipt_of, sealed, write_result
from tests.training.story import quoted, start_quoted
from tests.training.test_start_training import filled
from training.bundle import config_sha256
from training.models import Adapter, Evaluation, Quote, Receipt, Run, Submission
from training.services.bundles import bundle_of, download, import_result
from training.services.receipts import receipt_lines
from training.services.runs import start_training

ALL = ["local", "accelerate", "ray", "bundle", "skypilot", "replicate"]


@pytest.fixture(autouse=True)
def base_model(settings, tmp_path, monkeypatch):
    """A base model whose hash is known without one."""
    settings.GOLDPAN_EXECUTORS = ALL
    monkeypatch.setattr("training.language_model.model_identity", lambda folder: f"tiny@sha256:{HEX}")


@pytest.fixture
def handed(judged, alice, run_jobs):
    """A run whose bundle is made and which waits for its result."""
    run = start_training(judged, by=alice, executor="bundle")
    run_jobs()
    return Run.objects.get(pk=run.pk)


def result_of(run, folder, **changes):
    spec = {"prompt": run.config["prompt"], "config": run.config["training"]}
    return write_result(folder, **{
        "bundle": run.submissions.get().bundle_id, "snapshot_sha256": run.snapshot.sha256,
        "config_sha256": config_sha256(spec)} | changes)


def posted(folder):
    return {"files": [SimpleUploadedFile(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]}


# Starting

def start(client, snapshot, **changes):
    return client.post(reverse("training:train-elsewhere", args=[snapshot.pk]), filled(**changes))


def test_the_choice_stands_behind_the_fold_and_starts_such_a_run_without_a_quote(judged, alice, client_of):
    client = client_of(alice)
    html = client.get(reverse("training:train", args=[judged.pk])).content.decode()
    assert "Where it is trained" in html and "Another machine, by hand" in html and "No quote is needed" in html
    start(client, judged, executor="bundle", epochs=1)
    run = Run.objects.get(kind="lora")
    assert (run.executor, run.job.exclusive, run.config["training"]["epochs"]) == ("bundle", "", 1)
    assert AuditEvent.objects.get(what="train").detail["executor"] == "bundle"
    assert not Quote.objects.exists() and not run.caps.exists()


def test_a_wrong_setting_is_said_at_its_field(judged, alice, client_of):
    response = start(client_of(alice), judged, executor="bundle", r=0)
    assert response.status_code == 422 and "This must be between 1 and 256" in response.content.decode()
    assert not Run.objects.filter(kind="lora").exists()


def test_against_the_gate_it_takes_a_written_reason_too(snapshot, alice, client_of):
    assert start(client_of(alice), snapshot, executor="bundle").status_code == 422
    start(client_of(alice), snapshot, executor="bundle", override_reason="The prompt was tried elsewhere.")
    assert Run.objects.get().override_reason == "The prompt was tried elsewhere."


def test_its_cap_goes_with_the_files(judged, alice, client_of, run_jobs):
    start(client_of(alice), judged, executor="bundle", cap_minutes="90")
    run_jobs()
    run = Run.objects.get(kind="lora")
    assert (run.caps.get().seconds, run.caps.get().quote) == (5400, None)
    files = bundle_of(run).files
    assert json.loads(files["bundle.json"])["cap_seconds"] == 5400
    assert b"It stops at its cap of 90.0 minutes" in files["README.md"]


def test_a_cap_in_money_is_not_taken_where_no_price_is_known(judged, alice):
    with pytest.raises(UserError, match="give the cap as time"):
        start_training(judged, by=alice, executor="bundle", cap_money=9.0)
    assert not Run.objects.filter(kind="lora").exists()


def test_only_what_the_settings_offer_can_be_chosen(judged, alice, client_of, settings):
    settings.GOLDPAN_EXECUTORS = ["local"]
    client = client_of(alice)
    assert "Where it is trained" not in client.get(reverse("training:train", args=[judged.pk])).content.decode()
    assert start(client, judged, executor="ray").status_code == 422
    with pytest.raises(UserError, match="“ray” is no place to train here: GOLDPAN_EXECUTORS offers local"):
        start_training(judged, by=alice, executor="ray")


def test_several_gpus_train_by_accelerate_and_one_does_not(judged, alice, settings, model, run_jobs, monkeypatch,
                                                           client_of):
    asked = []
    settings.GOLDPAN_GPUS = 2

    def child(module, spec, **given):
        asked.append((module, spec.get("processes")))
        return model("training.finetune" if module == "training.distributed" else module, spec, **given)

    monkeypatch.setattr("training.services.executors.run_child", child)
    quote = quoted(judged, alice)
    client = client_of(alice)
    assert "How it is trained" in client.get(reverse("training:train", args=[judged.pk])).content.decode()
    client.post(reverse("training:train", args=[judged.pk]), {"quote": quote.pk, "executor": "accelerate"})
    run_jobs()
    [receipt] = Receipt.objects.all()
    assert receipt.quote == quote and {line.error for line in receipt_lines(receipt)} == {UNKNOWN}
    assert asked == [("training.distributed", 2)]
    assert Adapter.objects.get().receipt["processes"] == 2
    settings.GOLDPAN_GPUS = 1
    start_quoted(judged, by=alice, executor="accelerate", config={"seed": 2})
    run_jobs()
    assert asked[-1] == ("training.finetune", None)


# Out

def test_a_run_for_elsewhere_waits_for_its_result_and_says_how(handed, alice, bob, client_of):
    assert handed.job.state == "succeeded" and not Adapter.objects.exists()
    html = client_of(alice).get(reverse("training:run", args=[handed.pk])).content.decode()
    assert "waiting for its result." in html and "Download the files" in html and "python run.py" in html
    assert handed.submissions.get().bundle_id in html and reverse("training:result", args=[handed.pk]) in html
    html = client_of(bob).get(reverse("training:run", args=[handed.pk])).content.decode()
    assert "Download the files" not in html and "An admin downloads it." in html


def test_the_files_are_the_bundle_and_leaving_is_audited(handed, alice, client_of):
    response = client_of(alice).post(reverse("training:bundle", args=[handed.pk]))
    assert response.headers["Content-Disposition"] == f'attachment; filename="goldpan-run-{handed.pk}.tar"'
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        files = {m.name.split("/", 1)[1]: archive.extractfile(m).read() for m in archive.getmembers()}
    rows = [json.loads(line) for line in files["data/train.jsonl"].splitlines()]
    assert len(rows) == 30 and set(rows[0]) == {"key", "text", "label"}
    assert len(files["data/dev.jsonl"].splitlines()) == 9
    about = json.loads(files["bundle.json"])
    assert about["snapshot_sha256"] == handed.snapshot.sha256 and about["run"] == str(handed.pk)
    assert handed.project.name.encode() not in b"".join(files.values())
    event = AuditEvent.objects.filter(what="download bundle").get()
    assert (event.who, event.detail["bundle"]) == ("alice", handed.submissions.get().bundle_id)


def test_a_bundle_holds_no_held_out_text(handed, alice):
    held_out = [row.example.text for row in handed.snapshot.rows.filter(split="test").select_related("example")]
    _, content = download(handed, by=alice)
    assert held_out and not [text for text in held_out if text.encode() in content]


def test_after_an_update_results_of_both_bundles_are_taken(handed, alice, monkeypatch, tmp_path):
    first = handed.submissions.get().bundle_id
    monkeypatch.setattr("training.versions.version", lambda name: "99.0")
    download(handed, by=alice)
    assert handed.submissions.count() == 2
    import_result(handed, write_result(tmp_path / "result", bundle=first, snapshot_sha256=handed.snapshot.sha256,
                                       config_sha256=config_sha256({"prompt": handed.config["prompt"],
                                                                    "config": handed.config["training"]})), by=alice)


def test_a_run_that_trains_here_has_no_files_to_take(adapter, alice):
    with pytest.raises(UserError, match="is not trained elsewhere"):
        download(adapter.run, by=alice)


@pytest.mark.parametrize(("executor", "files", "words"), [
    ("skypilot", {"sky-runpod.yaml", "sky-kubernetes.yaml"}, "sky launch"),
    ("replicate", {"cog.yaml", "cog_run.py"}, "cog push")])
def test_the_place_adds_its_own_files_and_words(judged, alice, run_jobs, client_of, settings, tmp_path, executor, files,
                                                words):
    settings.GOLDPAN_SKYPILOT_PYTHON = tmp_path / "none"
    run = start_training(judged, by=alice, executor=executor)
    run_jobs()
    _, content = download(run, by=alice)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert files <= {name.split("/", 1)[1] for name in archive.getnames()}
    html = client_of(alice).get(reverse("training:run", args=[run.pk])).content.decode()
    assert words in html and ("nobody has read the task files" in html) == (executor == "skypilot")


# In

def test_a_result_becomes_an_adapter_and_is_evaluated_like_any_other(handed, alice, client_of, tmp_path, run_jobs):
    folder = result_of(handed, tmp_path / "result")
    response = client_of(alice).post(reverse("training:result", args=[handed.pk]), posted(folder))
    assert response.headers["Location"] == reverse("training:run", args=[handed.pk])
    adapter = Adapter.objects.get(run=handed)
    assert set(adapter.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert adapter.receipt["bundle"] == handed.submissions.get().bundle_id
    run_jobs()
    assert Evaluation.objects.filter(run=handed, split="test").count() == 1
    html = client_of(alice).get(reverse("training:run", args=[handed.pk])).content.decode()
    assert "% right." in html and "from 2.50 to 1.25" in html and "Train it elsewhere" not in html
    assert AuditEvent.objects.get(what="result imported").who == "alice"
    receipt = Receipt.objects.get(run=handed)
    assert (receipt.quote, receipt.seconds, receipt.is_whole) == (None, 70, True)


def test_a_result_that_was_ended_there_is_told_from_a_whole_one(handed, alice, tmp_path):
    import_result(handed, result_of(handed, tmp_path / "result", receipt=receipt_of(finish=True)), by=alice)
    assert not Receipt.objects.get(run=handed).is_whole


@pytest.mark.parametrize(("who", "status"), [("bob", 403), ("charlie", 403), ("dora", 404)])
def test_only_admins_take_files_and_bring_results(handed, request, client_of, who, status, tmp_path):
    client = client_of(request.getfixturevalue(who))
    assert client.post(reverse("training:bundle", args=[handed.pk])).status_code == status
    assert client.get(reverse("training:result", args=[handed.pk])).status_code == status
    assert client.post(reverse("training:result", args=[handed.pk]),
                       posted(result_of(handed, tmp_path / "result"))).status_code == status
    assert not Adapter.objects.exists()


@pytest.mark.parametrize(("changes", "words"), [
    ({"bundle": HEX}, "never gave out"), ({"snapshot_sha256": HEX}, "another snapshot"),
    ({"config_sha256": HEX}, "other settings"), ({"base_model": f"tiny@sha256:{'cd' * 32}"}, "this run is about"),
    ({"receipt": receipt_of(steps=9)}, "ends at step 2")])
def test_what_is_not_this_runs_is_refused_in_words_and_nothing_changes(handed, alice, client_of, tmp_path, changes,
                                                                      words):
    folder = result_of(handed, tmp_path / "result", **changes)
    response = client_of(alice).post(reverse("training:result", args=[handed.pk]), posted(folder))
    assert response.status_code == 422 and words in response.content.decode()
    assert not Adapter.objects.exists() and not Job.objects.filter(kind="evaluate").exists()


@pytest.mark.parametrize("name", ["result.tar", "../adapter_config.json", "training_args.bin"])
def test_archives_paths_and_pickles_are_not_taken(handed, alice, client_of, tmp_path, name):
    files = posted(result_of(handed, tmp_path / "result"))
    files["files"].append(SimpleUploadedFile("x", b"PK"))
    files["files"][-1]._name = name  # as a client that is no browser may send it
    response = client_of(alice).post(reverse("training:result", args=[handed.pk]), files)
    assert response.status_code == 422 and "is not wanted" in response.content.decode()
    assert not Adapter.objects.exists()


def test_no_file_at_all_is_said_at_the_field(handed, alice, client_of):
    response = client_of(alice).post(reverse("training:result", args=[handed.pk]))
    assert response.status_code == 422 and "This field is required." in response.content.decode()


def test_the_first_result_stands(handed, alice, client_of, tmp_path):
    folder = result_of(handed, tmp_path / "result")
    import_result(handed, folder, by=alice)
    with pytest.raises(UserError, match="has its result already"):
        import_result(handed, folder, by=alice)
    assert "The first result stands." in client_of(alice).get(
        reverse("training:result", args=[handed.pk])).content.decode()


def test_a_submission_is_never_changed(handed):
    with pytest.raises(DatabaseError), transaction.atomic():
        Submission.objects.update(bundle_id=HEX)
    with pytest.raises(DatabaseError), transaction.atomic():
        Run.objects.update(executor="local")


def test_the_commands_do_the_same(judged, alice, tmp_path, capsys):
    call_command("train", judged.project.name, "--by", "alice", "--executor", "bundle", "--json")
    run = Run.objects.get(kind="lora")
    assert json.loads(capsys.readouterr().out)["bundle"] == run.submissions.get().bundle_id
    call_command("export_bundle", judged.project.name, str(run.pk), "--by", "alice", "--to", str(tmp_path))
    assert tarfile.is_tarfile(tmp_path / f"goldpan-run-{run.pk}.tar")
    folder = result_of(run, tmp_path / "result")
    with pytest.raises(CommandError, match="Only an admin"):
        call_command("import_result", judged.project.name, str(run.pk), str(folder), "--by", "bob")
    call_command("import_result", judged.project.name, str(run.pk), str(folder), "--by", "alice")
    assert Evaluation.objects.filter(run=run, split="test").exists()


def test_a_link_in_the_folder_of_the_command_is_refused(handed, alice, tmp_path):
    folder = result_of(handed, tmp_path / "result")
    (folder / "metrics.jsonl").rename(tmp_path / "elsewhere.jsonl")
    (folder / "metrics.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(UserError, match="is a link or a folder"):
        import_result(handed, sealed(folder), by=alice)


def test_the_run_page_takes_few_queries(handed, alice, client_of, django_assert_max_num_queries):
    client = client_of(alice)
    with django_assert_max_num_queries(23):
        client.get(reverse("training:run", args=[handed.pk]))


def test_what_was_erased_is_in_no_bundle_and_a_result_that_learned_it_is_refused(handed, alice, tmp_path):
    folder = result_of(handed, tmp_path / "result")
    example = handed.snapshot.rows.filter(split="train").first().example
    text = example.text
    erase([example], reason="asked", by=alice)
    for job in Job.objects.filter(kind="erase"):
        jobs.run(job.pk, heartbeat=False)
    with pytest.raises(UserError, match="was erased after the files were taken"):
        import_result(handed, folder, by=alice)
    _, content = download(handed, by=alice)
    assert text.encode() not in content and b"Row 0" in content
    with pytest.raises(UserError, match="never gave out"):
        import_result(handed, folder, by=alice)
