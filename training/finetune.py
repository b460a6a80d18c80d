"""LoRA fine-tuning in a subprocess: `python -m training.finetune <folder>`.

1. Encode the rows ourselves and refuse what cannot be learned; TRL would drop it without a word.
2. Train with TRL's `SFTTrainer`. A batch is packed: what all prompts begin with goes through the model once,
   the rows stand behind it and a mask keeps them apart; the vocabulary head runs where a completion is
   predicted only. The loss is that of the same rows padded one below the other.
3. Every step is a line in metrics.jsonl; every N steps and behind every epoch a checkpoint with a manifest of ours,
   resumed from by itself when the folder is used again.
4. After each epoch judge it on the dev rows; the best epoch becomes `adapter/`. Labels are scored; where answers are
   written, which takes seconds a row, the loss decides, or the metric of a few answers if the config asks for it.
   Without dev rows it is the last step.
5. At its cap of seconds the run stops with a checkpoint: a higher cap goes on from there, or the best epoch so far is
   kept.
"""

import contextlib
import json
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from jobs.child import child_main
from jobs.progress import Progress
from labeling.task_types import task_type
from training import (
    calibration,
    checkpoints,
    distributed,
    encoding,
    generation,
    label_scoring,
    language_model,
    prompts,
)
from training.encoding import EncodedRow
from training.language_model import LoadedModel
from training.prompts import Prompt

METRICS = "metrics.jsonl"
CHOSEN_BY = ("dev_calibrated", "dev_score", "dev_loss")  # the first of these that is measured chooses the epoch
DEV_BATCH = 8  # dev rows whose loss is computed at once
SEARCHED_RATES = (1e-4, 2e-4, 5e-4)  # of `training.search`
KEPT = "checkpoints"  # below the run's folder: what a resumed run needs, and the adapter of every scored epoch
SPENT = "spent.json"  # in KEPT: what all attempts of the run have taken


@dataclass(frozen=True)
class TrainingConfig:
    """What a LoRA run may vary; learning rate and epochs were tried on the dev rows of the demo's tweets."""

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = 5e-4
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
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), limits[field.name]
            whole = field.type is int
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"{field.name} must be {'a whole number' if whole else 'a number'}, got {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{field.name} must be between {low:g} and {high:g}, got {value!r}")
        if self.weight_bits not in (4, 16):
            raise ValueError(f"weight_bits must be 16, or 4 for QLoRA, got {self.weight_bits!r}")

    @property
    def n_trainings(self) -> int:
        """How many trainings the run consists of."""
        return len(SEARCHED_RATES) + self.search_seeds - 1 if self.search_seeds else 1


def config_from_json(data: dict[str, Any]) -> TrainingConfig:
    """The config with these values and the defaults for the rest; raises ValueError naming what it does not know."""
    unknown = sorted(set(data) - {field.name for field in fields(TrainingConfig)})
    if unknown:
        raise ValueError(f"the training config does not know {', '.join(unknown)}")
    return TrainingConfig(**data)


def epochs_for(n_rows: int, *, batch_size: int = 8) -> int:
    """The fewest epochs, 1 to 5, that make 60 optimiser steps: on the demo's tweets more gained nothing on dev."""
    return min(5, max(1, math.ceil(60 / max(1, math.ceil(n_rows / batch_size)))))


def n_steps(n_rows: int, config: TrainingConfig) -> int:
    """Optimiser steps of a whole run over `n_rows` encoded rows."""
    return config.epochs * math.ceil(n_rows / config.batch_size)


