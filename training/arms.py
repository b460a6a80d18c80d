"""One set of rows, learned by LoRA and judged on rows that it has never seen: what an experiment's arm is worth.

1. The embedded model learns the rows in a subprocess. No row helps to choose an epoch: the last step is what is judged.
2. A second one scores the judging rows; the label with the highest likelihood is the answer, without any balance
   fitted, so that the judging rows choose nothing.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from jobs.child import run_child
from jobs.progress import Progress, silent
from training.config import TrainingConfig, n_steps
from training.prompts import Prompt, prompt_to_json

PASSES = 3  # a training step costs about as much as three passes forward: one forward, two back
TRAINING, SCORES = "training", "scores"  # the folders of the two subprocesses


@dataclass(frozen=True)
class Labelled:
    """A text and its label; for a judging row the one that people agree on."""

    text: str
    label: str


@dataclass(frozen=True)
class Learned:
    """What came of it. right: (n,) bool, in the order of the judging rows; seconds are wall time.

    n_refused: rows that were too long or empty to be learned. peak_mb: of the training process.
    """

    right: np.ndarray
    n_rows: int
    n_refused: int
    steps: int
    tokens: int
    train_seconds: float
    score_seconds: float
    peak_mb: float
    model: str


def learn_and_judge(rows: Sequence[Labelled], judges: Sequence[Labelled], *, model: Path, prompt: Prompt,
                    config: TrainingConfig, steps: int | None = None, folder: Path,
                    progress: Progress = silent) -> Learned:
    """Train on the rows with the config and its seed, then answer the judging rows.

    steps: optimiser steps, whatever the number of rows; None for `config.epochs` passes over them.
    folder: its own; with an earlier attempt's checkpoints in it the training goes on from there.
    progress: told of both halves as one stage, in rows that go through the model.
    Raises ChildRefused in words if the rows cannot be learned, and whatever `progress` raises.
    """
    place = folder / TRAINING
    place.mkdir(parents=True, exist_ok=True)
    _write(place / "rows.jsonl", [{"key": str(number), **asdict(row)} for number, row in enumerate(rows)])
    work = PASSES * config.batch_size * (steps or n_steps(len(rows), config))
    total = work + len(judges)
    made = run_child("training.finetune", {
        "model": str(model), "rows_file": str(place / "rows.jsonl"), "dev_file": None,
        "prompt": prompt_to_json(prompt), "config": asdict(config), "steps": steps}, folder=place,
        progress=lambda _, done, of: progress("Training", round(work * done / of) if of else 0, total))
    texts = folder / SCORES / "texts.jsonl"
    texts.parent.mkdir(parents=True, exist_ok=True)
    _write(texts, [{"text": row.text} for row in judges])
    said = run_child("training.label_scoring", {
        "model": str(model), "adapter": str(place / made["adapter"]), "prompts": [prompt_to_json(prompt)],
        "texts_file": str(texts), "threads": config.threads}, folder=texts.parent,
        progress=lambda _, done, of: progress("Judging", work + (round(len(judges) * done / of) if of else 0), total))
    scores = np.load(texts.parent / said["prompts"][0]["scores"])
    names = np.array([label.name for label in prompt.labels], dtype=object)
    right = names[scores.argmax(axis=1)] == np.array([row.label for row in judges], dtype=object)
    return Learned(np.asarray(right, dtype=bool), made["n_rows"], len(made["refused"]), made["steps"], made["tokens"],
                   made["train_seconds"], said["prompts"][0]["seconds"], made["peak_mb"], said["model"])


@dataclass(frozen=True)
class Speed:
    """What this machine was measured at: seconds for a row in a training step, for a judged row, to load both times."""

    per_row: float
    per_judge: float
    loading: float = 0.0

    def seconds(self, *, steps: int, batch_size: int, n_judges: int) -> float:
        """One training and its judging."""
        return self.loading + steps * batch_size * self.per_row + n_judges * self.per_judge


def even_steps(largest: int, *, batch_size: int, at_least: int = 60) -> int:
    """Steps in which the largest set is read once, at least 60: fewer taught the demo's tweets less."""
    return max(at_least, math.ceil(largest / batch_size))


def _write(path: Path, lines: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
