"""A few real steps before a training, in a subprocess: `python -m training.trial <folder>`.

1. Load and encode as the training does.
2. Of the batches that the run may draw, take some that are spread evenly from the largest to the smallest, and do a
   real optimiser step on each. The largest comes first: it takes the most memory and warms up, so its time is left out.
3. Write one checkpoint, and judge some dev rows with the adapter on, as the training does after every epoch.
4. Beside that the checks of `preflight`; where one fails that a training is refused for, no step is tried.
"""

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jobs.child import child_main
from jobs.progress import Progress
from training import checkpoints, distributed, language_model, losses, preflight
from training.config import TrainingConfig
from training.encoding import EncodedRow
from training.judges import LabelJudge, PairJudge, WrittenJudge, judge_of
from training.language_model import LoadedModel
from training.packing import pack, shared_length
from training.pairs import Pair
from training.prepared import prepare
from training.run_log import KEPT, Spent

N_STEPS = 9  # measured, behind the one that warms up
N_DEV = 64  # dev rows that are scored
OVERFIT_RATE = {"lora": 1e-3, "full": 1e-4}  # whatever the run's own: can the rows be learned, not how fast
N_ANSWERS = 4  # answers that are written, where those choose the epoch


def try_steps(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: measure, in seconds, what the training of `finetune.train`'s spec would do again and again.

    Where rows fail a check for which the training would be refused, "checks" is all that comes back.
    Raises ValueError in words if the training could not start for another reason.
    """
    spent = Spent(folder / "none", spec.get("started_at"))
    given = prepare(spec, progress)
    config, prompt, loaded, encoded, dev = given.config, given.prompt, given.loaded, given.encoded, given.dev or []
    checks = preflight.row_checks(loaded.tokenizer, prompt, given.learned, encoded)
    if preflight.failed(checks, hard=True):
        return {"checks": [check.to_json() for check in checks]}
    given.check()
    pairs = given.pairs
    batches = (spread_pairs(pairs, config) if pairs else
               spread_batches(encoded.rows, config, pad_token=loaded.tokenizer.eos_token_id))
    trainer = given.trainer(folder / KEPT, len(batches), in_order=[row for batch in batches for row in batch])
    before = spent.to_json()
    smallest = [pairs[row].chosen if pairs else encoded.rows[row] for row in batches[-1]]
    if config.method != "full":  # nothing is added to those weights
        checks.append(preflight.step_zero_check(*losses.losses_without_and_with(trainer.model, smallest, loaded)))
    watch = _Watch(len(batches), progress)
    trainer.args.save_steps = len(batches)
    trainer.add_callback(_callback(watch, folder / KEPT, config.method))
    trainer.train()
    trainer.model.eval()
    timed = _time_judging(judge_of(prompt, given.rows, dev, loaded, config),
                          LoadedModel(trainer.model, loaded.tokenizer), progress)
    lengths = [len(row.input_ids) for row in encoded.rows]
    peak_mb = language_model.peak_mb()  # of the run's own steps
    if not pairs:  # what people found the worse answer is not to be learned by heart
        trainer.optimizer.state.clear()  # that of the next check takes as much again
        checks.append(_overfit(trainer.model, encoded.rows, loaded, OVERFIT_RATE[config.method], progress))
    return {"checks": [check.to_json() for check in checks],
            "load_seconds": before["spent_seconds"], "load_cpu": before["cpu_seconds"],
            "start_seconds": watch.start_seconds, "steps": watch.steps[1:] or watch.steps,
            "steps_cpu": watch.steps_cpu[1:] or watch.steps_cpu, "save_seconds": watch.save_seconds,
            "dev_seconds": timed.row[0], "dev_cpu": timed.row[1], "n_dev": timed.n_dev,
            "answer_seconds": timed.answer[0], "answer_cpu": timed.answer[1],
            "n_answers": 0 if prompt.has_labels else min(len(dev), config.dev_answers),
            "n_rows": given.n_rows, "refused": [list(pair) for pair in encoded.refused],
            "tokens": sum(lengths), "longest": max(lengths),
            "completion_tokens": float(np.mean([row.n_completion for row in encoded.rows])),
            "prompt_tokens": float(np.mean([len(row.input_ids) - row.n_completion for row in encoded.rows])),
            "peak_mb": peak_mb,
            "model": language_model.model_identity(given.model),
            "shape": json.loads((given.model / "config.json").read_text())}


def spread_batches(rows: Sequence[EncodedRow], config: TrainingConfig, *, pad_token: int) -> list[list[int]]:
    """Row numbers of N_STEPS + 1 batches (fewer if there are fewer), evenly spread by size, the largest first.

    They are drawn from as many batches as the run will have, in orders like the run's; size counts the tokens of the
    packed batch, padding included.
    """
    n_shared = shared_length(rows)
    return _spread(len(rows), config, lambda batch: pack([(rows[row].input_ids, rows[row].labels) for row in batch],
                                                         n_shared, pad_token).input_ids.size)


def spread_pairs(pairs: Sequence[Pair], config: TrainingConfig) -> list[list[int]]:
    """`spread_batches` of pairs, whose answers stand one below the other, padded to the longest."""
    longest = [max(len(pair.chosen.input_ids), len(pair.rejected.input_ids)) for pair in pairs]
    return _spread(len(pairs), config, lambda batch: 2 * len(batch) * max(longest[row] for row in batch))


def _spread(n_rows: int, config: TrainingConfig, size_of: Callable[[list[int]], int]) -> list[list[int]]:
    random, drawn = np.random.default_rng(config.seed), []
    for _ in range(config.epochs):
        order = random.permutation(n_rows)
        drawn += [[int(row) for row in order[start:start + config.batch_size]]
                  for start in range(0, n_rows - n_rows % config.batch_size, config.batch_size)]
    drawn = drawn or [list(range(n_rows))]
    sizes = [size_of(batch) for batch in drawn]
    by_size = [drawn[place] for place in np.argsort(sizes, kind="stable")]
    if len(by_size) <= N_STEPS + 1:
        return by_size[::-1]
    places = np.round((np.arange(N_STEPS) + 0.5) / N_STEPS * len(by_size) - 0.5).astype(int)
    return [by_size[-1], *(by_size[place] for place in places)]


class _Watch:
    """Times every step, on the clock and of the processor, and the checkpoint behind the last."""

    def __init__(self, n_steps: int, progress: Progress) -> None:
        self.n_steps, self.progress = n_steps, progress
        self.steps: list[float] = []
        self.steps_cpu: list[float] = []
        self.start_seconds, self.save_seconds = 0.0, 0.0
        self.built = self.clock = time.perf_counter()
        self.cpu = time.process_time()

    def begin(self) -> None:
        self.start_seconds = time.perf_counter() - self.built
        self.clock, self.cpu = time.perf_counter(), time.process_time()

    def step(self) -> None:
        now, cpu = time.perf_counter(), time.process_time()
        self.steps.append(now - self.clock)
        self.steps_cpu.append(cpu - self.cpu)
        self.clock, self.cpu = now, cpu
        self.progress("Trying steps", len(self.steps), self.n_steps)

    def saved(self) -> None:
        self.save_seconds = time.perf_counter() - self.clock


def _callback(watch: _Watch, kept: Path, method: str) -> Any:
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.begin()

        def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if "loss" in given["logs"]:
                watch.step()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoints.write_manifest(kept / f"checkpoint-{state.global_step}",
                                       needed=distributed.resume_files(method))
            watch.saved()

    return Callback()


def _overfit(model: Any, rows: Sequence[EncodedRow], loaded: LoadedModel, rate: float,
             progress: Progress) -> preflight.Check:
    """Learn the shortest rows by heart, no prompt twice; the model is of no use afterwards."""
    different = {tuple(row.input_ids[:-row.n_completion]): row for row in reversed(rows)}
    few = sorted(different.values(), key=lambda row: len(row.input_ids))[:preflight.OVERFIT_ROWS]
    learn = losses.learner(model, few, loaded, learning_rate=rate)
    done = itertools.count()

    def step() -> float:
        progress("Learning a few rows by heart", next(done), preflight.OVERFIT_STEPS)
        return learn()

    return preflight.overfit_check(preflight.overfit(step, n_rows=len(few), clock=time.perf_counter))


@dataclass(frozen=True)
class _Timed:
    """Seconds on the clock and of the processor for one dev row, and for one answer; 0 where none is written."""

    row: tuple[float, float]
    answer: tuple[float, float]
    n_dev: int


def _time_judging(judge: LabelJudge | WrittenJudge | PairJudge, loaded: LoadedModel, progress: Progress) -> _Timed:
    """Time the judge on dev rows taken evenly from all of them; where it writes answers, on a few of those."""
    n_dev = len(judge.dev)
    if isinstance(judge, PairJudge):
        pairs = judge.pairs[::max(1, n_dev // N_DEV)]
        return _Timed(_per_row(replace(judge, pairs=pairs), len(pairs), loaded, progress), (0.0, 0.0), n_dev)
    some = judge.dev[::max(1, n_dev // N_DEV)]
    if isinstance(judge, LabelJudge):
        return _Timed(_per_row(replace(judge, dev=some), len(some), loaded, progress), (0.0, 0.0), n_dev)
    row = _per_row(replace(judge, dev=some, n_answers=0), len(some), loaded, progress)
    if not judge.n_answers:
        return _Timed(row, (0.0, 0.0), n_dev)
    few = some[:N_ANSWERS]
    both = _per_row(replace(judge, dev=few, n_answers=len(few)), len(few), loaded, progress)
    return _Timed(row, (max(0.0, both[0] - row[0]), max(0.0, both[1] - row[1])), n_dev)


def _per_row(judge: LabelJudge | WrittenJudge | PairJudge, n: int, loaded: LoadedModel,
             progress: Progress) -> tuple[float, float]:
    clock, cpu = time.perf_counter(), time.process_time()
    judge.metrics(loaded, progress)
    return (time.perf_counter() - clock) / n, (time.process_time() - cpu) / n


if __name__ == "__main__":
    child_main(try_steps)