@dataclass(frozen=True)
class Packed:
    """A batch of rows as b sequences of t tokens; all arrays int64 (b, t).

    segments: 0 for the shared beginning, 1, 2, … for the rows behind it, -1 for padding.
    targets: the token to be predicted at each position, `encoding.IGNORED` where nothing is learned.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    targets: np.ndarray

    @property
    def allowed(self) -> np.ndarray:
        """(b, t, t) booleans: a token sees the shared beginning and its own row, up to itself."""
        same = self.segments[:, :, None] == self.segments[:, None, :]
        shared = self.segments[:, None, :] == 0
        return np.asarray((same | shared) & np.tri(self.segments.shape[1], dtype=bool))


PACK_TOKENS = 512  # attention to masked tokens costs time too, so longer rows stand alone


def pack(rows: Sequence[tuple[Sequence[int], Sequence[int]]], n_shared: int, pad_token: int) -> Packed:
    """Pack (input_ids, labels) rows that agree in their first `n_shared` ids, into few and equally long sequences.

    Every row's own part goes where it fits first, longest row first; a sequence has at most `PACK_TOKENS` tokens
    unless a single row is longer. The first `n_shared` ids must not be learned.
    """
    bins: list[list[int]] = []
    sizes: list[int] = []
    for row in sorted(range(len(rows)), key=lambda n: -len(rows[n][0])):
        own = len(rows[row][0]) - n_shared
        place = next((b for b, size in enumerate(sizes) if size + own <= PACK_TOKENS), len(bins))
        if place == len(bins):
            bins.append([])
            sizes.append(n_shared)
        bins[place].append(row)
        sizes[place] += own
    shape = (len(bins), max(sizes))
    packed = Packed(np.full(shape, pad_token), np.zeros(shape, dtype=np.int64), np.full(shape, -1),
                    np.full(shape, encoding.IGNORED))
    for place, members in enumerate(bins):
        _fill(packed, place, [rows[n] for n in members], n_shared)
    return packed


def _fill(packed: Packed, place: int, rows: Sequence[tuple[Sequence[int], Sequence[int]]], n_shared: int) -> None:
    ids, positions = packed.input_ids[place], packed.positions[place]
    ids[:n_shared], positions[:n_shared], packed.segments[place, :n_shared] = rows[0][0][:n_shared], range(n_shared), 0
    start = n_shared
    for segment, (input_ids, labels) in enumerate(rows, start=1):
        stop = start + len(input_ids) - n_shared
        ids[start:stop], positions[start:stop] = input_ids[n_shared:], range(n_shared, len(input_ids))
        packed.segments[place, start:stop] = segment
        packed.targets[place, start : stop - 1] = labels[n_shared + 1 :]  # each position predicts the next token
        start = stop


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
    config = config_from_json(spec["config"])
    language_model.prepare_process(config.threads)
    prompt = prompts.prompt_from_json(spec["prompt"])
    rows = read_rows(spec["rows_file"])
    dev = read_rows(spec["dev_file"])[: config.dev_rows] if spec.get("dev_file") else None
    if dev is not None:
        check_dev(dev, prompt)
    progress("Loading the model", 0, 1)
    loaded = language_model.load(Path(spec["model"]), weight_bits=config.weight_bits)
    encoded = encoding.encode_rows(loaded.tokenizer, prompt, rows, max_tokens=config.max_tokens)
    problems = encoding.preflight(encoded, len(rows))
    if problems:
        raise ValueError(" ".join(problems))
    steps_per_epoch = math.ceil(len(encoded.rows) / config.batch_size)
    total = int(spec.get("steps") or 0) or n_steps(len(encoded.rows), config)
    checkpoint = _resume_point(folder / KEPT, within=total if total % steps_per_epoch else total + 1)
    finish = bool(spec.get("finish"))  # then nothing is done again, so nothing of the log is forgotten
    known = checkpoints.checkpoint_step(checkpoint) if checkpoint else 0
    log = MetricsLog(folder / METRICS, keep_steps=sys.maxsize if finish else known)
    if not finish:
        stop = _StopRequest(spent, spec.get("cap_seconds"))
        judge = None if dev is None else judge_of(prompt, rows, dev, loaded, config)
        trainer = build_trainer(loaded, encoded.rows, config, folder / KEPT, total)
        keeper = _Keeper(trainer, loaded, judge, folder / KEPT, log, progress, stop, steps_per_epoch, total)
        trainer.add_callback(_callback(keeper))
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
    return {**_result(folder, log, encoded, Path(spec["model"]), checkpoint), **spent.to_json()}


class Diverged(ValueError):
    """The loss is no finite number any more."""


class CapReached(Exception):
    """The run has used up its seconds; the newest checkpoint holds what it has learned."""


class Spent:
    """Seconds on the clock and of the processor that all attempts of a run have taken, kept beside its checkpoints.

    started_at: when this process was asked for, so that its own start counts; now, if left out.
    Of several processes that train together it is the first one's.
    """

    def __init__(self, path: Path, started_at: float | None = None) -> None:
        self.path = path
        earlier = (_parsed(path.read_text()) if path.exists() else None) or {"seconds": 0.0, "cpu_seconds": 0.0}
        self.earlier, self.earlier_cpu = float(earlier["seconds"]), float(earlier["cpu_seconds"])
        self.before = max(0.0, time.time() - started_at) if started_at else 0.0
        self.clock = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.earlier + self.before + time.perf_counter() - self.clock

    def to_json(self) -> dict[str, float]:
        return {"spent_seconds": self.seconds, "cpu_seconds": self.earlier_cpu + time.process_time()}

    def write(self) -> None:
        if distributed.rank():
            return
        now = self.to_json()
        temporary = self.path.with_suffix(".tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"seconds": now["spent_seconds"], "cpu_seconds": now["cpu_seconds"]}))
        temporary.rename(self.path)


class MetricsLog:
    """metrics.jsonl: one line per optimiser step and one per scored epoch, appended and flushed.

    On opening, lines beyond `keep_steps` are dropped: a resumed run writes them again.
    """

    def __init__(self, path: Path, *, keep_steps: int) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [row for row in map(_parsed, lines) if row and row["step"] <= keep_steps]
        if distributed.rank() == 0:
            checkpoints.write_whole(path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if distributed.rank():
            return
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if "loss" in row]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if "loss" not in row]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:  # a kill can tear the last line
        return None


class _StopRequest:
    """Remembers a SIGTERM, so that the step in hand ends with a checkpoint; a SIGKILL follows if that takes long.

    is_over: the run has used up its cap, which ends the step in hand likewise.
    """

    def __init__(self, spent: Spent, cap_seconds: float | None) -> None:
        self.asked, self.is_over = False, False
        self.spent, self.cap_seconds = spent, cap_seconds or math.inf
        signal.signal(signal.SIGTERM, self._ask)

    def look(self) -> None:
        """Keep what has been spent, and see whether that is the cap."""
        self.spent.write()
        self.is_over = self.is_over or self.spent.seconds >= self.cap_seconds

    def _ask(self, *_: Any) -> None:
        self.asked = True


@dataclass
class _Keeper:
    """What is done around the trainer's steps: count, log, report, score the dev rows, stop."""

    trainer: Any
    loaded: LoadedModel
    judge: "LabelJudge | WrittenJudge | None"
    kept: Path
    log: MetricsLog
    progress: Progress
    stop: _StopRequest
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

    def step(self, step: int, loss: float, learning_rate: float) -> None:
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        if not math.isfinite(loss):
            raise Diverged(f"The loss became {loss} at step {step}: choose a lower learning rate.")
        self.log.append({"step": step, "loss": loss, "learning_rate": learning_rate,
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
        self.trainer.model.save_pretrained(folder)
        checkpoints.write_manifest(folder, needed=checkpoints.ADAPTER_FILES)


@dataclass(frozen=True)
class LabelJudge:
    """Judges an epoch by the labels that it finds likeliest on the dev rows."""

    prompt: Prompt
    dev: list[dict[str, Any]]

    def metrics(self, loaded: LoadedModel, progress: Progress) -> dict[str, float]:
        names = [label.name for label in self.prompt.labels]
        scores = label_scoring.label_log_likelihoods(
            loaded, self.prompt, [row["text"] for row in self.dev], data=[row.get("data", {}) for row in self.dev],
            progress=progress, stage="Scoring the dev rows")
        labels = np.array([names.index(row["label"]) for row in self.dev])
        return {**dev_metrics(scores, labels), "n_dev": len(labels)}


@dataclass(frozen=True)
class WrittenJudge:
    """Judges an epoch by how likely it finds the dev rows' answers, and by what it writes about the first of them.

    n_answers: how many it writes; 0 for none. max_new_tokens: of an answer. max_tokens: longer dev rows are left out.
    """

    prompt: Prompt
    dev: list[dict[str, Any]]
    n_answers: int
    max_new_tokens: int
    max_tokens: int

    def metrics(self, loaded: LoadedModel, progress: Progress) -> dict[str, float]:
        encoded = encoding.encode_rows(loaded.tokenizer, self.prompt, self.dev, max_tokens=self.max_tokens).rows
        if not encoded:
            raise ValueError(f"No dev row has {self.max_tokens} tokens or fewer, so no epoch can be chosen: raise the "
                             "longest row.")
        found: dict[str, float] = {"dev_loss": _mean_loss(loaded, encoded, progress), "n_dev": len(encoded)}
        asked = self.dev[: self.n_answers]
        if asked:
            written = generation.write_answers(loaded, self.prompt, asked, max_new_tokens=self.max_new_tokens,
                                               progress=progress, stage="Answering dev rows")
            found |= {"dev_score": self._score(asked, [one.answer for one in written]), "n_answered": len(asked)}
        return found

    def _score(self, rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> float:
        kind, schema = task_type(self.prompt.task_type), self.prompt.schema
        gold = [kind.parse_completion(row["label"], schema, source=row["text"]) for row in rows]
        said: list[Any] = []
        for row, answer in zip(rows, answers, strict=True):
            try:
                said.append(kind.parse_completion(answer, schema, source=row["text"]))
            except ValueError:
                said.append(None)
        return kind.score(gold, said).value


def judge_of(prompt: Prompt, rows: Sequence[dict[str, Any]], dev: list[dict[str, Any]], loaded: LoadedModel,
              config: TrainingConfig) -> LabelJudge | WrittenJudge:
    if prompt.has_labels:
        return LabelJudge(prompt, dev)
    longest = generation.longest_answer(loaded.tokenizer, (row["label"] for row in rows))
    return WrittenJudge(prompt, dev, config.dev_answers, longest, config.max_tokens)


def _mean_loss(loaded: LoadedModel, rows: Sequence[EncodedRow], progress: Progress) -> float:
    """The mean loss of the rows' completion tokens."""
    import torch

    total, n_tokens, n_shared = 0.0, 0, shared_length(rows)
    with torch.inference_mode():
        for start in range(0, len(rows), DEV_BATCH):
            progress("Scoring the dev rows", start, len(rows))
            batch = rows[start : start + DEV_BATCH]
            packed = pack([(row.input_ids, row.labels) for row in batch], n_shared, loaded.tokenizer.eos_token_id)
            learned = sum(row.n_completion for row in batch)
            total += float(_loss(loaded.model.get_base_model(), _tensors(packed, loaded.model))) * learned
            n_tokens += learned
    return total / n_tokens


def _tensors(packed: Packed, model: Any) -> dict[str, Any]:
    import torch

    mask = torch.zeros(packed.allowed.shape, dtype=model.dtype)
    mask.masked_fill_(~torch.from_numpy(packed.allowed), torch.finfo(mask.dtype).min)
    found = {"input_ids": torch.from_numpy(packed.input_ids), "position_ids": torch.from_numpy(packed.positions),
             "attention_mask": mask[:, None], "labels": torch.from_numpy(packed.targets)}
    return {name: tensor.to(model.device) for name, tensor in found.items()}


def _loss(causal: Any, inputs: dict[str, Any]) -> Any:
    """The mean loss of the tokens that are learned; the vocabulary head runs where one is predicted only."""
    import torch

    hidden = causal.base_model(
        input_ids=inputs["input_ids"], position_ids=inputs["position_ids"],
        attention_mask=inputs["attention_mask"], use_cache=False).last_hidden_state
    learned = inputs["labels"] != encoding.IGNORED
    logits = causal.get_output_embeddings()(hidden[learned]).float()
    return torch.nn.functional.cross_entropy(logits, inputs["labels"][learned])


def losses_without_and_with(model: Any, rows: Sequence[EncodedRow], loaded: LoadedModel) -> tuple[float, float]:
    """The mean loss of the rows' completion tokens by the base model alone, and with the adapter as it is now."""
    import torch

    inputs = _inputs(rows, loaded)
    model.eval()
    with torch.inference_mode():
        adapted = float(_loss(model.get_base_model(), inputs))
        with model.disable_adapter():
            base = float(_loss(model.get_base_model(), inputs))
    model.train()
    return base, adapted


def learner(model: Any, rows: Sequence[EncodedRow], loaded: LoadedModel, *,
            learning_rate: float) -> Callable[[], float]:
    """A function that does one step of AdamW on all these rows and returns the loss that it met."""
    import torch

    inputs, trained = _inputs(rows, loaded), [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    model.train()

    def step() -> float:
        loss = _loss(model.get_base_model(), inputs)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        return float(loss.detach())

    return step


def _inputs(rows: Sequence[EncodedRow], loaded: LoadedModel) -> dict[str, Any]:
    packed = pack([(row.input_ids, row.labels) for row in rows], shared_length(rows), loaded.tokenizer.eos_token_id)
    return _tensors(packed, loaded.model)


def dev_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy as it is, accuracy with a label bias fitted on the other folds, and mean loss, of (n, K) dev scores."""
    chances = calibration.probabilities(scores)[np.arange(len(labels)), labels]
    right = calibration.cross_fitted(scores, labels, range(len(labels)), folds=min(5, len(labels)))
    return {"dev_accuracy": float((scores.argmax(axis=1) == labels).mean()), "dev_calibrated": float(right.mean()),
            "dev_loss": float(-np.log(np.maximum(chances, 1e-12)).mean())}


def build_trainer(loaded: LoadedModel, rows: Sequence[EncodedRow], config: TrainingConfig, kept: Path, total: int, *,
                  in_order: bool = False) -> Any:
    """TRL's trainer with our packing and loss, for `total` optimiser steps.

    in_order: the rows come as they stand instead of shuffled.
    """
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    n_shared = shared_length(rows)
    pad_token = loaded.tokenizer.eos_token_id

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        packed = pack([(example["input_ids"], example["labels"]) for example in examples], n_shared, pad_token)
        return {**_tensors(packed, loaded.model),
                "n_tokens": torch.tensor(sum(len(example["input_ids"]) for example in examples))}

    class PackedTrainer(SFTTrainer):
        """SFTTrainer whose loss needs the vocabulary head at the completions' positions only."""

        n_tokens = n_learned = 0

        def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                         num_items_in_batch: Any = None) -> Any:
            causal = self.accelerator.unwrap_model(model).get_base_model()
            self.n_learned = int((inputs["labels"] != encoding.IGNORED).sum())
            return _loss(causal, inputs)

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **given: Any) -> Any:
            n_read = int(inputs["n_tokens"])
            loss = super().training_step(model, inputs, *args, **given)
            loss, n_read = distributed.average_step(model.parameters(), loss, self.n_learned, n_read)
            self.n_tokens += n_read
            return loss

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """No card here: the product writes its own."""

    arguments = SFTConfig(
        output_dir=str(kept), seed=config.seed, data_seed=config.seed,
        max_steps=total, gradient_accumulation_steps=1,
        per_device_train_batch_size=distributed.rows_per_process(config.batch_size),
        learning_rate=config.learning_rate, lr_scheduler_type="linear", warmup_steps=config.warmup_share,
        optim="adamw_torch", weight_decay=0.0, max_grad_norm=1.0, bf16=False, fp16=False, gradient_checkpointing=False,
        max_length=None, packing=False, dataset_kwargs={"skip_prepare_dataset": True}, shuffle_dataset=False,
        logging_strategy="steps", logging_steps=1, logging_nan_inf_filter=False, save_strategy="steps",
        save_steps=config.checkpoint_steps, save_total_limit=2, eval_strategy="no", report_to="none",
        disable_tqdm=True, dataloader_num_workers=0, dataloader_pin_memory=False, push_to_hub=False,
        train_sampling_strategy="sequential" if in_order else "random", remove_unused_columns=True)
    dataset = Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
    lora = language_model.lora_config(r=config.r, alpha=config.alpha, dropout=config.dropout)
    return PackedTrainer(model=loaded.model, args=arguments, train_dataset=dataset, data_collator=collate,
                         processing_class=loaded.tokenizer, peft_config=lora)


def _callback(keeper: _Keeper) -> Any:
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            keeper.begin(state.global_step, args.device)

        def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            logs = given["logs"]
            if "loss" in logs:
                keeper.step(state.global_step, logs["loss"], logs["learning_rate"])

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
                                           needed=distributed.resume_files())
            distributed.wait_for_all()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not (keeper.stop.asked or keeper.stop.is_over):
                keeper.end_epoch_together(state.global_step, args.device)

    return Callback()


def shared_length(rows: Sequence[EncodedRow]) -> int:
    """How many ids all rows begin with, before the first that is learned or differs."""
    shortest = min(len(row.input_ids) - row.n_completion - 1 for row in rows)
    first = rows[0].input_ids
    for place in range(shortest):
        if any(row.input_ids[place] != first[place] for row in rows):
            return place
    return shortest


def _result(folder: Path, log: MetricsLog, encoded: encoding.Encoded, model: Path,
            checkpoint: Path | None) -> dict[str, Any]:
    whole = [row for row in log.epochs if checkpoints.is_verified(folder / KEPT / f"epoch-{row['step']}",
                                                                  needed=checkpoints.ADAPTER_FILES)]
    best, chosen_by = best_epoch(whole)
    files = _publish(folder / KEPT / f"epoch-{best['step']}", folder / "adapter", language_model.model_identity(model))
    steps = log.steps
    return {"steps": steps[-1]["step"], "train_seconds": steps[-1]["seconds"], "tokens": steps[-1]["tokens"],
            "dev_seconds": sum(row["seconds"] for row in log.epochs),
            "peak_mb": language_model.peak_mb(), "loss_first": steps[0]["loss"],
            "loss_last": steps[-1]["loss"], "adapter": "adapter/", "files": files,
            "n_rows": len(encoded.rows), "refused": [list(pair) for pair in encoded.refused],
            "resumed_from": checkpoints.checkpoint_step(checkpoint) if checkpoint else 0,
            "best_step": best["step"], "chosen_by": chosen_by, "epochs": log.epochs}


def best_epoch(epochs: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return the log's best epoch, of equal ones the latest, and by which of CHOSEN_BY it is best.

    Without dev rows nothing was judged: it is the last, by its step.
    """
    chosen_by = next((name for name in CHOSEN_BY if name in epochs[0]), "step")
    sign = -1 if chosen_by == "dev_loss" else 1
    return max(epochs, key=lambda row: (sign * row[chosen_by], row["step"])), chosen_by


def _stopped_at_cap(log: MetricsLog, total: int, spent: Spent) -> dict[str, Any]:
    spent.write()
    best, chosen_by = best_epoch(log.epochs) if log.epochs else ({}, "")
    return {"stopped_at_cap": True, "steps": log.steps[-1]["step"] if log.steps else 0, "n_steps": total,
            "n_epochs": len(log.epochs), "best_dev": best.get(chosen_by), "chosen_by": chosen_by,
            "peak_mb": language_model.peak_mb(), **spent.to_json()}


def _publish(kept: Path, adapter: Path, identity: str) -> dict[str, str]:
    """Copy the kept epoch as the adapter: weights and config only, its base named by identity, not by a path."""
    temporary = adapter.with_name(".adapter")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    weights, settings = checkpoints.ADAPTER_FILES
    shutil.copyfile(kept / weights, temporary / weights)
    config = json.loads((kept / settings).read_text()) | {"base_model_name_or_path": identity}
    config["target_modules"].sort()  # a set in peft, in another order in every process
    (temporary / settings).write_text(json.dumps(config, indent=1, sort_keys=True))
    language_model.sync_folder(temporary)
    shutil.rmtree(adapter, ignore_errors=True)
    temporary.rename(adapter)
    return {name: language_model.file_sha256(adapter / name) for name in checkpoints.ADAPTER_FILES}


def read_rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line.strip()]


def check_dev(dev: Sequence[dict[str, Any]], prompt: Prompt) -> None:
    if len(dev) < 2:
        raise ValueError(f"There must be at least 2 dev rows to choose the best epoch on, there are {len(dev)}.")
    unknown = sorted({row["label"] for row in dev} - {label.name for label in prompt.labels})
    if unknown and prompt.has_labels:
        raise ValueError(f"Dev rows carry labels that the prompt does not offer: {', '.join(unknown)}.")


def _resume_point(kept: Path, *, within: int) -> Path | None:
    """The newest whole checkpoint before the step `within`; the others beyond it are removed, lest one be taken for it.

    transformers takes up a run whose last step lies within an epoch with a step too many.
    """
    for path in checkpoints.all_checkpoints(kept):
        if checkpoints.checkpoint_step(path) >= within:
            shutil.rmtree(path, ignore_errors=distributed.rank() > 0)
    newest = checkpoints.newest_verified(kept, needed=distributed.resume_files())
    for path in checkpoints.all_checkpoints(kept):
        if newest is None or checkpoints.checkpoint_step(path) > checkpoints.checkpoint_step(newest):
            shutil.rmtree(path, ignore_errors=distributed.rank() > 0)
    return newest


if __name__ == "__main__":
    child_main(train)
