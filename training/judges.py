"""How good an epoch is on the dev rows: by the likeliest label, or by the loss and a few answers that it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.progress import Progress
from labeling.task_types import task_type
from training import calibration, encoding, generation, label_scoring
from training.config import TrainingConfig
from training.language_model import LoadedModel
from training.losses import mean_loss
from training.pairs import Pair, answer_rows, log_likelihoods, pairs_of, preference_metrics
from training.prompts import Prompt


def check_dev(dev: Sequence[dict[str, Any]], prompt: Prompt) -> None:
    if len(dev) < 2:
        raise ValueError(f"There must be at least 2 dev rows to choose the best epoch on, there are {len(dev)}.")
    unknown = sorted({row["label"] for row in dev} - {label.name for label in prompt.labels})
    if unknown and prompt.has_labels:
        raise ValueError(f"Dev rows carry labels that the prompt does not offer: {', '.join(unknown)}.")


@dataclass(frozen=True)
class LabelJudge:
    """Judges an epoch by the labels that it finds likeliest on the dev rows."""

    prompt: Prompt
    dev: list[dict[str, Any]]

    def metrics(self, loaded: LoadedModel, progress: Progress) -> dict[str, float]:
        names = [label.name for label in self.prompt.labels]
        scores = label_scoring.label_log_likelihoods(
            loaded, self.prompt, [row["text"] for row in self.dev], data=[row.get("data", {}) for row in self.dev],
            progress=progress, stage="Scoring the dev rows")
        labels = np.array([names.index(row["label"]) for row in self.dev])
        return {**dev_metrics(scores, labels), "n_dev": len(labels)}


@dataclass(frozen=True)
class WrittenJudge:
    """Judges an epoch by how likely it finds the dev rows' answers, and by what it writes about the first of them.

    n_answers: how many it writes; 0 for none. max_new_tokens: of an answer. max_tokens: longer dev rows are left out.
    """

    prompt: Prompt
    dev: list[dict[str, Any]]
    n_answers: int
    max_new_tokens: int
    max_tokens: int

    def metrics(self, loaded: LoadedModel, progress: Progress) -> dict[str, float]:
        encoded = encoding.encode_rows(loaded.tokenizer, self.prompt, self.dev, max_tokens=self.max_tokens).rows
        if not encoded:
            raise ValueError(f"No dev row has {self.max_tokens} tokens or fewer, so no epoch can be chosen: raise the "
                             "longest row.")
        found: dict[str, float] = {"dev_loss": mean_loss(loaded, encoded, progress), "n_dev": len(encoded)}
        asked = self.dev[: self.n_answers]
        if asked:
            written = generation.write_answers(loaded, self.prompt, asked, max_new_tokens=self.max_new_tokens,
                                               progress=progress, stage="Answering dev rows")
            found |= {"dev_score": self._score(asked, [one.answer for one in written]), "n_answered": len(asked)}
        return found

    def _score(self, rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> float:
        kind, schema = task_type(self.prompt.task_type), self.prompt.schema
        gold = [kind.parse_completion(row["label"], schema, source=row["text"]) for row in rows]
        said: list[Any] = []
        for row, answer in zip(rows, answers, strict=True):
            try:
                said.append(kind.parse_completion(answer, schema, source=row["text"]))
            except ValueError:
                said.append(None)
        return kind.score(gold, said).value


@dataclass
class PairJudge:
    """Judges an epoch by how often it has come to like the preferred answer of a dev pair more than the other one."""

    pairs: list[Pair]
    reference: np.ndarray | None = None  # of the base model, which does not change

    @property
    def dev(self) -> list[Pair]:
        return self.pairs

    def metrics(self, loaded: LoadedModel, progress: Progress) -> dict[str, float]:
        if self.reference is None:
            with loaded.model.disable_adapter():
                self.reference = log_likelihoods(loaded, self.pairs, progress=progress,
                                                 stage="Reading dev pairs with the base model")
        policy = log_likelihoods(loaded, self.pairs, progress=progress, stage="Scoring the dev rows")
        return {**preference_metrics(policy, self.reference), "n_dev": len(self.pairs)}


def pair_judge_of(prompt: Prompt, dev: Sequence[dict[str, Any]], loaded: LoadedModel,
                  config: TrainingConfig) -> PairJudge:
    """Raises ValueError if fewer than 2 dev rows are pairs that fit."""
    answers = answer_rows(dev)
    found = pairs_of(answers, encoding.encode_rows(loaded.tokenizer, prompt, answers, max_tokens=config.max_tokens))
    if len(found) < 2:
        raise ValueError(f"There must be at least 2 dev pairs to choose the best epoch on, there are {len(found)}: "
                         f"ties are none, nor is a row of more than {config.max_tokens} tokens.")
    return PairJudge(found)


def judge_of(prompt: Prompt, rows: Sequence[dict[str, Any]], dev: list[dict[str, Any]], loaded: LoadedModel,
             config: TrainingConfig) -> LabelJudge | WrittenJudge | PairJudge:
    if config.method == "dpo":
        return pair_judge_of(prompt, dev, loaded, config)
    if prompt.has_labels:
        return LabelJudge(prompt, dev)
    longest = generation.longest_answer(loaded.tokenizer, (row["label"] for row in rows))
    return WrittenJudge(prompt, dev, config.dev_answers, longest, config.max_tokens)


def dev_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy as it is, accuracy with a label bias fitted on the other folds, and mean loss, of (n, K) dev scores."""
    chances = calibration.probabilities(scores)[np.arange(len(labels)), labels]
    right = calibration.cross_fitted(scores, labels, range(len(labels)), folds=min(5, len(labels)))
    return {"dev_accuracy": float((scores.argmax(axis=1) == labels).mean()), "dev_calibrated": float(right.mean()),
            "dev_loss": float(-np.log(np.maximum(chances, 1e-12)).mean())}
