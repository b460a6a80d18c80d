"""Preference pairs for a model that is to write the better answer, and how much it prefers it.

1. A row with a text, two answers and the side that people prefer becomes two encoded rows, one for each answer; ties
   teach nothing and are left out.
2. How likely a model finds each answer, beside how likely its base model does, is its implicit reward.

Source: Rafailov et al. 2023, Direct Preference Optimization, NeurIPS.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.child import child_main
from jobs.progress import Progress, silent
from labeling.task_types.preference import LEFT, RIGHT, TIE
from training import language_model, prompts
from training.encoding import Encoded, EncodedRow
from training.label_scoring import answer_log_likelihoods
from training.language_model import LoadedModel
from training.prompts import TEXT, Prompt

BETA = 0.1  # how strongly the model is held to its base; the usual value


@dataclass(frozen=True)
class Pair:
    """Two answers behind the same prompt, of which people prefer one."""

    chosen: EncodedRow
    rejected: EncodedRow

    @property
    def prompt_ids(self) -> list[int]:
        return self.chosen.input_ids[: -self.chosen.n_completion]

    @property
    def answers(self) -> tuple[list[int], list[int]]:
        """The ids of the chosen answer and of the rejected one, ends of turn included."""
        return self.chosen.input_ids[-self.chosen.n_completion:], self.rejected.input_ids[-self.rejected.n_completion:]


def writing_prompt() -> Prompt:
    """What the model is asked for an answer: the text alone, as people wrote it."""
    return Prompt("The text itself", "", TEXT, (), (), task_type="response")


def answer_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Two rows for each one that is no tie, the preferred answer first, as `encode_rows` reads them.

    rows: "key", "text", "label" (a side), "data" with both sides.
    """
    found = []
    for row in rows:
        if row["label"] == TIE:
            continue
        other = RIGHT if row["label"] == LEFT else LEFT
        found += [{"key": f"{row['key']}, {side}", "text": row["text"], "label": row["data"][side]}
                  for side in (row["label"], other)]
    return found


def pairs_of(answers: Sequence[Mapping[str, str]], encoded: Encoded) -> list[Pair]:
    """The pairs of which both answers were encoded. answers: as `answer_rows` returns them."""
    by_key = {row.key: row for row in encoded.rows}
    both = [(by_key.get(a["key"]), by_key.get(b["key"])) for a, b in zip(answers[::2], answers[1::2], strict=True)]
    return [Pair(chosen, rejected) for chosen, rejected in both if chosen is not None and rejected is not None]


def log_likelihoods(loaded: LoadedModel, pairs: Sequence[Pair], *, progress: Progress = silent,
                    stage: str = "Reading pairs") -> np.ndarray:
    """(n, 2) float64 log-likelihoods of the chosen and the rejected answers, summed over their tokens."""
    return answer_log_likelihoods(loaded, [pair.prompt_ids for pair in pairs], [pair.answers for pair in pairs],
                                  progress=progress, stage=stage)


def margins(policy: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n,) how much more the model's implicit reward of the first answer is than of the second, before beta.

    policy, reference: (n, 2) log-likelihoods by the model and by its base.
    """
    gained = policy - reference
    return np.asarray(gained[:, 0] - gained[:, 1])


def preference_metrics(policy: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Share of pairs whose chosen answer has the higher implicit reward, mean margin and DPO's loss."""
    margin = BETA * margins(policy, reference)
    return {"dev_preferred": float((margin > 0).mean()), "dev_margin": float(margin.mean()),
            "dev_loss": float(np.logaddexp(0, -margin).mean())}


def score_pairs(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: write `pairs.npy`, (n, 2, 2) float64 log-likelihoods by the base model and with the adapter.

    spec: "model", "adapter" (folders), "prompt" (`prompt_to_json`), "rows_file" (JSON lines with "text", and "data"
    with both sides), optional "threads". The last axis is left, right. `lengths.npy` is (n, 2), the answers' tokens.
    """
    language_model.prepare_process(int(spec.get("threads") or len(os.sched_getaffinity(0))))
    rows = [json.loads(line) for line in Path(spec["rows_file"]).read_text().split("\n") if line]
    prompt, model = prompts.prompt_from_json(spec["prompt"]), Path(spec["model"])
    progress("Loading the model", 0, 1)
    loaded, started = language_model.load(model, adapter=Path(spec["adapter"])), time.perf_counter()
    asked = [language_model.encode_messages(loaded.tokenizer, prompts.render(prompt, row["text"])) for row in rows]
    answers = [[language_model.encode_completion(loaded.tokenizer, row["data"][side]) for side in (LEFT, RIGHT)]
               for row in rows]
    with loaded.model.disable_adapter():
        base = answer_log_likelihoods(loaded, asked, answers, progress=progress, stage="Reading pairs without it")
    adapted = answer_log_likelihoods(loaded, asked, answers, progress=progress, stage="Reading pairs with the adapter")
    np.save(folder / "pairs.npy", np.stack([base, adapted], axis=1))
    np.save(folder / "lengths.npy", np.array([[len(ids) for ids in both] for both in answers]))
    return {"scores": "pairs.npy", "lengths": "lengths.npy", "model": language_model.model_identity(model),
            "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    child_main(score_pairs)
