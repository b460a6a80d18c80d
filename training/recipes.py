"""Three recipes between which somebody chooses who does not want to choose settings.

Defaults after Biderman et al. 2024, LoRA Learns Less and Forgets Less, TMLR (all linear layers, small batches) and
TRL's guide; the learning rate of a single training is the one that was measured for small models here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.config import RATES, SEARCHED_RATES, TrainingConfig, epochs_for

QUICK_EPOCHS = 2  # at most
LEAST_STEPS = 100  # optimiser steps that Balanced makes, in 3 to 5 passes
EPOCHS = (3, 5)
FEW_ROWS, SMALL_BATCH, LARGE_BATCH = 600, 8, 16
BALANCED = "balanced"  # what is chosen unless somebody chooses
SEEDS = 3  # of Thorough's best learning rate


@dataclass(frozen=True)
class Recipe:
    """`config` is what it sets of a TrainingConfig; every other setting keeps its value."""

    name: str
    label: str
    words: str
    config: Mapping[str, Any]

    def config_for(self, method: str) -> dict[str, Any]:
        """What it sets for that method of training: another one than LoRA has its own learning rate."""
        rate = {} if method == "lora" else {"learning_rate": RATES[method]}
        return {**self.config, **rate, "method": method}


def recipes(n_rows: int) -> list[Recipe]:
    """Quick, Balanced and Thorough for so many training rows."""
    batch_size = SMALL_BATCH if n_rows < FEW_ROWS else LARGE_BATCH
    low, high = EPOCHS
    epochs = min(high, max(low, math.ceil(LEAST_STEPS / max(1, math.ceil(n_rows / batch_size)))))
    one = {"r": 16, "alpha": 32, "dropout": 0.0, "batch_size": batch_size, "epochs": epochs,
           "learning_rate": TrainingConfig.learning_rate, "search_seeds": 0}
    quick = min(QUICK_EPOCHS, epochs_for(n_rows))
    n_trainings = TrainingConfig(search_seeds=SEEDS).n_trainings
    rates = ", ".join(f"{rate:g}" for rate in SEARCHED_RATES["lora"])
    return [
        Recipe("quick", "Quick", f"{_passes(quick)} with a small adapter. To see whether it learns at all.",
               {**one, "r": TrainingConfig.r, "alpha": TrainingConfig.alpha, "batch_size": SMALL_BATCH,
                "epochs": quick}),
        Recipe(BALANCED, "Balanced", f"{_passes(epochs)}, and the best one on dev is kept. For most.", one),
        Recipe("thorough", "Thorough",
               f"{n_trainings} trainings: the learning rates {rates} (LoRA) once each, the best with {SEEDS - 1} more "
               "seeds. Chosen on dev only; the best looks at the held-out rows once. It also tells how much chance "
               "moves the result.", {**one, "search_seeds": SEEDS})]


def _passes(n: int) -> str:
    return f"{n} pass{'' if n == 1 else 'es'} over the rows"


def recipe_of(config: Mapping[str, Any], n_rows: int) -> Recipe | None:
    """The recipe that these values of a TrainingConfig are; None for somebody's own."""
    known = {"method": "lora", **config}  # a config from before there were others names none
    return next((recipe for recipe in recipes(n_rows) if all(
        known.get(name) == value for name, value in recipe.config_for(known["method"]).items())), None)
