"""A run's bundle out, its result back in.

1. `bundle_of` makes the bundle from the snapshot's frozen rows; `hand_over` ends a job whose run people carry away.
2. `download` notes who took the data out of the house, and gives it.
3. `import_result` takes what came back if it proves to be this run's, and queues the evaluation as for any other run.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.urls import reverse

from curation.models import Erasure, Snapshot
from curation.services.snapshots import read_rows, require_approved
from jobs.models import Job
from jobs.services import completing
from projects.errors import UserError
from projects.models import Project
from projects.objects import put_object
from projects.services import audit, notify
from training import clouds, language_model
from training.bundle import Bundle, RunToBundle, config_sha256, make_bundle, tar_of
from training.elsewhere import RESULT_FILES
from training.models import Adapter, Run, Submission
from training.results import Result, expect, read_result
from training.services.evaluation import queue_evaluation
from training.services.receipts import write_receipt
from training.services.reports import queue_report


def finetune_spec(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What `training.finetune` is told of a run's config, with the rows below `folder` and the model of this machine.

    The process that starts now counts its time from here.
    """
    return {"model": str(settings.GOLDPAN_BASE_MODEL), "rows_file": str(folder / "train.jsonl"),
            "dev_file": str(folder / "dev.jsonl"), "prompt": config["prompt"], "config": config["training"],
            "started_at": time.time()}


def _portable_spec(run: Run) -> dict[str, Any]:
    return {"prompt": run.config["prompt"], "config": run.config["training"]}


def write_splits(snapshot: Snapshot, folder: Path) -> None:
    """What a training reads here: train.jsonl and dev.jsonl below `folder`, hashes checked."""
    for split, rows in split_rows(snapshot).items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def split_rows(snapshot: Snapshot) -> dict[str, list[dict[str, Any]]]:
    """The snapshot's train and dev rows as training reads them; the test rows stay where they are."""
    rows = read_rows(snapshot)
    return {split: [{"key": row.key, "text": row.text, "label": row.label, **({"data": row.data} if row.data else {})}
                    for row in rows if row.split == split] for split in ("train", "dev")}


def bundle_of(run: Run) -> Bundle:
    """The run's bundle as this version of Goldpan makes it. Raises UserError if the snapshot may not be trained on."""
    require_approved(run.snapshot)
    rows, spec, cap = split_rows(run.snapshot), _portable_spec(run), run.caps.first()
    extra = {"skypilot": clouds.sky_files(str(run.pk), settings.GOLDPAN_CLOUD_GPUS),
             "replicate": clouds.cog_files(str(run.pk))}.get(run.executor)
    return make_bundle(RunToBundle(
        run=str(run.pk), title=f"{run} on {run.snapshot}", snapshot_sha256=run.snapshot.sha256,
        config_sha256=config_sha256(spec), base_model=language_model.model_identity(settings.GOLDPAN_BASE_MODEL),
        source=settings.GOLDPAN_BASE_MODEL_SOURCE, spec=spec, cap_seconds=cap.seconds if cap else None,
        processes=max(1, settings.GOLDPAN_GPUS) if run.executor == "ray" else 1, train=rows["train"], dev=rows["dev"]),
        extra=extra)


def hand_over(run: Run, job: Job) -> None:
    """End the job with the bundle's id: from here on people carry it. SkyPilot's files are read by SkyPilot first."""
    bundle = bundle_of(run)
    checked = _checked_by_sky(run) if run.executor == "skypilot" else ""
    with completing(job) as result:
        Submission.objects.get_or_create(run=run, bundle_id=bundle.id, remote_id="")
        audit(run.project, job.requested_by, "bundle", {"run": run.pk, "bundle": bundle.id})
        result |= {"run": run.pk, "bundle": bundle.id, "checked": checked}


def _checked_by_sky(run: Run) -> str:
    """What SkyPilot has said of its task files, in words."""
    python = settings.GOLDPAN_SKYPILOT_PYTHON
    if not python.exists():
        return ("SkyPilot is not installed here (make skypilot), so nobody has read the task files: their form follows "
                "its documentation.")
    try:
        version = clouds.check_sky_files(clouds.sky_files(str(run.pk), settings.GOLDPAN_CLOUD_GPUS), python)
    except ValueError as error:
        raise UserError(f"{error} Look at GOLDPAN_CLOUD_GPUS.") from None
    return (f"SkyPilot {version} has read all {len(clouds.CLOUDS)} task files here and accepts their form and the "
            "names of the clouds. Not checked, as it needs an account: whether a cloud has the GPU now, and its price.")


