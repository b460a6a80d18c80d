"""Where a run is trained: here, on several GPUs, on a cluster, or wherever somebody carries its bundle.

An executor trains a run in the job's folder and returns its receipt, or None where people bring the result back.
States, progress, log and cancelling are those of the job, whoever trains.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from jobs.child import ChildFailed, ChildRefused, run_child
from jobs.models import Job
from jobs.progress import Cancelled, Progress
from projects.errors import UserError
from training import ray_jobs
from training.bundle import Bundle, write_bundle
from training.config import config_from_json, n_steps
from training.elsewhere import AT_CAP
from training.models import Run, Submission
from training.results import Result
from training.services.bundles import bundle_of, finetune_spec, hand_over, read_for

RAY_POLL_SECONDS = 2.0
RAY_SILENT_SECONDS = 600  # so long a cluster may not answer before its run is given up here
RAY_TRIES = 3  # submissions by one attempt, as nodes may die


@dataclass(frozen=True)
class Executor:
    """A place to train, as people read of it; `train` does it, or ends the job where people carry the run away."""

    label: str
    words: str
    train: Callable[[Run, Job, Path, Progress], dict[str, Any] | None]


def executor_of(run: Run) -> Executor:
    """Raises UserError if this version does not know it."""
    if run.executor not in EXECUTORS:
        raise UserError(f"{run} is to be trained by “{run.executor}”, which Goldpan does not know. "
                        f"It knows {', '.join(EXECUTORS)}.")
    return EXECUTORS[run.executor]


def offered() -> dict[str, Executor]:
    """What the settings offer, in their order; names that nobody knows are left out (a system check names them)."""
    return {name: EXECUTORS[name] for name in settings.GOLDPAN_EXECUTORS if name in EXECUTORS}


def require_offered(name: str) -> Executor:
    if name not in offered():
        raise UserError(f"“{name}” is no place to train here: GOLDPAN_EXECUTORS offers {', '.join(offered())}.")
    return EXECUTORS[name]


def _here(run: Run, job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    module = "training.search" if run.config["training"].get("search_seeds") else "training.finetune"
    return run_child(module, _spec(run, job, folder), folder=folder, progress=progress)


def _spec(run: Run, job: Job, folder: Path) -> dict[str, Any]:
    cap = run.caps.first()
    return {**finetune_spec(run.config, folder), "cap_seconds": cap.seconds if cap else None, "finish": _finish(job)}


def _finish(job: Job) -> bool:
    """Whether somebody has ended the run: no step more, its best epoch so far is kept."""
    return bool(job.params.get("finish", False))


def _several(run: Run, job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    processes = max(1, settings.GOLDPAN_GPUS)
    if processes == 1:
        return _here(run, job, folder, progress)
    spec = {**_spec(run, job, folder), "processes": processes}
    return run_child("training.distributed", spec, folder=folder, progress=progress) | {"processes": processes}


def _carried(run: Run, job: Job, folder: Path, progress: Progress) -> None:
    hand_over(run, job)


def _on_ray(run: Run, job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train on the Ray cluster in a folder below GOLDPAN_DATA/jobs, which its nodes see under the same path.

    A job that an earlier attempt has submitted is gone on with. One whose node dies is submitted again, and resumes
    from the last checkpoint in that folder.
    """
    try:
        cluster = ray_jobs.Cluster()
    except ValueError as error:
        raise UserError(str(error)) from None
    bundle, shared = bundle_of(run), settings.GOLDPAN_JOBS / str(job.pk) / "ray"
    newest = Submission.objects.filter(run=run).exclude(remote_id="").last()
    name = newest.remote_id if newest else ""
    look = cluster.look(name) if name else ray_jobs.Look("absent")
    for _ in range(RAY_TRIES):
        if look.state in ("absent", "failed"):
            name = _submit(cluster, run, bundle, shared, finish=_finish(job))
        look = _follow(cluster, name, run, shared, folder, progress)
        if look.state == "succeeded":
            return _fetched(run, shared / "result", folder)
        if look.exit_code == AT_CAP:
            return dict(json.loads((shared / "work" / "result.json").read_text())["result"])
        if not look.was_lost:
            break
    tail = "\n".join(cluster.log(name).splitlines()[-20:])
    if look.exit_code == 2:  # run.py has said in words what has to be put right
        raise ChildRefused(tail.splitlines()[-1])
    raise ChildFailed(f"Ray job {name}: {look.message}\n{tail}")


