"""An approved snapshot, and a model child that answers without a model."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from curation.canonical import canonical_line
from curation.models import ExampleScore, Experiment, ExperimentArm, QualityReport, Snapshot
from curation.services.gold_sets import gold_set_of, save_rule
from curation.services.snapshots import approve_snapshot, start_freeze
from jobs import services as jobs
from jobs.models import Job
from jobs.progress import Progress, silent
from labeling.models import Annotation, Annotator, Example
from projects.models import Project
from projects.objects import put_object
from training.checkpoints import learned_files
from training.models import Quote, Run
from training.services.quotes import start_quote
from training.services.runs import start_training

WORDS = {"negative": "awful", "neutral": "ordinary", "positive": "lovely"}
N_POOL, N_DEV, N_TEST = 30, 9, 60
MODEL_DOORS = [f"training.{module}.run_child" for module in (  # where a model's subprocess is started
    "services.scoring", "arms", "services.general", "services.exports", "services.executors", "services.quotes")]


def frozen_snapshot(project: Project, *, maker: User) -> Snapshot:
    """30 train, 9 dev and 60 test rows, the labels in turn; the word in a text is its label's.

    Freezing again takes the same examples.
    """
    if not QualityReport.objects.filter(project=project).exists():
        _write_scored_examples(project)
        save_rule(gold_set_of(project), size=N_POOL, min_quality=0, min_per_label=2, allow_flagged=False, seed=0,
                  by=maker)
    job = start_freeze(project, by=maker)
    jobs.run(job.pk, heartbeat=False)
    job.refresh_from_db()
    return Snapshot.objects.get(pk=job.result["snapshot"])


def approved_snapshot(project: Project, *, maker: User, approver: User) -> Snapshot:
    snapshot = frozen_snapshot(project, maker=maker)
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=approver)
    return snapshot


def _write_scored_examples(project: Project) -> None:
    people = [Annotator.objects.create(project=project, name=name) for name in ("mira", "jon", "kim")]
    n, before = N_POOL + N_DEV + N_TEST, timezone.now()
    report = QualityReport.objects.create(
        project=project, job=Job.objects.create(project=project, kind="score", title="Scored", state="succeeded",
                                                finished_at=timezone.now()),
        encoder="hashing 3-grams", n_examples=n, n_scored=N_POOL, n_issues=0, n_clusters=0, n_crossing=0,
        duplicate_threshold=0.95)
    for number in range(n):
        split = "pool" if number < N_POOL else "dev" if number < N_POOL + N_DEV else "test"
        label = project.labels[number % 3]
        example = Example.objects.create(
            project=project, key=f"e{number:03}", text=f"Row {number:03} was {WORDS[label]}.", data={}, split=split,
            content_sha256=f"{number:064x}", group=str(number))
        Annotation.objects.bulk_create(Annotation(
            example=example, annotator=person, value=label, source="file", instructions_version=1,
            created_at=before) for person in people[:1 if split == "pool" else 3])
        ExampleScore.objects.create(report=report, example=example, label=label if split == "pool" else "", n_labels=1,
                                    cluster=number, cluster_size=1, label_quality=0.9 if split == "pool" else None)


def new_experiment(project: Project, *, by: User, split: str = "dev", report: QualityReport | None = None,
                   n_judges: int = 36) -> Experiment:
    """Two arms as an experiment would leave them: “all as labelled” with every third label wrong, one draw, and
    “gold” with right ones, three draws; the probe has 24 and three times 30 of the 36 judging rows right.
    """
    report = report or QualityReport.objects.create(
        project=project, job=_done(project, "score"), encoder="hashing 3-grams", n_examples=60, n_scored=24,
        n_issues=0, n_clusters=0, n_crossing=0, duplicate_threshold=0.95)
    pool, judges = ([_text(project, f"x-{name}{k}", name, k) for k in range(n)]
                    for name, n in (("pool", 24), (split, n_judges)))
    labels = [project.labels[k % 3] for k in range(n_judges)]
    wrong = [project.labels[(k + (k % 9 < 3)) % 3] for k in range(24)]

    def stored(content: dict[str, Any]) -> str:
        return put_object(settings.GOLDPAN_OBJECTS, canonical_line(content))

    experiment = Experiment.objects.create(
        project=project, kind="arms", report=report, job=_done(project, "experiment"), split=split, n=n_judges,
        verdict=["No difference is shown."], created_by=by, config={"seeds": [0, 1, 2], "judges_sha256": stored(
            {"ids": [example.pk for example in judges], "labels": labels})})
    draws = [[{"example": pool[k].pk, "label": project.labels[k % 3]} for k in range(start, start + 12)]
             for start in (0, 6, 12)]
    for position, (name, rows, n_right) in enumerate((
            ("all as labelled", [[{"example": one.pk, "label": label} for one, label in zip(pool, wrong, strict=True)]],
             24), ("gold", draws, 30))):
        ExperimentArm.objects.create(
            experiment=experiment, position=position, name=name, what="Rows.", n_rows=len(rows[0]),
            accuracies=[n_right / n_judges] * len(rows), accuracy={"estimate": n_right / n_judges, "low": 0, "high": 1,
                                                                   "n": n_judges, "confidence": 0.95},
            rows_sha256=stored({"draws": rows}), seconds=1.0,
            right_sha256=stored({"right": [[int(k < n_right) for k in range(n_judges)]] * len(rows)}))
    return experiment


def _done(project: Project, kind: str) -> Job:
    return Job.objects.create(project=project, kind=kind, title="Done", state="succeeded", finished_at=timezone.now())


def _text(project: Project, key: str, split: str, number: int) -> Example:
    return Example.objects.create(
        project=project, key=key, text=f"Row {number:03} was {WORDS[project.labels[number % 3]]}.", data={},
        split=split, content_sha256=hashlib.sha256(key.encode()).hexdigest(), group=key)


CHECKS = [  # one of each state, as a trial tells them
    {"name": "The chat template gives back what went in", "state": "passed", "words": "All 30 rows read back.",
     "advice": "", "rows": [], "is_hard": False},
    {"name": "16 rows can be learned by heart", "state": "open", "words": "The loss fell from 2.00 to 0.40.",
     "advice": "It was learning.", "rows": [], "is_hard": False}]
TRIAL = {  # 12 steps of 5 s on average, three times 9 dev rows at half a second
    "checks": CHECKS, "load_seconds": 4.0, "start_seconds": 1.0, "load_cpu": 3.0, "steps": [4.0, 5.0, 5.0, 5.0, 6.0],
    "steps_cpu": [8.0, 8.0, 8.0, 8.0, 8.0], "save_seconds": 0.5, "dev_seconds": 0.5, "dev_cpu": 0.5, "n_dev": N_DEV,
    "answer_seconds": 0.0, "answer_cpu": 0.0, "n_answers": 0,
    "n_rows": N_POOL, "refused": [], "tokens": 3_000, "longest": 120, "completion_tokens": 3.0, "prompt_tokens": 97.0,
    "peak_mb": 1200.0, "model": "tiny@sha256:00",
    "shape": {"num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
              "num_key_value_heads": 3, "vocab_size": 49_152, "tie_word_embeddings": True}}


def quoted(snapshot: Snapshot, by: User, **config: Any) -> Quote:
    """A quote for a training with these settings, made here and now."""
    job = start_quote(snapshot, by=by, config=config, wake=False)
    jobs.run(job.pk, heartbeat=False)
    job.refresh_from_db()
    return Quote.objects.get(pk=job.result["quote"])


def start_quoted(snapshot: Snapshot, *, by: User, config: dict[str, Any] | None = None, **more: Any) -> Run:
    """Start a training by a quote made for it."""
    quoted(snapshot, by, **(config or {}))
    return start_training(snapshot, by=by, config=config, **more)


class FakeModel:
    """Stands in for `run_child` of scoring and training: it knows every label and errs where it is told to.

    prompt_errs, adapter_errs, merged_errs: whether the bare model, one with an adapter, or one merged with it, is wrong
    on the row of a number. forgets: whether the adapter loses the general question of a number.
    checks: what a trial says of the rows; a hard one among them has failed. takes: seconds of a training.
    n_epochs: scored by the time at which a run stops at its cap.
    """

    def __init__(self) -> None:
        self.prompt_errs: Callable[[int], bool] = lambda number: number % 2 == 0
        self.adapter_errs: Callable[[int], bool] = lambda number: number % 20 == 0
        self.merged_errs: Callable[[int], bool] = lambda number: self.adapter_errs(number)
        self.forgets: Callable[[int], bool] = lambda number: False
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[list[str]] = []
        self.checks: list[dict[str, Any]] = CHECKS
        self.takes, self.n_epochs = 80.0, 1

    def __call__(self, module: str, spec: dict[str, Any], *, folder: Path,
                 progress: Progress = silent) -> dict[str, Any]:
        self.asked.append((module, spec))
        folder.mkdir(parents=True, exist_ok=True)
        return {"training.label_scoring": self._score, "training.finetune": self._train,
                "training.trial": self._try, "training.search": self._search,
                "training.general_suite": self._answer, "training.merging": self._merge}[module](spec, folder)

    def _answer(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        base = [number % 5 > 0 for number in range(50)]
        return {"base": base, "adapter": [knows and not forgets for knows, forgets in zip(
            base, map(self.forgets, range(50)), strict=True)], "suite_sha256": "0" * 64, "seconds": 2.0}

    def _merge(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        (folder / "merged").mkdir()
        (folder / "merged" / "model.safetensors").write_bytes(b"merged weights")
        return {"seconds": 1.0}

    def _try(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        return {"checks": self.checks} if any(check["is_hard"] for check in self.checks) else {
            **TRIAL, "checks": self.checks}

    def _search(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        lines = [{"learning_rate": rate, "seed": 1, "is_winner": rate == 2e-4, "dev": dev, "best_step": 2,
                  "chosen_by": "dev_calibrated", "loss_last": 1.25} for rate, dev in ((1e-4, 0.75), (2e-4, 0.875))]
        return {**self._train(spec, folder), "search": [*lines, {**lines[0], "diverged": "The loss became nan."}],
                "spread_words": "With 3 seeds they agree."}

    def _score(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        texts = [json.loads(line)["text"] for line in Path(spec["texts_file"]).read_text().splitlines()]
        errs = self.adapter_errs if spec["adapter"] else self.merged_errs if spec["model"].endswith(
            "/merged") else self.prompt_errs
        answers = []
        for n, prompt in enumerate(spec["prompts"]):
            labels = [label["name"] for label in prompt["labels"]]
            scores = np.full((len(texts), len(labels)), -9.0)
            for row, text in enumerate(texts):
                right = next(k for k, label in enumerate(labels) if WORDS[label] in text)
                scores[row, (right + errs(int(text.split()[1]))) % len(labels)] = -0.1
            np.save(folder / f"scores-{n}.npy", scores)
            np.save(folder / f"content-free-{n}.npy", np.zeros((2, len(labels))))
            answers.append({"scores": f"scores-{n}.npy", "content_free": f"content-free-{n}.npy", "seconds": 6.0,
                            "prompt_tokens": 100})
        return {"prompts": answers, "model": "tiny@sha256:00"}

    def _train(self, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        if (spec.get("cap_seconds") or self.takes) < self.takes and not spec.get("finish"):
            return {"stopped_at_cap": True, "steps": 1, "n_steps": 12, "n_epochs": self.n_epochs,
                    "best_dev": 0.75 if self.n_epochs else None, "chosen_by": "dev_calibrated", "peak_mb": 1234.5,
                    "spent_seconds": spec["cap_seconds"], "cpu_seconds": 20.0}
        lines = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.25},
                 {"step": 2, "epoch": 1, "dev_accuracy": 0.875, "dev_loss": 1.5, "n_dev": 9}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        adapter = folder / "adapter"
        adapter.mkdir(exist_ok=True)
        weights, config = learned_files(spec["config"]["method"])
        (adapter / weights).write_bytes(b"weights")
        (adapter / config).write_text(json.dumps({"base_model_name_or_path": "tiny@sha256:00"}))
        return {"steps": 2, "train_seconds": 60.0, "dev_seconds": 3.0, "tokens": 4321, "peak_mb": 1234.5,
                "loss_first": 2.5, "loss_last": 1.25, "adapter": "adapter/", "n_rows": N_POOL, "best_step": 2,
                "files": {weights: "", config: ""}, "refused": self.refused,
                "resumed_from": 0, "epochs": lines[2:], "spent_seconds": self.takes, "cpu_seconds": 100.0}
