"""What a training's curve and its end say, in sentences with what to change; nothing where nothing is wrong.

The rules: dev falls while train falls → fewer passes; train stays flat → twice the learning rate; out of memory →
smaller steps; a loss that is no number → half the learning rate.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.run_log import CHOSEN_BY

OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "can't allocate memory", "memoryerror", "exit code -9\n",
                 "exit code 137\n")
LEAST_STEPS = 10  # fewer say nothing about a curve
FLAT = 0.02  # of the loss: a smaller fall from the first third to the last is none
FELL_AGAIN = 0.02  # by so much below its best, dev fell


def why_failed(error: str, config: Mapping[str, Any]) -> str:
    """What to change after a run that ended with this error; "" where its words say it already.

    config: the run's values of TrainingConfig.
    """
    said = error.lower() + "\n"
    if any(words in said for words in OUT_OF_MEMORY):
        changes = []
        if (batch_size := config["batch_size"]) > 1:
            changes.append(f"“Rows per step” from {batch_size} to {max(1, batch_size // 2)}")
        longest = config["max_tokens"]
        changes.append(f"“Longest row, in tokens” from {longest:,} to {max(8, longest // 2):,}")
        return (f"It ran out of memory, or the machine ended it for that. Lower {' or '.join(changes)}, and make a new "
                "quote: it tries the largest step first. Or take a smaller base model, or a machine with more memory.")
    if "the loss became" in said:
        return (f"The steps were too large. Halve the learning rate, from {config['learning_rate']:g} to "
                f"{config['learning_rate'] / 2:g}, and make a new quote.")
    return ""


def curve_findings(points: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> list[str]:
    """What the curve says. points: lines of metrics.jsonl in their order."""
    losses = np.array([point["loss"] for point in points if "loss" in point], dtype=float)
    epochs = [point for point in points if "loss" not in point]
    if len(losses) < LEAST_STEPS:
        return []
    third = len(losses) // 3
    first, last = float(losses[:third].mean()), float(losses[-third:].mean())
    found = []
    if first - last < FLAT * first:
        found.append(f"The loss in training stayed flat, {first:.2f} in the first third of the steps and {last:.2f} in "
                     f"the last. Double the learning rate, to {2 * config['learning_rate']:g}.")
    elif fewer := _fewer_passes(epochs):
        found.append(fewer)
    return found


def _fewer_passes(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Where dev was best before the last pass and clearly worse at it."""
    name = next((name for name in CHOSEN_BY if epochs and name in epochs[0]), None)
    if name is None or len(epochs) < 2:
        return ""
    sign = -1 if name == "dev_loss" else 1
    values = [sign * float(epoch[name]) for epoch in epochs]
    best = max(range(len(values)), key=lambda k: (values[k], -k))
    if values[best] - values[-1] < FELL_AGAIN * (abs(values[best]) if name == "dev_loss" else 1):
        return ""
    was, came = ((f"{abs(values[k]):.3f}" if name == "dev_loss" else f"{100 * values[k]:.1f} %") for k in (best, -1))
    what = "loss" if name == "dev_loss" else "score"
    passes = f"{best + 1} pass{'' if best == 0 else 'es'}"
    return (f"After pass {best + 1} of {len(epochs)} it went on learning the training rows by heart: their loss fell, "
            f"while the {what} on dev went from {was} to {came}. Pass {best + 1} was kept; {passes} would have done.")
