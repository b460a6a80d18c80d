"""Asking the language model about rows, and writing down how well it did: shared by baseline and adapter."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from curation.canonical import canonical_line
from curation.services.snapshots import FrozenRow
from jobs.child import run_child
from jobs.progress import Progress
from projects.objects import open_object, put_object
from stats.classification import macro_f1, scores_by_label
from stats.intervals import Interval, bootstrap_interval, wilson
from training.calibration import contextual, cross_fitted, fit_label_bias, probabilities
from training.models import Evaluation, Run
from training.prompts import Prompt, prompt_to_json

CALIBRATIONS = ("as it is", "contextual", "balance fitted on dev")
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class LabelScores:
    """Log-likelihoods (n, K) of the labels for n rows and (m, K) for texts that say nothing; seconds of wall time."""

    scores: np.ndarray
    content_free: np.ndarray
    seconds: float
    model: str
    prompt_tokens: int


def score_rows(rows: Sequence[FrozenRow], prompts: Sequence[Prompt], *, folder: Path, progress: Progress,
               adapter: Path | None = None) -> list[LabelScores]:
    """Score the rows under each prompt with the embedded model, or an adapter on it, in a subprocess."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": row.text}) + "\n" for row in rows))
    answer = run_child("training.label_scoring", {
        "model": str(settings.GOLDPAN_BASE_MODEL), "adapter": str(adapter) if adapter else None,
        "prompts": [prompt_to_json(prompt) for prompt in prompts], "texts_file": str(texts),
        "threads": settings.GOLDPAN_THREADS}, folder=folder, progress=progress)
    return [LabelScores(np.load(folder / said["scores"]), np.load(folder / said["content_free"]), said["seconds"],
                        answer["model"], said["prompt_tokens"]) for said in answer["prompts"]]


@dataclass(frozen=True)
class Calibration:
    """How scores are balanced between labels before the highest wins, and the honest accuracy that gave on dev.

    kind: one of CALIBRATIONS. bias: (K,) added to the scores; all zero for “as it is”.
    """

    kind: str
    bias: tuple[float, ...]
    dev_accuracy: float

    def predict(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chosen column of each row and its probability in [0, 1]."""
        balanced = probabilities(scores + np.array(self.bias))
        chosen = balanced.argmax(axis=1)
        return chosen, balanced[np.arange(len(chosen)), chosen]


def calibrations(said: LabelScores, gold: np.ndarray, groups: Sequence[str]) -> list[Calibration]:
    """Every way to balance the scores, each with its accuracy on dev.

    gold: (n,) columns of the dev rows. The fitted balance is judged by cross-fitting, never on rows it was fitted to.
    """
    zero = np.zeros(said.scores.shape[1])
    context = contextual(np.zeros_like(said.scores[:1]), said.content_free)[0]
    fitted = fit_label_bias(said.scores, gold)
    folds = min(5, len(set(groups)))
    fitted_accuracy = float(np.mean(cross_fitted(said.scores, gold, groups, folds=folds))) if folds > 1 else 0.0
    def accuracy(bias: np.ndarray) -> float:
        return float(np.mean((said.scores + bias).argmax(axis=1) == gold))

    return [Calibration("as it is", tuple(map(float, zero)), accuracy(zero)),
            Calibration("contextual", tuple(map(float, context)), accuracy(context)),
            Calibration("balance fitted on dev", tuple(map(float, fitted)), fitted_accuracy)]


def best(choices: Sequence[Calibration]) -> Calibration:
    """The calibration with the highest dev accuracy; of equals the first, which is the simpler one."""
    return max(choices, key=lambda choice: choice.dev_accuracy)


@dataclass(frozen=True)
class Prediction:
    """What a run said about one row."""

    key: str
    gold: str
    predicted: str | None
    probability: float | None
    group: str


def predictions_of(rows: Sequence[FrozenRow], predicted: Sequence[str | None],
                   probability: Sequence[float | None]) -> list[Prediction]:
    return [Prediction(row.key, row.label, label, None if p is None else round(float(p), 6), row.group)
            for row, label, p in zip(rows, predicted, probability, strict=True)]


def write_evaluation(run: Run, split: str, predictions: Sequence[Prediction], *, seconds: float,
                     extra: dict[str, Any]) -> Evaluation:
    """Store what a run predicted on a split, with accuracy and macro-F1 and their intervals."""
    labels = run.snapshot.project.labels
    gold = [prediction.gold for prediction in predictions]
    said = [prediction.predicted for prediction in predictions]
    n_right = sum(g == p for g, p in zip(gold, said, strict=True))
    f1 = _macro_f1(gold, said, labels, [prediction.group for prediction in predictions])
    per_label = [asdict(score) for score in scores_by_label(gold, said, labels)]
    return Evaluation.objects.create(
        run=run, snapshot=run.snapshot, split=split, n=len(predictions), n_right=n_right, seconds=seconds,
        predictions_sha256=put_object(settings.GOLDPAN_OBJECTS,
                                      b"".join(canonical_line(asdict(prediction)) for prediction in predictions)),
        metrics={"accuracy": asdict(wilson(n_right, len(predictions))), "macro_f1": asdict(f1),
                 "per_label": per_label, **extra})


def _macro_f1(gold: list[str], said: list[str | None], labels: list[str], groups: list[str]) -> Interval:
    column = {label: k for k, label in enumerate(labels)}
    gold_codes = np.array([column[label] for label in gold])
    said_codes = np.array([column.get(label, len(labels)) if label is not None else len(labels) for label in said])
    metric = partial(macro_f1, labels=range(len(labels)))
    return bootstrap_interval(lambda rows: metric(gold_codes[rows], said_codes[rows]),
                              np.unique(groups, return_inverse=True)[1], seed=BOOTSTRAP_SEED)


def read_predictions(evaluation: Evaluation) -> list[Prediction]:
    """The prediction for every row, in the snapshot's order."""
    with open_object(settings.GOLDPAN_OBJECTS, evaluation.predictions_sha256) as file:
        return [Prediction(**json.loads(line)) for line in file.read().split(b"\n") if line]


class Stopwatch:
    """Seconds of wall time since it was made."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started
