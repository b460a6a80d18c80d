import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.child import run_child
from tests.training.elsewhere import without_django
from tests.training.tiny_model import SCHEMA, toy_rows
from training import bundle, elsewhere, language_model, prompts
from training.bundle import RunToBundle, code_files, config_sha256, imported_names, make_bundle, tar_of, write_bundle
from training.results import read_result

CONFIG = {"epochs": 2, "batch_size": 4, "checkpoint_steps": 3, "learning_rate": 0.01, "threads": 1}
SPEC = {"prompt": prompts.prompt_to_json(prompts.short(SCHEMA)), "config": CONFIG}
RUN = RunToBundle("7", "LoRA (run 7)", "a" * 64, config_sha256(SPEC), "tiny@sha256:00", "", SPEC, 1, toy_rows(24),
                  toy_rows(9))


@pytest.fixture
def run(tiny_folder):
    return replace(RUN, base_model=language_model.model_identity(tiny_folder))


def train_there(folder: Path, model: Path, *arguments: str, nothing: Path) -> subprocess.CompletedProcess[str]:
    """`python run.py` where Django, Celery and the rest of Goldpan cannot be imported, in an empty environment."""
    return subprocess.run(
        [sys.executable, "-P", "run.py", "--model", str(model), *arguments], cwd=folder, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(without_django(nothing)), "OMP_NUM_THREADS": "1"})


def test_equal_runs_give_equal_bytes_and_any_change_another_id():
    assert tar_of(make_bundle(RUN), "run") == tar_of(make_bundle(RUN), "run")
    others = [replace(RUN, train=toy_rows(23)), replace(RUN, snapshot_sha256="b" * 64),
              replace(RUN, spec={**SPEC, "config": {**CONFIG, "seed": 2}}), replace(RUN, base_model="tiny@sha256:01")]
    assert len({make_bundle(run).id for run in [RUN, *others]}) == 5


def test_the_tar_has_no_times_and_no_owners_and_the_sums_name_every_file():
    packed = make_bundle(RUN)
    with tarfile.open(fileobj=io.BytesIO(tar_of(packed, "run"))) as archive:
        members = archive.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode, m.isfile()) for m in members} == {(0, 0, 0, "", 0o644, True)}
        assert [m.name for m in members] == [f"run/{path}" for path in sorted(packed.files)]
    sums = dict(reversed(line.split("  ")) for line in packed.files["SHA256SUMS"].decode().splitlines())
    assert sums == {path: hashlib.sha256(content).hexdigest() for path, content in packed.files.items()
                    if path != "SHA256SUMS"}


def test_the_code_is_what_is_imported_and_none_of_it_is_django():
    code = code_files()
    assert {"training/finetune.py", "training/encoding.py", "training/elsewhere.py", "jobs/child.py",
            "training/__init__.py", "jobs/__init__.py"} <= set(code)
    assert not {path for path in code if "/services" in path or "models.py" in path or "views" in path}
    assert not [path for path, source in code.items() if b"django" in source and b"import django" in source]


def test_imports_are_found_wherever_they_stand():
    source = "import os\nfrom training import a\nimport jobs.child\ndef f():\n    from stats.b import c\n"
    assert imported_names(source) == ["training", "training.a", "jobs.child", "stats.b", "stats.b.c"]


def test_no_secret_and_no_held_out_row_is_in_it():
    about = json.loads(make_bundle(RUN).files["bundle.json"])
    assert set(about) == {"format", "run", "snapshot_sha256", "config_sha256", "base_model", "rows", "processes",
                          "spec", "cap_seconds"}
    assert about["rows"] == {"train": 24, "dev": 9}
    assert not [path for path in make_bundle(RUN).files if "test" in path]


def test_every_requirement_is_pinned_for_any_machine():
    lines = make_bundle(RUN).files["requirements.txt"].decode().splitlines()
    assert {line.split("==")[0] for line in lines} >= {"torch", "transformers", "peft", "trl", "accelerate"}
    assert not [line for line in lines if "+" in line]


