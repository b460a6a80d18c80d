"""A worker whose models are faked: `python -m tests.training.fake_worker` works off an installation's jobs.

A training stands still in its middle until there is a file `go-on` in the data folder, so that a test can watch it.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import django
import numpy as np

from jobs.progress import Progress, silent

if __name__ == "__main__":
    django.setup()

from django.conf import settings

from jobs import services as jobs
from jobs.models import Job
from tests.fakes import HashingEncoder
from tests.training.conftest import encode_here
from tests.training.story import MODEL_DOORS, FakeModel

N_STEPS = 12


class NumberEncoder(HashingEncoder):
    """Sees only which row it is, so that a linear probe learns nothing."""

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> np.ndarray:
        return super().encode([text.split()[1] for text in texts], progress)


class WatchedModel(FakeModel):
    """Every training can be looked at in its middle."""

    def __call__(self, module: str, spec: dict[str, Any], *, folder: Path,
                 progress: Progress = silent) -> dict[str, Any]:
        if module == "training.finetune":
            _train_halfway(folder, progress)
        return super().__call__(module, spec, folder=folder, progress=progress)


def _train_halfway(folder: Path, progress: Progress) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    progress("Training", 0, N_STEPS)
    half = N_STEPS // 2
    (folder / "log.txt").write_text(f"{N_STEPS} steps of 16 rows\nstep {half} done\n")
    lines = [{"step": step, "loss": 2.5 - step / 4} for step in range(1, half + 1)]
    lines.append({"step": half, "epoch": 1, "dev_accuracy": 0.7778, "dev_loss": 1.5, "n_dev": 9})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    while not (settings.GOLDPAN_DATA / "go-on").exists():
        progress("Training", half, N_STEPS)
        time.sleep(0.1)


def work() -> None:
    model = WatchedModel()
    for door in MODEL_DOORS:
        mock.patch(door, model).start()
    mock.patch("curation.services.embeddings.run_child", encode_here).start()
    while True:
        for job in Job.objects.filter(state=Job.State.queued).order_by("pk"):
            jobs.run(job.pk)
        time.sleep(0.1)


if __name__ == "__main__":
    work()
