"""What a training and its trial begin with: a spec's rows, read and encoded for the model that is to learn them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jobs.progress import Progress
from training import encoding, language_model, prompts
from training.config import TrainingConfig, config_from_json
from training.encoding import Encoded
from training.judges import check_dev
from training.language_model import LoadedModel
from training.pairs import Pair, answer_rows, pairs_of
from training.prompts import Prompt
from training.trainer import build_pair_trainer, build_trainer


@dataclass(frozen=True)
class Prepared:
    """rows: as in the spec's file. dev: those that judge an epoch, None where the last step is kept.

    learned: the rows whose completions are learned, two for each pair; encoded: those of them that can be.
    """

    config: TrainingConfig
    prompt: Prompt
    model: Path
    rows: list[dict[str, Any]]
    dev: list[dict[str, Any]] | None
    loaded: LoadedModel
    learned: list[dict[str, Any]]
    encoded: Encoded

    @cached_property
    def pairs(self) -> list[Pair]:
        """Of DPO; [] for the other methods."""
        return pairs_of(self.learned, self.encoded) if self.config.method == "dpo" else []

    @property
    def n_rows(self) -> int:
        """What an epoch goes through once: rows, or pairs."""
        return len(self.pairs or self.encoded.rows)

    def check(self) -> None:
        """Raises ValueError in words if nothing could be learned from the rows, or too little of them."""
        if problems := encoding.preflight(self.encoded, len(self.learned)):
            raise ValueError(" ".join(problems))

    def trainer(self, kept: Path, n_steps: int, *, in_order: list[int] | None = None) -> Any:
        """TRL's trainer for so many optimiser steps. in_order: these row numbers as they stand, else all shuffled."""
        all_of: list[Any] = self.pairs or self.encoded.rows
        chosen = all_of if in_order is None else [all_of[row] for row in in_order]
        build = build_pair_trainer if self.pairs else build_trainer
        return build(self.loaded, chosen, self.config, kept, n_steps, in_order=in_order is not None)


def prepare(spec: dict[str, Any], progress: Progress) -> Prepared:
    """Read and encode what `finetune.train`'s spec names.

    Raises ValueError in words if the config or the dev rows are not usable, or the model cannot be loaded.
    """
    config = config_from_json(spec["config"])
    language_model.prepare_process(config.threads)
    prompt, model = prompts.prompt_from_json(spec["prompt"]), Path(spec["model"])
    rows = read_rows(spec["rows_file"])
    dev = read_rows(spec["dev_file"])[: config.dev_rows] if spec.get("dev_file") else None
    if dev is not None:
        check_dev(dev, prompt)
    progress("Loading the model", 0, 1)
    loaded = language_model.load(model, weight_bits=config.weight_bits)
    learned = answer_rows(rows) if config.method == "dpo" else rows
    encoded = encoding.encode_rows(loaded.tokenizer, prompt, learned, max_tokens=config.max_tokens)
    return Prepared(config, prompt, model, rows, dev, loaded, learned, encoded)


def read_rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line.strip()]
