import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from training.clouds import CLOUDS, check_sky_files, cog_files, sky_files

GPUS = ["L4:1", "A10G:1"]
sky = pytest.mark.skipif(not Path(settings.GOLDPAN_SKYPILOT_PYTHON).exists(), reason="make skypilot was not run")


@pytest.mark.parametrize("infra", CLOUDS)
def test_there_is_a_task_for_each_cloud_that_runs_the_bundle(infra):
    task = yaml.safe_load(sky_files("12", GPUS)[f"sky-{infra}.yaml"])
    assert task["resources"] == {"infra": infra, "accelerators": GPUS, "disk_size": 64,
                                 "autostop": {"idle_minutes": 60, "down": True}}
    assert (task["name"], task["workdir"]) == ("goldpan-run-12", ".")
    assert task["setup"].strip() == "pip install -r requirements.txt" and "python run.py" in task["run"]
    assert "envs" not in task and "secrets" not in task


@sky
def test_skypilot_itself_reads_every_task():
    assert check_sky_files(sky_files("12", GPUS), settings.GOLDPAN_SKYPILOT_PYTHON).count(".") == 2


@sky
def test_what_skypilot_refuses_is_said_in_its_words():
    files = {"sky-x.yaml": sky_files("12", GPUS)["sky-aws.yaml"].replace("infra: aws", "infra: nowhere")}
    with pytest.raises(ValueError, match=r"SkyPilot refuses the task: .*nowhere"):
        check_sky_files(files, settings.GOLDPAN_SKYPILOT_PYTHON)


def test_an_interpreter_that_fails_is_told_by_its_last_line(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module named sky >&2\nexit 1\n")
    python.chmod(0o700)
    with pytest.raises(ValueError, match="no module named sky"):
        check_sky_files(sky_files("12", GPUS), python)


def test_cogs_class_trains_and_answers_with_the_files_of_the_result(tmp_path, monkeypatch):
    """Before a stand-in for the package cog; what the class needs of it are these two names."""
    cog = types.ModuleType("cog")
    cog.BaseRunner, cog.Path = object, Path
    monkeypatch.setitem(sys.modules, "cog", cog)
    files = cog_files("12")
    (tmp_path / "cog_run.py").write_text(files["cog_run.py"])
    (tmp_path / "run.py").write_text("from pathlib import Path\nPath('result').mkdir()\n"
                                     "Path('result/metrics.jsonl').touch()\nPath('result/receipt.json').touch()\n")
    module, name = yaml.safe_load(files["cog.yaml"])["run"].split(":")
    spec = importlib.util.spec_from_file_location("cog_run", tmp_path / module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    assert [path.name for path in getattr(loaded, name)().run()] == ["metrics.jsonl", "receipt.json"]
    assert json.dumps(yaml.safe_load(files["cog.yaml"])["build"], sort_keys=True) == json.dumps(
        {"gpu": True, "python_requirements": "requirements.txt", "python_version": "3.11"})