def _submit(cluster: ray_jobs.Cluster, run: Run, bundle: Bundle, shared: Path, *, finish: bool) -> str:
    write_bundle(bundle, shared)
    number = Submission.objects.filter(run=run).exclude(remote_id="").count() + 1
    name = f"goldpan-run-{run.pk}-{bundle.id[:8]}-{number}"
    Submission.objects.create(run=run, bundle_id=bundle.id, remote_id=name)  # first: no job there is unknown here
    model = [] if settings.GOLDPAN_BASE_MODEL_SOURCE else ["--model", str(settings.GOLDPAN_BASE_MODEL)]
    processes = max(1, settings.GOLDPAN_GPUS)
    cluster.submit(name, shared, [*model, "--processes", str(processes), *(["--finish"] if finish else [])],
                   gpus=settings.GOLDPAN_GPUS,
                   cpus=1 if settings.GOLDPAN_GPUS else run.config["training"]["threads"])
    return name


def _follow(cluster: ray_jobs.Cluster, name: str, run: Run, shared: Path, folder: Path,
            progress: Progress) -> ray_jobs.Look:
    """Report what the job does until it has ended; a cancelled one is stopped there."""
    total = n_steps(run.snapshot.counts["train"], config_from_json(run.config["training"]))
    look, heard = ray_jobs.Look("waiting"), time.monotonic()
    try:
        while True:
            try:
                look, heard = cluster.look(name), time.monotonic()
            except ConnectionError:
                if time.monotonic() - heard > RAY_SILENT_SECONDS:
                    raise ChildFailed(f"The Ray cluster has not answered for {RAY_SILENT_SECONDS} s.") from None
            done = _copy_metrics(shared / "work" / "metrics.jsonl", folder / "metrics.jsonl")
            (folder / "log.txt").write_text(cluster.log(name)[-65536:])
            if look.state in ("succeeded", "failed", "absent"):
                return ray_jobs.Look("failed", was_lost=True) if look.state == "absent" else look
            stage = "Waiting for the cluster" if look.state == "waiting" else "Training on the cluster"
            progress(stage, min(done, total), total)
            time.sleep(RAY_POLL_SECONDS)
    except Cancelled:
        cluster.stop(name)
        raise


def _copy_metrics(source: Path, target: Path) -> int:
    """Copy the whole lines of the learning curve and return how many there are."""
    if not source.exists():
        return 0
    content = source.read_bytes()
    content = content[:content.rfind(b"\n") + 1]
    target.write_bytes(content)
    return content.count(b"\n")


def _fetched(run: Run, result_folder: Path, folder: Path) -> dict[str, Any]:
    """Check the result as one that came from anywhere, and lay it into the job's folder as a training here does."""
    result: Result = read_for(run, result_folder)
    adapter = folder / "adapter"
    adapter.mkdir(exist_ok=True)
    for name in result.adapter_files:
        shutil.copyfile(result.paths[name], adapter / name)
    shutil.copyfile(result.paths["metrics.jsonl"], folder / "metrics.jsonl")
    return {**result.receipt, "adapter": "adapter/", "files": {name: result.hashes[name] for name in
                                                               result.adapter_files}}


EXECUTORS = {
    "local": Executor("This machine", "In a process of its own, on the GPU if there is one.", _here),
    "accelerate": Executor("Several GPUs of this machine",
                           "One process for each of GOLDPAN_GPUS, by accelerate launch.", _several),
    "ray": Executor("The Ray cluster", "As a job of the cluster that RAY_ADDRESS names.", _on_ray),
    "bundle": Executor("Another machine, by hand", "Download the run as files, train there with one command, and bring "
                       "the result back.", _carried),
    "skypilot": Executor("A rented GPU, by SkyPilot", "The files with a task for RunPod, Lambda, AWS, GCP and "
                         "Kubernetes. You start it with your own account.", _carried),
    "replicate": Executor("Replicate, by Cog", "The files as a folder for Cog. Replicate's training API does not take "
                          "them; a prediction does, for up to 30 minutes.", _carried),
}
