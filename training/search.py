"""A search in one run, in a subprocess: `python -m training.search <folder>`.

1. Every learning rate of the method's `SEARCHED_RATES` is trained once with the config's seed.
2. The best on dev is trained again with as many seeds as the config asks for, the first included.
3. The best of all on dev becomes `adapter/`; nothing else is ever judged on the held-out rows.
Each training is `finetune.train` in a folder below KEPT, so that a search resumes within a training; its cap is that of
all of them together. One whose loss becomes infinite is out, and the others go on.
"""

import gc
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jobs.child import child_main
from jobs.progress import Progress
from training import checkpoints, finetune, language_model
from training.config import SEARCHED_RATES, TrainingConfig, config_from_json
from training.run_log import KEPT, METRICS, SPENT, Diverged, MetricsLog, Spent, best_epoch

DONE = "done.json"  # in a training's folder: what it returned
TOLERABLE_SPREAD = 0.02  # of the seeds' dev metric; beyond it the range is what counts
UNITS = 1000  # of progress, for a training


def search(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work, with the spec of `finetune.train` whose config has `search_seeds`.

    Returns what `finetune.train` returns for the best training, steps, tokens and seconds those of all; beside it
    "search": a line for each training, and "spread_words".
    Raises ValueError in words if nothing can be trained, or every training diverged.
    """
    spent = Spent(folder / KEPT / SPENT, spec.get("started_at"))
    config = config_from_json(spec["config"])
    trainings = _Trainings(spec, config, folder / KEPT, spent, progress)
    first = [trainings.result(replace(config, learning_rate=rate))
             for rate in SEARCHED_RATES[config.method]]
    best = _best([one for one in first if one])
    more: list[dict[str, Any] | None] = []
    if best is not None and all(first):
        more = [trainings.result(replace(config, learning_rate=best["learning_rate"], seed=config.seed + k))
                for k in range(1, config.search_seeds)]
    found = [one for one in (*first, *more) if one]
    winner = _best(found)
    spent.write()
    if trainings.stopped:
        return _stopped(trainings.stopped, found, winner, config, spent)
    if winner is None:
        raise ValueError("No training of the search came to an epoch that could be scored: choose lower learning rates "
                         "by hand." if found else "No epoch has been scored yet, so there is nothing to keep.")
    place = folder / KEPT / winner["place"]
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    shutil.copytree(place / "adapter", folder / "adapter")
    shutil.copyfile(place / METRICS, folder / METRICS)
    lines = [_line(one, is_winner=one is winner) for one in found]
    return {**winner["result"], **_sums(found), "search": lines, "spread_words": spread_words(lines),
            "peak_mb": language_model.peak_mb(), **spent.to_json()}


class _Trainings:
    """Does one training after the other; after one that stopped at the cap none is begun.

    stopped: what that one returned.
    """

    def __init__(self, spec: Mapping[str, Any], config: TrainingConfig, kept: Path, spent: Spent,
                 progress: Progress) -> None:
        self.spec, self.kept, self.spent, self.progress = spec, kept, spent, progress
        self.n, self.n_asked = config.n_trainings, 0
        self.stopped: dict[str, Any] = {}

    def result(self, config: TrainingConfig) -> dict[str, Any] | None:
        """What the training with this config came to, from an earlier attempt if it was done; None if not begun."""
        name = f"rate-{config.learning_rate:g}-seed-{config.seed}"
        place, number = self.kept / name, self.n_asked
        self.n_asked += 1
        about = {"place": name, "learning_rate": config.learning_rate, "seed": config.seed}
        if (place / DONE).exists():
            return {**about, **json.loads((place / DONE).read_text())}
        if self.stopped or (self.spec.get("finish") and not _has_epochs(place)):
            return None
        came = self._train(config, place, number)
        if came.get("result", {}).get("stopped_at_cap"):
            self.stopped = came["result"]
            return None
        checkpoints.write_whole(place / DONE, json.dumps(came))
        return {**about, **came}

    def _train(self, config: TrainingConfig, place: Path, number: int) -> dict[str, Any]:
        language_model.prepare_process(config.threads)
        language_model.seed_everything(config.seed)  # the adapter's first weights are drawn before the trainer sets it
        place.mkdir(parents=True, exist_ok=True)
        earlier = Spent(place / KEPT / SPENT).earlier
        cap = self.spec.get("cap_seconds")
        left = None if cap is None else max(1e-3, cap - self.spent.seconds + earlier)
        spec = {**self.spec, "config": asdict(replace(config, search_seeds=0)), "cap_seconds": left}
        spec.pop("started_at", None)

        def part(stage: str, done: int, total: int) -> None:
            self.spent.write()
            share = UNITS * done // total if stage == "Training" and total else 0
            self.progress(f"Training {number + 1} of {self.n}" if stage == "Training" else stage,
                          *((UNITS * number + share, UNITS * self.n) if stage == "Training" else (done, total)))

        try:
            return {"result": finetune.train(spec, place, part)}
        except Diverged as error:
            return {"diverged": str(error)}
        finally:
            gc.collect()  # a model of the last training goes before the next comes


def _has_epochs(place: Path) -> bool:
    return place.is_dir() and bool(MetricsLog(place / METRICS, keep_steps=2**31).epochs)


def _chosen(one: Mapping[str, Any]) -> tuple[float, str]:
    """A training's figure on dev, higher is better, and which it is."""
    best, chosen_by = best_epoch(one["result"]["epochs"])
    return (-1 if chosen_by == "dev_loss" else 1) * float(best[chosen_by]), chosen_by


def _best(found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The best on dev; of equal ones the lower loss there, then the earlier one."""
    able = [one for one in found if "result" in one]

    def rank(one: Mapping[str, Any]) -> tuple[float, float]:
        best, _ = best_epoch(one["result"]["epochs"])
        return _chosen(one)[0], -float(best["dev_loss"])

    return max(able, key=rank, default=None)


def _sums(found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: sum(one["result"][name] for one in found if "result" in one)
            for name in ("steps", "tokens", "train_seconds", "dev_seconds")}


def _line(one: Mapping[str, Any], *, is_winner: bool) -> dict[str, Any]:
    line = {"learning_rate": one["learning_rate"], "seed": one["seed"], "is_winner": is_winner}
    if "diverged" in one:
        return {**line, "diverged": one["diverged"]}
    value, chosen_by = _chosen(one)
    return {**line, "dev": abs(value), "chosen_by": chosen_by, "best_step": one["result"]["best_step"],
            "loss_last": one["result"]["loss_last"]}


def spread_words(lines: Sequence[Mapping[str, Any]]) -> str:
    """How much the seeds of the best learning rate differ on dev, and what follows; "" for fewer than two of them."""
    rate = next(line["learning_rate"] for line in lines if line["is_winner"])
    same = [line for line in lines if line["learning_rate"] == rate and "dev" in line]
    if len(same) < 2:
        return ""
    low, high = (end(line["dev"] for line in same) for end in (min, max))
    if same[0]["chosen_by"] == "dev_loss":
        return f"With {len(same)} seeds the loss on dev lies between {low:.3f} and {high:.3f}."
    said = f"With {len(same)} seeds the figure on dev lies between {100 * low:.1f} % and {100 * high:.1f} %"
    if high - low > TOLERABLE_SPREAD + 1e-9:
        return (f"{said}: chance alone moves it by {100 * (high - low):.1f} points. Take the range, not the best, for "
                "what to expect; more labels make it narrower.")
    return f"{said}, so chance moves it little."


def _stopped(stopped: Mapping[str, Any], found: Sequence[Mapping[str, Any]], winner: Mapping[str, Any] | None,
             config: TrainingConfig, spent: Spent) -> dict[str, Any]:
    """What `finetune.train` returns at its cap, of all trainings together."""
    sign = -1 if stopped.get("chosen_by") == "dev_loss" else 1
    bests = [(sign * stopped["best_dev"], stopped["chosen_by"])] if stopped.get("n_epochs") else []
    if winner is not None:
        bests.append(_chosen(winner))
    best, chosen_by = max(bests, default=(0.0, ""))
    done = [one["result"] for one in found if "result" in one]
    return {"stopped_at_cap": True, "steps": stopped["steps"] + sum(one["steps"] for one in done),
            "n_steps": stopped["n_steps"] * config.n_trainings,
            "n_epochs": stopped["n_epochs"] + sum(len(one["epochs"]) for one in done),
            "best_dev": abs(best) if bests else None, "chosen_by": chosen_by, "peak_mb": stopped["peak_mb"],
            **spent.to_json()}


if __name__ == "__main__":
    child_main(search)
