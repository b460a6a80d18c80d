"""LoRA runs: from an approved snapshot to an adapter, in a subprocess that resumes where it was cut off."""

import json
import shutil
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from curation.models import Snapshot
from curation.services.snapshots import require_approved
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, earlier_folders, enqueue, work_folder
from projects.errors import UserError
from projects.models import Project
from projects.objects import open_object, put_object
from projects.services import audit
from training.checkpoints import take_over
from training.finetune import TrainingConfig, n_steps
from training.models import Adapter, Run, Verdict
from training.prompts import prompt_to_json, short
from training.services.baseline import require_trainable
from training.services.bundles import record_adapter, split_rows
from training.services.executors import executor_of, require_offered
from training.versions import package_versions

ON_THIS_MACHINE = ("local", "accelerate")  # one training at a time


def start_training(snapshot: Snapshot, *, by: User, config: dict[str, Any] | None = None, override_reason: str = "",
                   executor: str = "local", wake: bool = True) -> Run:
    """Queue a LoRA run.

    executor: where it is trained, a name that GOLDPAN_EXECUTORS offers.

    config: values of TrainingConfig that differ from its defaults.
    override_reason: why to train although the gate does not advise it; written into the run and the audit.
    Raises UserError if the snapshot is not approved, there is no verdict or it says that the prompt is enough and
    no reason is given, a value of the config is out of range, or the same run is on its way already.
    """
    require_trainable(snapshot.project)
    require_approved(snapshot)
    _check_gate(snapshot, override_reason)
    require_offered(executor)
    try:
        settings_of_run = TrainingConfig(**{"threads": settings.GOLDPAN_THREADS, **(config or {})})
    except (TypeError, ValueError) as error:
        raise UserError(f"This training cannot be started: {error}.") from None
    project = snapshot.project
    prompt = short(project.schema, project.task_type, project.instructions)
    run_config = {"prompt": prompt_to_json(prompt), "training": asdict(settings_of_run)}
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # of two clicks one starts
        same = Run.objects.filter(snapshot=snapshot, config=run_config, job__state__in=Job.ACTIVE).first()
        if same is not None:
            raise UserError(f"{same} is on its way with the same settings. Wait for it, or change a setting.")
        job = enqueue("train", project, title=f"Training LoRA on {snapshot}", requested_by=by,
                      exclusive="train" if executor in ON_THIS_MACHINE else "", wake=wake)
        run = Run.objects.create(
            snapshot=snapshot, kind=Run.Kind.lora, seed=settings_of_run.seed, job=job, created_by=by, executor=executor,
            override_reason=override_reason.strip(), config=run_config)
        Job.objects.filter(pk=job.pk).update(params={"run": run.pk})
        audit(project, by, "train", {"snapshot": snapshot.number, "run": run.pk, "override": override_reason.strip()}
              | ({} if executor == "local" else {"executor": executor}))
    return run


def gate_objection(snapshot: Snapshot) -> str:
    """Why training on this snapshot needs a written reason, in words; "" if the gate has nothing against it."""
    verdict = Verdict.objects.filter(snapshot=snapshot).first()
    if verdict is None:
        return f"No prompt has been tried on {snapshot} yet. Run the baseline first: it is what training has to beat."
    if verdict.outcome == Verdict.Outcome.prompt_ok:
        return f"{verdict.words} Training would cost and could hardly gain."
    return ""


def _check_gate(snapshot: Snapshot, override_reason: str) -> None:
    objection = gate_objection(snapshot)
    if objection and not override_reason.strip():
        raise UserError(f"{objection} To train all the same, write down why.")


@dataclass(frozen=True)
class Forecast:
    """What a training with the default settings will take, if it goes like `run` did; seconds are rounded."""

    n_steps: int
    seconds: float
    run: Run


def forecast(snapshot: Snapshot) -> Forecast | None:
    """How long training on this snapshot would take, by the project's newest run; None while none has been measured."""
    config = TrainingConfig(threads=settings.GOLDPAN_THREADS)
    last = Adapter.objects.filter(project=snapshot.project).select_related("run").first()
    if last is None:
        return None
    per_row = last.receipt["train_seconds"] / (last.receipt["n_rows"] * last.run.config["training"]["epochs"])
    n_rows = snapshot.counts["train"]
    seconds = per_row * n_rows * config.epochs
    unit = 60 if seconds > 100 else 10
    return Forecast(n_steps(n_rows, config), max(unit, unit * round(seconds / unit)), last.run)


def run_train(job: Job, progress: Progress) -> None:
    run = Run.objects.select_related("snapshot__project").get(pk=job.params["run"])
    require_approved(run.snapshot)
    folder = work_folder(job)
    take_over(earlier_folders(job), folder)
    for split, rows in split_rows(run).items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = executor_of(run).train(run, job, folder, progress)
    if trained is None:  # people carry it elsewhere, and bring the result back
        return
    receipt = {"versions": package_versions(), **trained}
    adapter_folder = folder / receipt["adapter"]
    files = {name: put_object(settings.GOLDPAN_OBJECTS, adapter_folder / name) for name in receipt["files"]}
    metrics_sha256 = put_object(settings.GOLDPAN_OBJECTS, folder / "metrics.jsonl")
    with completing(job) as result:
        adapter, _ = record_adapter(run, by=job.requested_by or run.created_by, files=files, receipt=receipt,
                                    metrics_sha256=metrics_sha256, what="trained")
        result |= {"run": run.pk, "adapter": adapter.pk, "steps": receipt["steps"],
                   "seconds": receipt["train_seconds"], "resumed_from": receipt["resumed_from"]}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)  # what counts is in the object store




def live_metrics(run: Run) -> list[dict[str, Any]]:
    """Loss and dev metric by step so far: from the running attempt's folder, or as stored when it ended."""
    adapter = Adapter.objects.filter(run=run).first()
    if adapter is not None:
        with open_object(settings.GOLDPAN_OBJECTS, adapter.metrics_sha256) as file:
            return _metric_lines(file.read())
    path = settings.GOLDPAN_JOBS / str(run.job_id) / str(run.job.fence) / "metrics.jsonl"
    return _metric_lines(path.read_bytes()) if path.exists() else []


def _metric_lines(content: bytes) -> list[dict[str, Any]]:
    whole = content[:content.rfind(b"\n") + 1]  # the last line may be half written
    return [json.loads(line) for line in whole.split(b"\n") if line]


def log_tail(run: Run, n_lines: int = 30) -> str:
    """The end of the running attempt's log; "" once its folder is gone."""
    path = settings.GOLDPAN_JOBS / str(run.job_id) / str(run.job.fence) / "log.txt"
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:])
