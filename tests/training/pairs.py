"""Two evaluated runs whose answers are free text, and judges that need no model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from curation.models import Snapshot
from curation.services.snapshots import FrozenRow, read_rows
from jobs.models import Job
from jobs.progress import Progress, silent
from projects.objects import put_object
from training.models import Adapter, Evaluation, Run, Verdict
from training.prompts import prompt_to_json, zero_shot
from training.services.scoring import judge, write_evaluation

Answers = Callable[[FrozenRow, int], str | None]


def right(row: FrozenRow, n: int) -> str:
    return row.label


def curt(row: FrozenRow, n: int) -> str | None:
    """Every sixth row unreadable, every sixth as right as can be, else two words that differ from row to row."""
    return None if n % 6 == 0 else row.label if n % 6 == 1 else f"Noted, {n}."


def evaluated(snapshot: Snapshot, answers: Answers, *, by: User, kind: str = "zero_shot",
              model: str = "SmolLM2-135M-Instruct@sha256:00") -> Evaluation:
    """A run of this kind that has answered the test rows so; a LoRA run has its adapter."""
    project, rows = snapshot.project, read_rows(snapshot, "test")
    prompt = prompt_to_json(zero_shot(project.schema, project.instructions, project.task_type))
    job = Job.objects.create(project=project, kind="train", title="Done", state="succeeded",
                             finished_at=timezone.now())
    run = Run.objects.create(snapshot=snapshot, kind=kind, job=job, created_by=by, config={
        "prompt": prompt, **({"training": {}} if kind == "lora" else {"model": model})})
    if kind == "lora":
        Adapter.objects.create(project=project, run=run, metrics_sha256="0" * 64, receipt={"train_seconds": 60.0},
                               files={"adapter_config.json": put_object(settings.GOLDPAN_OBJECTS, json.dumps(
                                   {"base_model_name_or_path": model}).encode())})
    said = [answers(row, n) for n, row in enumerate(rows)]
    return write_evaluation(run, "test", judge(project, rows, said, answers=[one or "" for one in said]), seconds=6.0,
                            extra={})


def compared(snapshot: Snapshot, *, by: User) -> tuple[Run, Run]:
    """A curt best prompt with its verdict, and a LoRA run that is always right."""
    prompt = evaluated(snapshot, curt, by=by)
    lora = evaluated(snapshot, right, by=by, kind="lora")
    Verdict.objects.create(snapshot=snapshot, best_prompt=prompt.run, outcome="FINE_TUNE", target_metric="rouge_l",
                           target_value=0.8, lower=0.0, upper=0.5, words="No.", next_step="Train.")
    return prompt.run, lora.run


class Taste(dict[str, str]):
    """What a vendor answers: the side with the longer answer, or what `says` makes of both."""

    def __init__(self, says: Callable[[str, str], str] | None = None) -> None:
        super().__init__()
        self.says = says or (lambda left, right: "left" if len(left) >= len(right) else "right")

    def get(self, text: str, default: Any = None) -> Any:
        left, right = text.split("\n\nAnswer left:\n")[1].split("\n\nAnswer right:\n")
        return self.says(left, right)


class EmbeddedJudge:
    """Answers for the scoring child: the longer answer is the likelier. dies_at: the call at which it is killed."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.dies_at, self.n_calls = 0, 0

    def __call__(self, module: str, spec: dict[str, Any], *, folder: Path,
                 progress: Progress = silent) -> dict[str, Any]:
        assert module == "training.label_scoring" and spec["adapter"] is None
        self.n_calls += 1
        if self.n_calls == self.dies_at:
            raise RuntimeError("killed")
        rows = [json.loads(line) for line in Path(spec["texts_file"]).read_text().splitlines()]
        self.asked += [json.dumps(row) for row in rows]
        scores = [[len(row["data"]["left"]), len(row["data"]["right"])] for row in rows]
        np.save(folder / "scores.npy", np.array(scores, dtype=float))
        np.save(folder / "free.npy", np.zeros((2, 2)))
        return {"prompts": [{"scores": "scores.npy", "content_free": "free.npy", "seconds": 1.0, "prompt_tokens": 10}],
                "model": "tiny@sha256:00"}
