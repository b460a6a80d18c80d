"""Asking the language model about rows, and writing down how well it did: shared by baseline and adapter."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from curation.answers import Answers
from curation.canonical import canonical_line
from curation.services.snapshots import FrozenRow
from jobs.child import run_child
from jobs.progress import Progress
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_exists, open_object, put_object
from training.calibration import contextual, cross_fitted, fit_label_bias, probabilities
from training.metrics import WHOLE, Answered, Measured
from training.models import Evaluation, Run
from training.prompts import Prompt, Shot, prompt_to_json, shot_to_json

RowShots = Sequence[Sequence[Shot]] | None  # solved examples of each row's own
CALIBRATIONS = ("as it is", "contextual", "balance fitted on dev")


@dataclass(frozen=True)
class LabelScores:
    """Log-likelihoods (n, K) of the labels for n rows and (m, K) for texts that say nothing; seconds of wall time."""

    scores: np.ndarray
    content_free: np.ndarray
    seconds: float
    model: str
    prompt_tokens: int


def score_rows(rows: Sequence[FrozenRow], prompts: Sequence[Prompt], *, folder: Path, progress: Progress,
               adapter: Path | None = None, shots: RowShots = None, model: Path | None = None) -> list[LabelScores]:
    """Score the rows under each prompt with the embedded model, or an adapter on it, in a subprocess.

    shots: of each row's own, for a prompt with neighbours. model: another one than the embedded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = write_texts(rows, folder, shots)
    answer = run_child("training.label_scoring", {
        "model": str(model or settings.GOLDPAN_BASE_MODEL), "adapter": str(adapter) if adapter else None,
        "prompts": [prompt_to_json(prompt) for prompt in prompts], "texts_file": str(texts),
        "threads": settings.GOLDPAN_THREADS}, folder=folder, progress=progress)
    return [LabelScores(np.load(folder / said["scores"]), np.load(folder / said["content_free"]), said["seconds"],
                        answer["model"], said["prompt_tokens"]) for said in answer["prompts"]]


@dataclass(frozen=True)
class PairScores:
    """(n, 2) log-likelihoods of the left and the right answer by the base model and with an adapter on it.

    lengths: (n, 2) tokens of the answers. seconds: of wall time, for both models.
    """

    base: np.ndarray
    adapted: np.ndarray
    lengths: np.ndarray
    seconds: float


def read_pairs(rows: Sequence[FrozenRow], prompt: Prompt, *, folder: Path, progress: Progress,
               adapter: Path) -> PairScores:
    """How likely the embedded model, without and with the adapter, finds both answers of each row, in a subprocess."""
    folder.mkdir(parents=True, exist_ok=True)
    said = run_child("training.pairs", {
        "model": str(settings.GOLDPAN_BASE_MODEL), "adapter": str(adapter), "prompt": prompt_to_json(prompt),
        "rows_file": str(write_texts(rows, folder)), "threads": settings.GOLDPAN_THREADS},
        folder=folder, progress=progress)
    scores = np.load(folder / said["scores"])
    return PairScores(scores[:, 0], scores[:, 1], np.load(folder / said["lengths"]), said["seconds"])


@dataclass(frozen=True)
class WrittenAnswers:
    """What a model wrote about n rows; n_cut: answers that were cut off. seconds: of wall time."""

    answers: list[str]
    seconds: float
    model: str
    prompt_tokens: int
    answer_tokens: int
    n_cut: int
    max_new_tokens: int


