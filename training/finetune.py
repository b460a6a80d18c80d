"""Fine-tuning in a subprocess, by LoRA or of all weights: `python -m training.finetune <folder>`.

1. Encode the rows ourselves and refuse what cannot be learned; TRL would drop it without a word.
2. Train with TRL's `SFTTrainer`. A batch is packed: what all prompts begin with goes through the model once,
   the rows stand behind it and a mask keeps them apart; the vocabulary head runs where a completion is
   predicted only. The loss is that of the same rows padded one below the other.
3. Every step is a line in metrics.jsonl; every N steps and behind every epoch a checkpoint with a manifest of ours,
   resumed from by itself when the folder is used again.
4. After each epoch judge it on the dev rows; the best epoch becomes `adapter/`, which holds a model's weights and
   config where all weights were trained. Labels are scored; where answers are written, which takes seconds a row, the
   loss decides, or the metric of a few answers if the config asks for it. Without dev rows it is the last step.
5. At its cap of seconds the run stops with a checkpoint: a higher cap goes on from there, or the best epoch so far is
   kept.
"""

import contextlib
import json
import math
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from jobs.child import child_main
from jobs.progress import Progress
from training import checkpoints, distributed, language_model
from training.config import n_steps
from training.judges import judge_of
from training.prepared import Prepared, prepare
from training.run_log import KEPT, METRICS, SPENT, CapReached, MetricsLog, Spent, StopRequest, best_epoch
from training.trainer import Keeper, callback_of


def train(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """The child's work: train an adapter on the spec's rows and leave it in `folder/adapter`.

    spec: "model" (folder), "rows_file" and "dev_file" (JSON lines with "key", "text", "label" and perhaps "data"; no
    dev file means that no epoch is chosen), "prompt" (`prompt_to_json`), "config" (fields of `TrainingConfig`);
    optional "steps" (the run ends after so many optimiser steps, within an epoch if need be, instead of after the
    config's epochs), "started_at" (the clock when the process was asked for), "cap_seconds" (of all attempts together,
    none if left out), "finish" (true: no step more, keep the best epoch so far).
    A folder in which the same run was killed is taken up at its newest whole checkpoint. A run that reaches its cap
    returns {"stopped_at_cap": True, …} without an adapter.
    Raises ValueError in words if the config, the rows or the model cannot be trained with.
    """
    spent = Spent(folder / KEPT / SPENT, spec.get("started_at"))
    given = prepare(spec, progress)
    given.check()
    config, loaded, n_rows = given.config, given.loaded, given.n_rows
    steps_per_epoch = math.ceil(n_rows / config.batch_size)
    total = int(spec.get("steps") or 0) or n_steps(n_rows, config)
    checkpoint = _resume_point(folder / KEPT, config.method, within=total if total % steps_per_epoch else total + 1)
    finish = bool(spec.get("finish"))  # then nothing is done again, so nothing of the log is forgotten
    known = checkpoints.checkpoint_step(checkpoint) if checkpoint else 0
    log = MetricsLog(folder / METRICS, keep_steps=sys.maxsize if finish else known)
    if not finish:
        stop = StopRequest(spent, spec.get("cap_seconds"))
        judge = None if given.dev is None else judge_of(given.prompt, given.rows, given.dev, loaded, config)
        dtype = loaded.model.dtype
        trainer = given.trainer(folder / KEPT, total)
        keeper = Keeper(trainer, config.method, given.model, dtype, loaded, judge, folder / KEPT, log, progress, stop,
                        steps_per_epoch, total)
        trainer.add_callback(callback_of(keeper))
        with contextlib.suppress(CapReached):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if stop.asked:
            sys.exit(128 + signal.SIGTERM)
    if distributed.rank():
        return {}
    if not finish and not any(row["step"] == total for row in log.epochs):
        return _stopped_at_cap(log, total, spent)
    if not log.epochs:
        raise ValueError("No epoch has been scored yet, so there is nothing to keep: let the run go on.")
    return {**_result(folder, log, given, checkpoint), **spent.to_json()}


def _result(folder: Path, log: MetricsLog, given: Prepared, checkpoint: Path | None) -> dict[str, Any]:
    names = checkpoints.learned_files(given.config.method)
    whole = [row for row in log.epochs if checkpoints.is_verified(folder / KEPT / f"epoch-{row['step']}", needed=names)]
    best, chosen_by = best_epoch(whole)
    files = _publish(folder / KEPT / f"epoch-{best['step']}", folder / "adapter", names,
                     language_model.model_identity(given.model))
    steps = log.steps
    return {"steps": steps[-1]["step"], "train_seconds": steps[-1]["seconds"], "tokens": steps[-1]["tokens"],
            "dev_seconds": sum(row["seconds"] for row in log.epochs),
            "peak_mb": language_model.peak_mb(), "loss_first": steps[0]["loss"],
            "loss_last": steps[-1]["loss"], "adapter": "adapter/", "files": files,
            "n_rows": given.n_rows, "refused": [list(pair) for pair in given.encoded.refused],
            "resumed_from": checkpoints.checkpoint_step(checkpoint) if checkpoint else 0,
            "best_step": best["step"], "chosen_by": chosen_by, "epochs": log.epochs}


def _stopped_at_cap(log: MetricsLog, total: int, spent: Spent) -> dict[str, Any]:
    spent.write()
    best, chosen_by = best_epoch(log.epochs) if log.epochs else ({}, "")
    return {"stopped_at_cap": True, "steps": log.steps[-1]["step"] if log.steps else 0, "n_steps": total,
            "n_epochs": len(log.epochs), "best_dev": best.get(chosen_by), "chosen_by": chosen_by,
            "peak_mb": language_model.peak_mb(), **spent.to_json()}


def _publish(kept: Path, adapter: Path, names: tuple[str, ...], identity: str) -> dict[str, str]:
    """Copy the kept epoch as the adapter: weights and config only, its base named by identity, not by a path."""
    temporary = adapter.with_name(".adapter")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    weights, settings = names
    shutil.copyfile(kept / weights, temporary / weights)
    config = json.loads((kept / settings).read_text()) | {"base_model_name_or_path": identity}
    if "target_modules" in config:  # a set in peft, in another order in every process
        config["target_modules"].sort()
    (temporary / settings).write_text(json.dumps(config, indent=1, sort_keys=True))
    language_model.sync_folder(temporary)
    shutil.rmtree(adapter, ignore_errors=True)
    temporary.rename(adapter)
    return {name: language_model.file_sha256(adapter / name) for name in names}


def _resume_point(kept: Path, method: str, *, within: int) -> Path | None:
    """The newest whole checkpoint before the step `within`; the others beyond it are removed, lest one be taken for it.

    transformers takes up a run whose last step lies within an epoch with a step too many.
    """
    for path in checkpoints.all_checkpoints(kept):
        if checkpoints.checkpoint_step(path) >= within:
            shutil.rmtree(path, ignore_errors=distributed.rank() > 0)
    newest = checkpoints.newest_verified(kept, needed=distributed.resume_files(method))
    for path in checkpoints.all_checkpoints(kept):
        if newest is None or checkpoints.checkpoint_step(path) > checkpoints.checkpoint_step(newest):
            shutil.rmtree(path, ignore_errors=distributed.rank() > 0)
    return newest


if __name__ == "__main__":
    child_main(train)
