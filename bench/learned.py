"""What the embedded model learns from rows and what it says when asked, kept: hours are not measured twice.

A training is known by what it learns, what judges it, and its settings; one that was broken off goes on at its newest
checkpoint. `var/evidence/` holds them, so removing that folder measures everything again.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.canonical import sha256_of
from jobs.child import run_child
from jobs.progress import silent
from training.arms import Labelled, Learned, learn_and_judge
from training.config import TrainingConfig
from training.prompts import Prompt, Shot, prompt_to_json, shot_to_json

MODEL = Path("var/models/smollm2-135m-instruct")
KEPT = Path("var/evidence")
THREADS = int(os.environ.get("GOLDPAN_THREADS", "2"))
DONE, WORK = "learned.json", "work"


def learned(rows: Sequence[Labelled], judges: Sequence[Labelled], *, prompt: Prompt, config: TrainingConfig,
            steps: int | None = None, again: int = 0) -> Learned:
    """`learn_and_judge` with the embedded model, from `var/evidence/` if it stands there.

    again: tells repetitions apart that are measured for their time.
    """
    config = dataclasses.replace(config, threads=THREADS)
    unlike_default = {field.name: value for field in dataclasses.fields(config)
                      if (value := getattr(config, field.name)) != field.default and field.name != "threads"}
    place = _place([MODEL.name, prompt_to_json(prompt), unlike_default,
                    [dataclasses.astuple(row) for row in rows], [dataclasses.astuple(row) for row in judges],
                    *([steps, again] if steps or again else [])])
    if (place / DONE).exists():
        found = json.loads((place / DONE).read_text())
        return Learned(**{**found, "right": np.array(found["right"], dtype=bool)})
    made = learn_and_judge(rows, judges, model=MODEL, folder=place / WORK, prompt=prompt, config=config, steps=steps)
    (place / DONE).write_text(json.dumps({**dataclasses.asdict(made), "right": made.right.tolist()}))
    shutil.rmtree(place / WORK)
    return made


@dataclass(frozen=True)
class Asked:
    """What a prompt says: (n, K) log-likelihoods of its labels; seconds of wall time, peak_mb of the process."""

    scores: np.ndarray
    seconds: float
    peak_mb: float


def asked(texts: Sequence[str], prompt: Prompt, shots: Sequence[Sequence[Shot]] = ()) -> Asked:
    """The embedded model's scores of every label for every text, kept likewise.

    shots: solved examples of each text's own, for a prompt with neighbours.
    """
    lines = [{"text": text, **({"shots": [shot_to_json(shot) for shot in shots[n]]} if shots else {})}
             for n, text in enumerate(texts)]
    place = _place([MODEL.name, prompt_to_json(prompt), lines])
    if not (place / DONE).exists():
        work = place / WORK
        work.mkdir(parents=True, exist_ok=True)
        (work / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        said = run_child("training.label_scoring", {
            "model": str(MODEL), "adapter": None, "prompts": [prompt_to_json(prompt)],
            "texts_file": str(work / "texts.jsonl"), "threads": THREADS}, folder=work, progress=silent)
        scores = np.load(work / said["prompts"][0]["scores"])
        (place / DONE).write_text(json.dumps({"scores": scores.tolist(), "seconds": said["prompts"][0]["seconds"],
                                              "peak_mb": said["peak_mb"]}))
        shutil.rmtree(work)
    found = json.loads((place / DONE).read_text())
    return Asked(**{**found, "scores": np.array(found["scores"])})


def _place(known_by: list[Any]) -> Path:
    return KEPT / sha256_of(json.dumps(known_by).encode())[:16]
