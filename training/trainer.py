"""TRL's trainer with our packing and loss, and what is done around its steps: count, log, report, score, keep, stop."""

import contextlib
import math
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.progress import Progress
from training import checkpoints, distributed, encoding, language_model
from training.config import TrainingConfig
from training.encoding import EncodedRow
from training.judges import LabelJudge, PairJudge, WrittenJudge
from training.language_model import LoadedModel, causal_of
from training.losses import loss_of, tensors
from training.packing import pack, shared_length
from training.pairs import BETA, Pair
from training.run_log import CapReached, Diverged, MetricsLog, StopRequest, best_epoch

REWARDS = {"reward_margin": "rewards/margins", "reward_accuracy": "rewards/accuracies"}  # our name → TRL's


def build_trainer(loaded: LoadedModel, rows: Sequence[EncodedRow], config: TrainingConfig, kept: Path, total: int, *,
                  in_order: bool = False) -> Any:
    """TRL's trainer with our packing and loss, for `total` optimiser steps.

    Full fine-tuning turns the loaded model's weights into 32 bits: in 16 most of its small steps would be rounded away.
    in_order: the rows come as they stand instead of shuffled.
    """
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    n_shared = shared_length(rows)
    pad_token = loaded.tokenizer.eos_token_id

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        packed = pack([(example["input_ids"], example["labels"]) for example in examples], n_shared, pad_token)
        return {**tensors(packed, loaded.model),
                "n_tokens": torch.tensor(sum(len(example["input_ids"]) for example in examples))}

    class PackedTrainer(SFTTrainer):
        """SFTTrainer whose loss needs the vocabulary head at the completions' positions only."""

        n_tokens = n_learned = 0

        def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                         num_items_in_batch: Any = None) -> Any:
            causal = causal_of(self.accelerator.unwrap_model(model))
            self.n_learned = int((inputs["labels"] != encoding.IGNORED).sum())
            return loss_of(causal, inputs)

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **given: Any) -> Any:
            n_read = int(inputs["n_tokens"])
            loss = super().training_step(model, inputs, *args, **given)
            loss, n_read = distributed.average_step(model.parameters(), loss, self.n_learned, n_read)
            self.n_tokens += n_read
            return loss

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """No card here: the product writes its own."""

    arguments = SFTConfig(**_arguments(config, kept, total, in_order=in_order), packing=False, shuffle_dataset=False,
                          dataset_kwargs={"skip_prepare_dataset": True})
    dataset = Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
    is_full = config.method == "full"
    lora = None if is_full else language_model.lora_config(r=config.r, alpha=config.alpha, dropout=config.dropout)
    return PackedTrainer(model=loaded.model.float() if is_full else loaded.model, args=arguments, train_dataset=dataset,
                         data_collator=collate, processing_class=loaded.tokenizer, peft_config=lora)


def build_pair_trainer(loaded: LoadedModel, pairs: Sequence[Pair], config: TrainingConfig, kept: Path, total: int, *,
                       in_order: bool = False) -> Any:
    """TRL's DPO trainer on pairs of our own tokens; the reference is the same model with its adapter off."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    class PairTrainer(DPOTrainer):
        """DPOTrainer that takes tokens as they are, and counts them."""

        n_tokens = 0

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **given: Any) -> Any:
            n_read = int(inputs["attention_mask"].sum())
            loss = super().training_step(model, inputs, *args, **given)
            self.n_tokens += n_read
            return loss

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """No card here: the product writes its own."""

    dataset = Dataset.from_list([{"prompt_ids": pair.prompt_ids, "chosen_ids": pair.answers[0],
                                  "rejected_ids": pair.answers[1]} for pair in pairs])
    arguments = DPOConfig(**_arguments(config, kept, total, in_order=in_order), beta=BETA, loss_type=["sigmoid"])
    lora = language_model.lora_config(r=config.r, alpha=config.alpha, dropout=config.dropout)
    return PairTrainer(model=loaded.model, args=arguments, train_dataset=dataset, processing_class=loaded.tokenizer,
                       peft_config=lora)


def _arguments(config: TrainingConfig, kept: Path, total: int, *, in_order: bool) -> dict[str, Any]:
    """What TRL's trainers are told alike; every default that matters is said."""
    return {
        "output_dir": str(kept), "seed": config.seed, "data_seed": config.seed, "max_steps": total,
        "gradient_accumulation_steps": 1,
        "per_device_train_batch_size": distributed.rows_per_process(config.batch_size),
        "learning_rate": config.learning_rate, "lr_scheduler_type": "linear", "warmup_steps": config.warmup_share,
        "optim": "adamw_torch", "weight_decay": 0.0, "max_grad_norm": 1.0, "bf16": False, "fp16": False,
        "gradient_checkpointing": False, "max_length": None, "logging_strategy": "steps", "logging_steps": 1,
        "logging_nan_inf_filter": False, "save_strategy": "steps", "save_steps": config.checkpoint_steps,
        "save_total_limit": 2, "eval_strategy": "no", "report_to": "none", "disable_tqdm": True,
        "dataloader_num_workers": 0, "dataloader_pin_memory": False, "push_to_hub": False,
        "train_sampling_strategy": "sequential" if in_order else "random", "remove_unused_columns": True}


