"""Learning curves copied to TensorBoard, MLflow or Weights & Biases, where GOLDPAN_REPORT_TO says so."""

import os
import re
import shutil
from urllib.parse import urlsplit

from django.conf import settings

from jobs.child import run_child
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from projects.errors import UserError
from projects.objects import object_path
from training.models import Adapter, Run
from training.trackers import KEYS, WANDB_URL


def queue_report(run: Run, *, wake: bool = True) -> Job | None:
    """Queue the copy of a trained run's learning curve; None where nobody wants one."""
    if not settings.GOLDPAN_REPORT_TO:
        return None
    return enqueue("report", run.project, title=f"Copying the learning curve of run {run.pk}",
                   requested_by=run.created_by, params={"run": run.pk}, dedupe_key=f"report:{run.pk}", wake=wake)


def run_report(job: Job, progress: Progress) -> None:
    """Give the curve's numbers and the run's settings to every tracker; one that fails ends the job in its words."""
    run = Run.objects.select_related("snapshot__project").get(pk=job.params["run"])
    names = list(settings.GOLDPAN_REPORT_TO)
    for name in names:
        require_allowed(name)
    metrics = object_path(settings.GOLDPAN_OBJECTS, Adapter.objects.get(run=run).metrics_sha256)
    answer = run_child("training.trackers", {
        "trackers": names, "metrics_file": str(metrics), "run": f"run-{run.pk}",
        "project": re.sub(r"[^\w .-]", "-", f"goldpan-{run.project.name}")[:80],
        "settings": {**run.config["training"], "snapshot_sha256": run.snapshot.sha256},
        "logs": str(settings.GOLDPAN_DATA / "tensorboard")}, folder=work_folder(job), progress=progress,
        environment={key: os.environ[key] for name in names for key in KEYS[name] if key in os.environ})
    failed = [f"{name}: {said['error']}" for name, said in answer["trackers"].items() if "error" in said]
    if failed:
        raise UserError("The learning curve was not copied everywhere; the run itself is not touched by that. "
                        + " ".join(failed))
    with completing(job) as result:
        result |= {"run": run.pk, "places": {name: said["place"] for name, said in answer["trackers"].items()}}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)


def require_allowed(name: str) -> None:
    """Raise UserError unless the tracker is known and its server is on one of GOLDPAN_ALLOWED_ORIGINS."""
    if name not in KEYS:
        raise UserError(f"GOLDPAN_REPORT_TO names “{name}”; it knows {', '.join(KEYS)}.")
    if name == "tensorboard":  # files below GOLDPAN_DATA
        return
    address = os.environ.get("WANDB_BASE_URL", WANDB_URL) if name == "wandb" else os.environ.get(
        "MLFLOW_TRACKING_URI", "")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" not in \
            settings.GOLDPAN_ALLOWED_ORIGINS:
        raise UserError(f"{name} would go to “{address}”, which is not one of GOLDPAN_ALLOWED_ORIGINS. Add its origin "
                        "there, or take it out of GOLDPAN_REPORT_TO.")
