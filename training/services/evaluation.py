"""Evaluating an adapter on the rows that the best prompt was judged on."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User

from curation.services.snapshots import read_rows
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from projects.errors import UserError
from projects.objects import object_is_sound, object_path
from projects.services import audit
from training.models import Adapter, Evaluation, Run, TestLook
from training.prompts import prompt_from_json
from training.services.scoring import best, calibrations, predictions_of, score_rows, write_evaluation


def queue_evaluation(run: Run, *, by: User, wake: bool = True) -> Job:
    """Queue the evaluation of a trained run; one that is queued already is returned."""
    return enqueue("evaluate", run.project, title=f"Evaluating the adapter of run {run.pk}", requested_by=by,
                   params={"run": run.pk}, exclusive=f"evaluate:{run.pk}", dedupe_key=f"evaluate:{run.pk}", wake=wake)


def run_evaluate(job: Job, progress: Progress) -> None:
    """Choose the calibration on dev, then look at the test rows once."""
    run = Run.objects.select_related("snapshot__project").get(pk=job.params["run"])
    if Evaluation.objects.filter(run=run, split="test").exists():
        raise UserError(f"{run} has been evaluated already; test rows are looked at once per run.")
    labels = run.project.labels
    rows = read_rows(run.snapshot)
    dev, test = ([row for row in rows if row.split == split] for split in ("dev", "test"))
    folder = work_folder(job)
    adapter = materialise(Adapter.objects.get(run=run), folder / "adapter")
    prompt = prompt_from_json(run.config["prompt"])
    said = score_rows([*dev, *test], [prompt], folder=folder, progress=progress, adapter=adapter)[0]
    gold = np.array([labels.index(row.label) for row in dev])
    choices = calibrations(replace(said, scores=said.scores[:len(dev)]), gold, [row.group for row in dev])
    calibration = best(choices)
    columns, probability = calibration.predict(said.scores)
    predicted = predictions_of([*dev, *test], [labels[k] for k in columns], list(probability))
    extra = {"calibration": calibration.kind, "calibration_details": asdict(calibration),
             "calibrations": {choice.kind: choice.dev_accuracy for choice in choices}}
    share = len(test) / len(predicted)
    with completing(job) as result:
        write_evaluation(run, "dev", predicted[:len(dev)], seconds=said.seconds * (1 - share), extra=extra)
        evaluation = write_evaluation(run, "test", predicted[len(dev):], seconds=said.seconds * share, extra=extra)
        TestLook.objects.create(project=run.project, run=run, n=len(test))
        audit(run.project, job.requested_by, "evaluate", {"run": run.pk, "n_right": evaluation.n_right,
                                                          "n": evaluation.n})
        result |= {"run": run.pk, "n_right": evaluation.n_right, "n": evaluation.n}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)


def materialise(adapter: Adapter, folder: Path) -> Path:
    """Write an adapter's files into a folder under their names, each hashed on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sha256 in adapter.files.items():
        if not object_is_sound(settings.GOLDPAN_OBJECTS, sha256):
            raise UserError(f"{name} of {adapter} is missing or has changed on the disk. Restore it from a backup.")
        shutil.copy(object_path(settings.GOLDPAN_OBJECTS, sha256), folder / Path(name).name)
    return folder