def download(run: Run, *, by: User) -> tuple[str, bytes]:
    """The bundle's file name and its tar. That data leaves the house is noted with who took it.

    After an update of Goldpan the bundle has another id; results of both are taken.
    Raises UserError if the run is not one that people carry, or the snapshot may not be trained on.
    """
    if not run.is_carried:
        raise UserError(f"{run} is not trained elsewhere. Start a run for another machine to get its files.")
    bundle, name = bundle_of(run), f"goldpan-run-{run.pk}"
    with transaction.atomic():
        Submission.objects.get_or_create(run=run, bundle_id=bundle.id, remote_id="")
        audit(run.project, by, "download bundle", {"run": run.pk, "bundle": bundle.id})
    return f"{name}.tar", tar_of(bundle, name)


@contextmanager
def uploaded(files: Iterable[tuple[str, BinaryIO]]) -> Iterator[Path]:
    """A folder with the files that somebody sent, each under its own name if it is one of a result's.

    Raises UserError for any other name and for one that comes twice: archives and paths are none.
    """
    settings.GOLDPAN_JOBS.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=settings.GOLDPAN_JOBS, prefix=".result-") as place:
        folder = Path(place)
        for name, content in files:
            if name not in RESULT_FILES or (folder / name).exists():
                raise UserError(f"{name[:100]} is not wanted: choose the {len(RESULT_FILES)} files of the folder "
                                f"result/, each once: {', '.join(RESULT_FILES)}.")
            with (folder / name).open("wb") as target:
                shutil.copyfileobj(content, target)
        yield folder


def _given_out(run: Run) -> list[str]:
    """The bundles whose result is taken: all of the run's that hold nothing that was erased since.

    Raises ValueError if there was one, and none is left.
    """
    erasures = Erasure.objects.filter(example__snapshot_rows__snapshot=run.snapshot)
    erased_at = erasures.aggregate(at=Max("created_at"))["at"]
    bundles = [one.bundle_id for one in run.submissions.all() if erased_at is None or one.created_at > erased_at]
    if not bundles and run.submissions.exists():
        raise ValueError("A row of its snapshot was erased after the files were taken, so it has learned what had to "
                         "go. Download the files again, and train anew.")
    return bundles


def read_for(run: Run, folder: Path) -> Result:
    """The result in a folder, if it is this run's. Raises UserError in the words of what does not hold."""
    try:
        result = read_result(folder, max_bytes=settings.GOLDPAN_MAX_UPLOAD_MB << 20)
        expect(result, bundles=_given_out(run),
               snapshot_sha256=run.snapshot.sha256, config_sha256=config_sha256(_portable_spec(run)),
               base_model=language_model.model_identity(settings.GOLDPAN_BASE_MODEL))
    except ValueError as error:
        raise UserError(f"This result is not taken. {error}") from None
    return result


def import_result(run: Run, folder: Path, *, by: User, wake: bool = True) -> tuple[Adapter, Job]:
    """Make the adapter of a run that was trained elsewhere, and queue its evaluation; the first result stands.

    Raises UserError, and changes nothing, if the result is not whole, not this run's, or there is one already.
    """
    if not run.is_carried:
        raise UserError(f"{run} is trained by Goldpan itself, so no result is brought to it.")
    require_approved(run.snapshot)
    result = read_for(run, folder)
    files = {name: put_object(settings.GOLDPAN_OBJECTS, result.paths[name]) for name in result.adapter_files}
    metrics_sha256 = put_object(settings.GOLDPAN_OBJECTS, result.paths["metrics.jsonl"])
    receipt = {**result.receipt, "files": files, "bundle": result.bundle}
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=run.project.pk)  # of two results one stands
        if Adapter.objects.filter(run=run).exists():
            raise UserError(f"{run} has its result already. Start another run to train again.")
        return record_adapter(run, by=by, files=files, receipt=receipt, metrics_sha256=metrics_sha256,
                              what="result imported", is_whole=not receipt.get("finish", False), wake=wake)


def record_adapter(run: Run, *, by: User, files: Mapping[str, str], receipt: Mapping[str, Any], metrics_sha256: str,
                   what: str, is_whole: bool = True, wake: bool = True) -> tuple[Adapter, Job]:
    """Insert the adapter and its receipt, queue the evaluation and note all, in the caller's transaction.

    is_whole: the training ended by itself, not at somebody's word.
    """
    adapter = Adapter.objects.create(project=run.project, run=run, files=dict(files), receipt=dict(receipt),
                                     metrics_sha256=metrics_sha256)
    write_receipt(run, receipt, is_whole=is_whole)
    evaluation = queue_evaluation(run, by=run.created_by, wake=wake)
    queue_report(run, wake=wake)
    audit(run.project, by, what, {"run": run.pk, "adapter": adapter.pk, "files": dict(files)})
    notify(run.project, "run.finished", title=f"Run {run.pk} is trained, and is evaluated now", people=[run.created_by],
           data={"run": run.pk, "adapter": adapter.pk}, link=reverse("training:run", args=[run.pk]))
    return adapter, evaluation