@dataclass
class Keeper:
    """What is done around the trainer's steps: count, log, report, score the dev rows, stop.

    base: the base model's folder. dtype: of its weights, in which full fine-tuning keeps its own.
    """

    trainer: Any
    method: str
    base: Path
    dtype: Any
    loaded: LoadedModel
    judge: LabelJudge | WrittenJudge | PairJudge | None
    kept: Path
    log: MetricsLog
    progress: Progress
    stop: StopRequest
    steps_per_epoch: int
    n_steps: int
    seconds: float = 0.0  # spent in steps, by all attempts
    clock: float = 0.0

    @property
    def is_scored(self) -> bool:
        return self.judge is not None

    def begin(self, step: int, device: Any) -> None:
        if self.log.steps:
            self.seconds, self.trainer.n_tokens = self.log.steps[-1]["seconds"], self.log.steps[-1]["tokens"]
        self.clock = time.perf_counter()
        if step and step % self.steps_per_epoch == 0:
            # The kill may have come after this checkpoint and before its epoch was scored.
            self.end_epoch_together(step, device)

    def step(self, step: int, logs: dict[str, Any]) -> None:
        """Write a step down; beside its loss what a trainer of pairs says of its rewards."""
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        if not math.isfinite(loss := logs["loss"]):
            raise Diverged(f"The loss became {loss} at step {step}: choose a lower learning rate.")
        rewards = {name: logs[said] for name, said in REWARDS.items() if said in logs}
        self.log.append({"step": step, "loss": loss, "learning_rate": logs["learning_rate"], **rewards,
                         "seconds": round(self.seconds, 3), "tokens": self.trainer.n_tokens})
        self.progress("Training", step, self.n_steps)

    def look(self, device: Any) -> None:
        """See whether the run has to stop; all processes that train together get the same answer."""
        self.stop.look()
        self.stop.asked = distributed.anyone(self.stop.asked, device)
        self.stop.is_over = distributed.anyone(self.stop.is_over, device)

    def end_epoch_together(self, step: int, device: Any) -> None:
        """The first process ends the epoch, the others wait. Raises CapReached in all of them if it was cut off."""
        with contextlib.suppress(CapReached):
            self.end_epoch(step)
        distributed.wait_for_all()
        self.stop.is_over = distributed.anyone(self.stop.is_over, device)
        if self.stop.is_over:
            raise CapReached

    def end_epoch(self, step: int) -> None:
        """Score the adapter as it is now, keep it in `epoch-<step>/`, then log; on a resume nothing is done twice.

        Without dev rows only the last step is kept.
        """
        is_done = any(row["step"] == step for row in self.log.epochs)
        if distributed.rank() or is_done or (self.judge is None and step < self.n_steps):
            return
        started = time.perf_counter()
        found = self._judged() if self.judge else {}
        self._keep(step)
        seconds = time.perf_counter() - started
        self.log.append({"step": step, "epoch": math.ceil(step / self.steps_per_epoch), **found,
                         "seconds": round(seconds, 3)})
        if self.method == "full":
            self._drop_all_but_the_best()
        self.clock = time.perf_counter()

    def _judged(self) -> dict[str, float]:
        assert self.judge is not None
        model = self.trainer.model
        model.eval()
        found = self.judge.metrics(LoadedModel(model, self.loaded.tokenizer), self._dev_progress)
        model.train()
        return found

    def _dev_progress(self, stage: str, done: int, total: int) -> None:
        if self.stop.asked:
            sys.exit(128 + signal.SIGTERM)
        self.stop.look()
        if self.stop.is_over and done < total:
            raise CapReached
        self.progress(stage, done, total)

    def _keep(self, step: int) -> None:
        folder = self.kept / f"epoch-{step}"
        shutil.rmtree(folder, ignore_errors=True)
        if self.method == "full":
            language_model.save_weights(self.trainer.model, folder, base=self.base, dtype=self.dtype)
        else:
            self.trainer.model.save_pretrained(folder)
        checkpoints.write_manifest(folder, needed=checkpoints.learned_files(self.method))

    def _drop_all_but_the_best(self) -> None:
        """Whole models are large, and no epoch but the best one so far can be kept in the end."""
        best, _ = best_epoch(self.log.epochs)
        for row in self.log.epochs:
            if row["step"] != best["step"]:
                shutil.rmtree(self.kept / f"epoch-{row['step']}", ignore_errors=True)


def callback_of(keeper: Keeper) -> Any:
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            keeper.begin(state.global_step, args.device)

        def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if "loss" in given["logs"]:
                keeper.step(state.global_step, given["logs"])

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            keeper.look(args.device)
            if keeper.is_scored and state.global_step % keeper.steps_per_epoch == 0:
                control.should_save = True  # dev is scored next, and that may be as far as the cap or a kill lets it
            if keeper.stop.asked or keeper.stop.is_over:
                control.should_save = control.should_training_stop = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            distributed.wait_for_all()  # each process keeps its own random numbers
            if distributed.rank() == 0:
                checkpoints.write_manifest(Path(args.output_dir) / f"checkpoint-{state.global_step}",
                                           needed=distributed.resume_files(keeper.method))
            distributed.wait_for_all()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not (keeper.stop.asked or keeper.stop.is_over):
                keeper.end_epoch_together(state.global_step, args.device)

    return Callback()