def test_it_trains_where_there_is_no_django_and_the_result_is_that_of_here(run, tiny_folder, tmp_path):
    """The same adapter, byte for byte, as a training by Goldpan itself."""
    folder = write_bundle(make_bundle(run), tmp_path / "bundle")
    done = train_there(folder, tiny_folder, nothing=tmp_path / "nothing")
    assert done.returncode == 0, done.stdout + done.stderr
    result = read_result(folder / "result", max_bytes=1 << 30)
    assert (result.bundle, result.config_sha256) == (make_bundle(run).id, run.config_sha256)
    here = run_child("training.finetune", {
        **SPEC, "model": str(tiny_folder), "rows_file": str(folder / "data" / "train.jsonl"),
        "dev_file": str(folder / "data" / "dev.jsonl")}, folder=tmp_path / "here")
    assert result.hashes["adapter_model.safetensors"] == here["files"]["adapter_model.safetensors"]
    assert (result.receipt["loss_last"], result.receipt["steps"]) == (here["loss_last"], 12)


@pytest.mark.drill
def test_two_processes_make_the_steps_of_one(run, tiny_folder, tmp_path):
    """By `accelerate launch`; equal but for the order of additions."""
    several = write_bundle(make_bundle(run), tmp_path / "several")
    done = train_there(several, tiny_folder, "--processes", "2", nothing=tmp_path / "nothing")
    assert done.returncode == 0, done.stdout + done.stderr + (several / "work" / "log.txt").read_text()
    alone = run_child("training.finetune", {
        **SPEC, "model": str(tiny_folder), "rows_file": str(several / "data" / "train.jsonl"),
        "dev_file": str(several / "data" / "dev.jsonl")}, folder=tmp_path / "alone")
    together = read_result(several / "result", max_bytes=1 << 30).receipt
    assert together["processes"] == 2 and together["steps"] == alone["steps"] == 12
    assert together["tokens"] == alone["tokens"]
    assert together["loss_last"] == pytest.approx(alone["loss_last"], abs=1e-4)
    assert together["epochs"][-1]["dev_loss"] == pytest.approx(alone["epochs"][-1]["dev_loss"], abs=1e-4)


@pytest.mark.parametrize(("path", "change", "words"), [
    ("data/train.jsonl", b"{}\n", "data/train.jsonl is not the file that was packed"),
    ("code/training/finetune.py", None, "code/training/finetune.py is missing")])
def test_a_bundle_that_was_changed_on_the_way_is_refused(tmp_path, path, change, words):
    folder = write_bundle(make_bundle(RUN), tmp_path)
    (folder / path).unlink()
    if change is not None:
        (folder / path).write_bytes(change)
    with pytest.raises(ValueError, match=words):
        elsewhere.read_bundle(folder)


def test_other_weights_than_the_runs_are_refused(tmp_path, tiny_folder, monkeypatch):
    wanted = {"identity": "other@sha256:ff", "source": ""}
    with pytest.raises(ValueError, match="the weights differ"):
        elsewhere.find_model(tmp_path, wanted, tiny_folder)
    monkeypatch.delenv("GOLDPAN_BASE_MODEL", raising=False)
    with pytest.raises(ValueError, match="Where is other@sha256:ff"):
        elsewhere.find_model(tmp_path, wanted, None)


def test_the_base_model_may_have_another_name_there(tmp_path, tiny_folder):
    digest = language_model.model_identity(tiny_folder).partition("@")[2]
    wanted = {"identity": f"as we call it@{digest}", "source": ""}
    (tmp_path / "model").symlink_to(tiny_folder)
    assert elsewhere.find_model(tmp_path, wanted, None) == tiny_folder.resolve()


def test_a_model_of_the_hub_is_downloaded_in_its_revision(tmp_path, tiny_folder, monkeypatch):
    asked = []
    monkeypatch.delenv("GOLDPAN_BASE_MODEL", raising=False)
    monkeypatch.setattr("huggingface_hub.snapshot_download",
                        lambda name, **given: asked.append((name, given["revision"])) or str(tiny_folder))
    wanted = {"identity": language_model.model_identity(tiny_folder), "source": "owner/name@abc123"}
    assert elsewhere.find_model(tmp_path, wanted, None) == tiny_folder
    assert asked == [("owner/name", "abc123")]


def test_what_has_to_be_put_right_is_said_in_words_with_exit_code_2(tmp_path, capsys):
    folder = write_bundle(make_bundle(RUN), tmp_path)
    assert elsewhere.main(folder, ["--check", "--model", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().out


def test_the_sums_are_as_sha256sum_reads_them(tmp_path):
    folder = write_bundle(make_bundle(RUN), tmp_path)
    assert subprocess.run(["sha256sum", "-c", "--quiet", bundle.SUMS], cwd=folder).returncode == 0
