"""What the embedded model learns from a set of rows, kept: hours of training are not measured twice.

A training is known by what it learns, what judges it, and its settings; one that was broken off goes on at its newest
checkpoint. `var/evidence/` holds them, so removing that folder measures everything again.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curation.canonical import sha256_of
from training.arms import Labelled, Learned, learn_and_judge
from training.config import TrainingConfig
from training.prompts import Prompt, prompt_to_json

MODEL = Path("var/models/smollm2-135m-instruct")
KEPT = Path("var/evidence")
DONE, WORK = "learned.json", "work"


def learned(rows: Sequence[Labelled], judges: Sequence[Labelled], *, prompt: Prompt, config: TrainingConfig) -> Learned:
    """`learn_and_judge` with the embedded model, from `var/evidence/` if it stands there."""
    unlike_default = {field.name: value for field in dataclasses.fields(config)
                      if (value := getattr(config, field.name)) != field.default}
    known_by = sha256_of(json.dumps([
        MODEL.name, prompt_to_json(prompt), unlike_default,
        [dataclasses.astuple(row) for row in rows], [dataclasses.astuple(row) for row in judges]]).encode())
    place = KEPT / known_by[:16]
    if (place / DONE).exists():
        found = json.loads((place / DONE).read_text())
        return Learned(**{**found, "right": np.array(found["right"], dtype=bool)})
    made = learn_and_judge(rows, judges, model=MODEL, folder=place / WORK, prompt=prompt, config=config)
    (place / DONE).write_text(json.dumps({**dataclasses.asdict(made), "right": made.right.tolist()}))
    shutil.rmtree(place / WORK)
    return made
