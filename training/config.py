"""What a training may vary, and how many steps follow from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

METHODS = {  # full: every weight of the base model is trained; dpo: LoRA learns to write the preferred answer
    "lora": "LoRA", "full": "Full fine-tuning", "dpo": "DPO"}
RATES: Mapping[str, float] = {  # the learning rate of a method unless somebody says another
    "lora": 5e-4, "full": 5e-5, "dpo": 5e-5}
SEARCHED_RATES: Mapping[str, tuple[float, ...]] = {  # of `training.search`
    "lora": (1e-4, 2e-4, 5e-4), "full": (1e-5, 2e-5, 5e-5), "dpo": (1e-5, 5e-5, 2e-4)}


@dataclass(frozen=True)
class TrainingConfig:
    """What a training may vary; LoRA's learning rate and epochs were tried on the dev rows of the demo's tweets.

    r, alpha, dropout and weight_bits are LoRA's; full fine-tuning trains all weights in 32 bits.
    """

    method: str = "lora"  # of METHODS
    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = RATES["lora"]  # `config_from_json` gives another method its own of RATES
    epochs: int = 3
    batch_size: int = 8
    warmup_share: float = 0.05
    max_tokens: int = 512  # longer rows are refused, never cut
    seed: int = 1
    checkpoint_steps: int = 20
    threads: int = 2
    dev_rows: int = 400  # at most so many dev rows are scored after each epoch
    dev_answers: int = 0  # of so many, written answers choose the epoch by the task's metric; 0: by the loss
    weight_bits: int = 16  # 4: QLoRA, the base model's weights in NF4; needs a GPU
    search_seeds: int = 0  # 0: one training; else all SEARCHED_RATES, then the best of them with so many seeds in all

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "r": (1, 256), "alpha": (1, 1024), "dropout": (0, 0.5), "learning_rate": (1e-7, 1e-1), "epochs": (1, 50),
            "batch_size": (1, 1024), "warmup_share": (0, 0.5), "max_tokens": (8, 131072), "seed": (0, 2**31),
            "checkpoint_steps": (1, 100000), "threads": (1, 256), "dev_rows": (1, 100000),
            "dev_answers": (0, 1000), "search_seeds": (0, 10),
            "weight_bits": (4, 16)}
        if str(self.method) not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for field in fields(self):
            if field.name == "method":
                continue
            value, (low, high) = getattr(self, field.name), limits[field.name]
            whole = field.type is int
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"{field.name} must be {'a whole number' if whole else 'a number'}, got {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{field.name} must be between {low:g} and {high:g}, got {value!r}")
        if self.weight_bits not in (4, 16):
            raise ValueError(f"weight_bits must be 16, or 4 for QLoRA, got {self.weight_bits!r}")
        if self.method == "full" and self.weight_bits == 4:
            raise ValueError("weight_bits must be 16 where all weights are trained: in 4 bits they cannot be")

    @property
    def n_trainings(self) -> int:
        """How many trainings the run consists of."""
        return len(SEARCHED_RATES[self.method]) + self.search_seeds - 1 if self.search_seeds else 1


def config_from_json(data: dict[str, Any]) -> TrainingConfig:
    """The config with these values and its method's defaults for the rest; raises ValueError naming what is unknown."""
    unknown = sorted(set(data) - {field.name for field in fields(TrainingConfig)})
    if unknown:
        raise ValueError(f"the training config does not know {', '.join(unknown)}")
    rate = RATES.get(str(data.get("method", "lora")), RATES["lora"])
    return TrainingConfig(**{"learning_rate": rate, **data})


def epochs_for(n_rows: int, *, batch_size: int = 8) -> int:
    """The fewest epochs, 1 to 5, that make 60 optimiser steps: on the demo's tweets more gained nothing on dev."""
    return min(5, max(1, math.ceil(60 / max(1, math.ceil(n_rows / batch_size)))))


def n_steps(n_rows: int, config: TrainingConfig) -> int:
    """Optimiser steps of a whole run over `n_rows` encoded rows."""
    return config.epochs * math.ceil(n_rows / config.batch_size)
