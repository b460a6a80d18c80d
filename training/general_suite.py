"""What fine-tuning has made a model forget: 50 short questions on anything but the task, base model beside adapter.

The questions are frozen in `data/general_suite.jsonl`; each has four answers, and the likeliest one is the model's.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scipy

from jobs.child import child_main
from jobs.progress import Progress
from training import language_model
from training.label_scoring import label_log_likelihoods
from training.language_model import LoadedModel
from training.prompts import LabelText, Prompt

SUITE_FILE = Path(__file__).with_name("data") / "general_suite.jsonl"
SYSTEM = "You are a helpful assistant. Answer in as few words as possible."
ALPHA = 0.05


@dataclass(frozen=True)
class Question:
    """A question with four different answers; `answer` is the place of the right one."""

    kind: str
    question: str
    options: tuple[str, ...]
    answer: int


def read_suite(path: Path = SUITE_FILE) -> list[Question]:
    return [Question(row["kind"], row["question"], tuple(row["options"]), row["answer"])
            for row in map(json.loads, path.read_text().splitlines())]


def suite_sha256(path: Path = SUITE_FILE) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def answered_right(loaded: LoadedModel, suite: list[Question], progress: Progress, stage: str) -> list[bool]:
    """Return for each question whether the model finds its right answer likelier than the others."""
    right = []
    for number, one in enumerate(suite):
        progress(stage, number, len(suite))
        labels = tuple(LabelText(option, option) for option in one.options)
        [scores] = label_log_likelihoods(loaded, Prompt(stage, SYSTEM, "{text}", (), labels), [one.question])
        right.append(int(scores.argmax()) == one.answer)
    return right


def p_forgotten(base: list[bool], adapter: list[bool]) -> float:
    """Return how likely so many losses among the questions that only one of the two answers right are by chance.

    One-sided exact McNemar test; 1 where the two never differ. Source: McNemar 1947, Psychometrika 12.
    """
    lost = sum(a and not b for a, b in zip(base, adapter, strict=True))
    won = sum(b and not a for a, b in zip(base, adapter, strict=True))
    return float(scipy.stats.binom.sf(lost - 1, lost + won, 0.5)) if lost + won else 1.0


def answer_suite(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: the suite by the base model, and by the adapter on it.

    spec: "model", "adapter" (folders), optional "threads".
    """
    language_model.prepare_process(int(spec.get("threads") or len(os.sched_getaffinity(0))))
    started, suite = time.perf_counter(), read_suite()
    progress("Loading the model", 0, 1)
    model = Path(spec["model"])
    base = answered_right(language_model.load(model), suite, progress, "General questions without the adapter")
    adapter = answered_right(language_model.load(model, adapter=Path(spec["adapter"])), suite, progress,
                             "General questions with the adapter")
    return {"base": base, "adapter": adapter, "suite_sha256": suite_sha256(), "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    child_main(answer_suite)