def write_rows(rows: Sequence[FrozenRow], prompts: Sequence[Prompt], *, completions: Sequence[str], folder: Path,
               progress: Progress, adapter: Path | None = None, shots: RowShots = None,
               model: Path | None = None) -> list[WrittenAnswers]:
    """Let the embedded model, or an adapter on it, answer the rows under each prompt in a subprocess.

    completions: the training answers, which say how long an answer may get. shots, model: as in `score_rows`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "completions.json").write_text(json.dumps(list(completions)))
    told = run_child("training.generation", {
        "model": str(model or settings.GOLDPAN_BASE_MODEL), "adapter": str(adapter) if adapter else None,
        "prompts": [prompt_to_json(prompt) for prompt in prompts], "texts_file": str(write_texts(rows, folder, shots)),
        "completions_file": str(folder / "completions.json"), "threads": settings.GOLDPAN_THREADS},
        folder=folder, progress=progress)
    return [WrittenAnswers(
        [json.loads(line)["answer"] for line in (folder / said["answers"]).read_text().split("\n") if line],
        said["seconds"], told["model"], said["prompt_tokens"], said["answer_tokens"], said["n_cut"],
        told["max_new_tokens"]) for said in told["prompts"]]


def read_answers(prompt: Prompt, rows: Sequence[FrozenRow], answers: Sequence[str]) -> list[str | None]:
    """The answers as frozen rows would have them, None for one that cannot be read."""
    return [_read(prompt, row.text, answer) for row, answer in zip(rows, answers, strict=True)]


def _read(prompt: Prompt, text: str, answer: str) -> str | None:
    try:
        return prompt.read(answer, text)
    except ValueError:
        return None


def write_texts(rows: Sequence[FrozenRow], folder: Path, shots: RowShots = None) -> Path:
    """Write what a model is asked about: a line for every row, without its answer."""
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps({
        "text": row.text, **({"data": row.data} if row.data else {}),
        **({"shots": [shot_to_json(shot) for shot in solved]} if solved else {})}) + "\n"
        for row, solved in zip(rows, shots or [()] * len(rows), strict=True)))
    return texts


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
    """What a run said about one row.

    predicted: as a frozen row would have it; None where its answer could not be read, which then stands in `answer`.
    score: in [0, 1], how good the answer is by the metric of the task type for this row alone.
    counts: what metrics are made of, where an answer is more than right or wrong.
    """

    key: str
    gold: str
    predicted: str | None
    probability: float | None
    group: str
    score: float | None = None  # not in files from before the other task types
    answer: str = ""
    counts: list[float] | None = None

    @property
    def row_score(self) -> float:
        return float(self.predicted == self.gold) if self.score is None else self.score


@dataclass(frozen=True)
class Judged:
    """What a run said about rows, held against their gold answers; metrics: as `Evaluation.metrics` has them."""

    predictions: list[Prediction]
    measured: Measured
    metrics: dict[str, Any]


def judge(project: Project, rows: Sequence[FrozenRow], predicted: Sequence[str | None], *,
          probability: Sequence[float | None] | None = None, answers: Sequence[str] | None = None) -> Judged:
    """Hold what was predicted for rows against their labels.

    predicted: as frozen rows have it; None is an answer that could not be read, and wrong. answers: as the model wrote
    them, kept where they could not be read.
    Raises UserError if a row's own label is no answer under the project's schema any more.
    """
    answered = _answered(project, rows, predicted)
    counts = answered.counts
    is_whole = project.task_type in WHOLE
    predictions = [
        Prediction(row.key, row.label, said, None if chance is None else round(float(chance), 6), row.group,
                   score=round(float(score), 6), answer=answer if said is None else "",
                   counts=None if is_whole else [round(float(number), 6) for number in by_row])
        for row, said, chance, score, answer, by_row in zip(
            rows, predicted, probability or [None] * len(rows), counts.row_scores, answers or [""] * len(rows),
            counts.by_row, strict=True)]
    primary = next(iter(answered.metrics.values()))
    metrics: dict[str, Any] = {name: asdict(one.interval) for name, one in answered.metrics.items()}
    if not is_whole:
        metrics |= {"bounds": [primary.lower, primary.upper], "unseen": answered.unseen.tolist()}
    return Judged(predictions, primary, {
        **metrics, "n_unread": answered.n_unread, "per_label": [asdict(score) for score in answered.by_label]})


def judge_scores(project: Project, rows: Sequence[FrozenRow], scores: np.ndarray, calibration: Calibration) -> Judged:
    """Choose each row's label by (n, K) scores, columns as the project's labels, and hold it against its own."""
    columns, probability = calibration.predict(scores)
    return judge(project, rows, [project.labels[k] for k in columns], probability=list(probability))


def _answered(project: Project, rows: Sequence[FrozenRow], predicted: Sequence[str | None]) -> Answered:
    reader = Answers(project.task_type, project.schema)
    try:
        gold = [reader.value(row.label, source=row.text) for row in rows]
    except ValueError as error:
        raise UserError(f"A frozen answer is none under today's schema: {error} Freeze a new snapshot.") from None
    said = [None if label is None else reader.value(label, source=row.text)
            for row, label in zip(rows, predicted, strict=True)]
    return Answered(project.task_type, project.schema, gold, said, [row.text for row in rows],
                    [row.group for row in rows])


def write_evaluation(run: Run, split: str, judged: Judged, *, seconds: float, extra: dict[str, Any]) -> Evaluation:
    """Store what a run predicted on a split, with every metric and its interval."""
    return Evaluation.objects.create(
        run=run, snapshot=run.snapshot, split=split, n=len(judged.predictions), n_right=judged.measured.n_right,
        metric=judged.measured.metric, seconds=seconds, metrics={**judged.metrics, **extra},
        predictions_sha256=put_object(settings.GOLDPAN_OBJECTS,
                                      b"".join(canonical_line(asdict(one)) for one in judged.predictions)))


def predictions_file_of(evaluation: Evaluation) -> str:
    """The hash of the file with the predictions as they are now: after an erasure it has tombstones."""
    known = getattr(evaluation, "redacted_sha256", "") or evaluation.predictions_sha256
    if hasattr(evaluation, "redacted_sha256") and object_exists(settings.GOLDPAN_OBJECTS, known):
        return known
    # It has just been written, came along with a run, or was read before an erasure.
    newest = Evaluation.objects.get(pk=evaluation.pk)
    return str(getattr(newest, "redacted_sha256", "") or newest.predictions_sha256)


def read_predictions(evaluation: Evaluation) -> list[Prediction]:
    """The prediction for every row, in the snapshot's order; an erased row has its score, and a tombstone for words."""
    with open_object(settings.GOLDPAN_OBJECTS, predictions_file_of(evaluation)) as file:
        return [Prediction(**json.loads(line)) for line in file.read().split(b"\n") if line]


class Stopwatch:
    """Seconds of wall time since it was made."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started
