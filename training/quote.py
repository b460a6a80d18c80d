"""What a training will take, from a few real steps of it: seconds, memory, money, and where it would fit.

Of each training of a run seconds are load + steps × median step + epochs × dev scoring + checkpoints, the steps with a
tenth on top for what a short trial does not see; the range takes the tenth and the ninetieth percentile of the steps in
place of the median.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from training.config import TrainingConfig, n_steps
from training.memory import Fit, fit, gpu_seconds, shape_from_config

MARGIN = 1.1
CAP_FACTOR = 1.5  # of the range's upper end, unless somebody says otherwise
SHORTEST_CAP = 60.0  # seconds; shorter runs differ by more than their quote's range


@dataclass(frozen=True)
class Estimate:
    """Seconds on the clock with their range, of the processor, the parts by name, and MB (2^20 bytes) at the peak."""

    seconds: float
    low: float
    high: float
    cpu_seconds: float
    parts: dict[str, float]
    n_steps: int
    peak_mb: float

    @property
    def cap_seconds(self) -> float:
        return max(SHORTEST_CAP, CAP_FACTOR * self.high)


def estimate(trial: Mapping[str, Any], config: TrainingConfig) -> Estimate:
    """Return what the whole run takes. trial: the result of `trial.try_steps` with the same config."""
    n = config.n_trainings
    steps = n_steps(trial["n_rows"], config)
    median, low, high = (float(np.quantile(trial["steps"], q)) for q in (0.5, 0.1, 0.9))
    judged = trial["n_dev"] * trial["dev_seconds"] + trial["n_answers"] * trial["answer_seconds"]
    parts = {"load": trial["load_seconds"] + trial["start_seconds"], "steps": MARGIN * steps * median,
             "dev": config.epochs * judged,
             "checkpoints": _n_checkpoints(steps, config) * trial["save_seconds"]}
    parts = {name: n * seconds for name, seconds in parts.items()}
    rest, all_steps = sum(parts.values()) - parts["steps"], n * steps
    cpu = n * (trial["load_cpu"] + MARGIN * steps * float(np.median(trial["steps_cpu"]))
           + config.epochs * (trial["n_dev"] * trial["dev_cpu"] + trial["n_answers"] * trial["answer_cpu"]))
    return Estimate(seconds=sum(parts.values()), low=rest + all_steps * low, high=rest + MARGIN * all_steps * high,
                    cpu_seconds=cpu, parts=parts, n_steps=all_steps, peak_mb=trial["peak_mb"])


def seconds_of_another(trial: Mapping[str, Any], tried: TrainingConfig, other: TrainingConfig) -> float:
    """About what a run with another config would take; a step is taken to last in proportion to its rows."""
    share = min(other.batch_size, trial["n_rows"]) / min(tried.batch_size, trial["n_rows"])
    return estimate({**trial, "steps": [share * seconds for seconds in trial["steps"]]}, other).seconds


def _n_checkpoints(steps: int, config: TrainingConfig) -> int:
    """One every so many steps and one behind every epoch; where both fall on a step it is one."""
    per_epoch = steps // config.epochs
    return len({step for every in (config.checkpoint_steps, per_epoch) for step in range(every, steps + 1, every)})


@dataclass(frozen=True)
class Machine:
    """A machine or GPU from the price table. gb, teraflops: None where not said. price: per hour in `currency`."""

    name: str
    price: float
    currency: str
    gb: float | None
    teraflops: float | None


@dataclass(frozen=True)
class Elsewhere:
    """How a training would do on another machine; seconds and money as (low, high), None where nothing tells."""

    machine: Machine
    fit: Fit
    seconds: tuple[float, float] | None
    money: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.machine.name, "currency": self.machine.currency, "words": self.fit.words,
                "needed_gb": self.fit.needed_gb, "gb": self.fit.gb, "fits": self.fit.plan is not None,
                "seconds": self.seconds, "money": self.money}


def elsewhere(trial: Mapping[str, Any], config: TrainingConfig, machines: Sequence[Machine]) -> list[Elsewhere]:
    """Advice for every machine whose memory is said; [] for a model whose sizes are not those of a gated decoder."""
    try:
        shape = shape_from_config(trial["shape"])
    except KeyError:
        return []
    found = []
    for machine in machines:
        if machine.gb is None:
            continue
        is_pairs = config.method == "dpo"  # of two answers each; the base model reads them, too: 2 N more a token
        fitting = fit(shape, r=config.r, batch_size=config.batch_size * (2 if is_pairs else 1), tokens=trial["longest"],
                      gb=machine.gb, method=_held_as(config))
        n_tokens = trial["tokens"] * config.epochs * (1.5 if is_pairs else 1)
        seconds = (gpu_seconds(shape, fitting.plan, n_tokens=round(n_tokens),
                               teraflops=machine.teraflops)
                   if fitting.plan and machine.teraflops and config.method != "full" else None)  # known for 16 bits
        money = (seconds[0] / 3600 * machine.price, seconds[1] / 3600 * machine.price) if seconds else None
        found.append(Elsewhere(machine, fitting, seconds, money))
    return found


def _held_as(config: TrainingConfig) -> Literal["lora", "qlora", "full"]:
    if config.method == "full":
        return "full"
    return "qlora" if config.weight_bits == 4 else "lora"


def error_of(quoted: float, came: float) -> float | None:
    """By what share of what came the quote was off: positive where it was too high; None where nothing came."""
    return (quoted - came) / came if came else None
