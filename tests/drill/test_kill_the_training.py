"""kill -9 of ten trainings of the real small model, at ten kinds of moments: all end as an undisturbed one does.

Eight steps of four rows, a checkpoint behind every third and behind both epochs. A moment is looked for from outside,
in the files that the run writes; the kill follows a random time later.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from jobs.child import child_environment, run_child
from tests.drill.installation import KILLS, SEED, need_model
from tests.training.tiny_model import SCHEMA, toy_rows
from training import prompts
from training.checkpoints import MANIFEST

pytestmark = [pytest.mark.drill, pytest.mark.models]
N_ROWS, N_DEV, N_STEPS = 16, 12, 8
CONFIG = {"epochs": 2, "batch_size": 4, "checkpoint_steps": 3, "threads": 1, "dropout": 0.1}
ATTEMPT_SECONDS = 600  # generous: a machine that does other things, too
draw = random.Random(SEED)
Look = Callable[[Path], bool]


@dataclass(frozen=True)
class Moment:
    """From when on a kill may come, and within how many seconds it does."""

    words: str
    has_come: Look
    within_seconds: float


def started(folder: Path) -> bool:
    return True


def ready(folder: Path) -> bool:
    """Model and rows are there, no step is done."""
    return (folder / "metrics.jsonl").exists()


def step(*, first: int, last: int) -> Moment:
    number = draw.randint(first, last)
    return Moment(f"within step {number + 1}", lambda folder: any(row["step"] >= number for row in metrics(folder)),
                  0.6)


def half_written(name: str) -> Look:
    return lambda folder: (place := folder / "checkpoints" / name).exists() and not (place / MANIFEST).exists()


def before_scoring(number: int) -> Look:
    """The checkpoint at the end of an epoch is whole, the epoch not scored."""
    return lambda folder: (folder / "checkpoints" / f"checkpoint-{number}" / MANIFEST).exists() and not scored(
        folder, number)


def scored(folder: Path, number: int) -> bool:
    return any(row["step"] == number and "loss" not in row for row in metrics(folder))


STARTING = Moment("while it starts", started, 4.0)
KILLED: list[list[Moment]] = [
    [STARTING],
    [Moment("before its first step", ready, 0.3)],
    [step(first=1, last=2)],
    [step(first=4, last=7)],
    [Moment("with checkpoint 3 half written", half_written("checkpoint-3"), 0.02)],
    [Moment("with checkpoint 6 half written", half_written("checkpoint-6"), 0.02)],
    [Moment("between an epoch and its scoring", before_scoring(4), 0.02)],
    [Moment("while an epoch is scored", before_scoring(8), 0.3)],
    [Moment("behind the last score", lambda folder: scored(folder, 8), 0.02)],
    [step(first=3, last=5), STARTING, Moment("with checkpoint 8 half written", half_written("checkpoint-8"), 0.02)],
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    need_model()
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, run_child("training.finetune", spec_of(folder), folder=folder)


@pytest.mark.parametrize("moments", KILLED, ids=lambda moments: ", then ".join(moment.words for moment in moments))
def test_a_killed_training_ends_as_if_nothing_had_happened(moments: list[Moment], tmp_path: Path,
                                                           undisturbed: tuple[Path, dict[str, Any]]) -> None:
    whole, expected = undisturbed
    spec = spec_of(tmp_path)
    for moment in moments:
        kill_in_the_middle(tmp_path, spec, moment)
    result = run_child("training.finetune", spec, folder=tmp_path)

    steps, its_steps = ([row for row in metrics(folder) if "loss" in row] for folder in (tmp_path, whole))
    assert [row["step"] for row in steps] == list(range(1, N_STEPS + 1))
    assert [row["loss"] for row in steps] == pytest.approx([row["loss"] for row in its_steps], abs=1e-4)
    assert result["loss_last"] == pytest.approx(expected["loss_last"], abs=1e-4)
    epochs, its_epochs = ([row for row in metrics(folder) if "loss" not in row] for folder in (tmp_path, whole))
    assert [row["step"] for row in epochs] == [4, 8]
    assert [row["dev_loss"] for row in epochs] == pytest.approx([row["dev_loss"] for row in its_epochs], abs=1e-4)
    assert (result["steps"], result["best_step"], result["tokens"]) == (
        N_STEPS, expected["best_step"], expected["tokens"])
    assert result["files"] == expected["files"]
    for name in expected["files"]:
        assert (tmp_path / "adapter" / name).read_bytes() == (whole / "adapter" / name).read_bytes()


def kill_in_the_middle(folder: Path, spec: dict[str, Any], moment: Moment) -> None:
    """Start or take up the run, and kill it at a random time behind the moment; it must not have ended by then."""
    (folder / "spec.json").write_text(json.dumps(spec))
    delay, end = draw.uniform(0, moment.within_seconds), time.monotonic() + ATTEMPT_SECONDS
    with Path(os.devnull).open("w") as sink, (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen([sys.executable, "-m", "training.finetune", str(folder)], stdout=log, stderr=log,
                                 pass_fds=[sink.fileno()], env=child_environment(sink.fileno()))
        try:
            while not moment.has_come(folder):
                assert child.poll() is None, f"it ended before the moment came: {(folder / 'log.txt').read_text()}"
                assert time.monotonic() < end, "the moment did not come"
                time.sleep(0.001)
            time.sleep(delay)
        finally:
            child.kill()
        assert child.wait() == -signal.SIGKILL, "the kill came too late"
    KILLS[f"a training of the small model, {moment.words}"] += 1


def spec_of(folder: Path) -> dict[str, Any]:
    for name, n in (("train.jsonl", N_ROWS), ("dev.jsonl", N_DEV)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in toy_rows(n)))
    return {"model": str(settings.GOLDPAN_BASE_MODEL), "rows_file": str(folder / "train.jsonl"),
            "dev_file": str(folder / "dev.jsonl"), "prompt": prompts.prompt_to_json(prompts.short(SCHEMA)),
            "config": CONFIG}


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl so far."""
    path = folder / "metrics.jsonl"
    content = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in content[:content.rfind("\n") + 1].splitlines()]
