"""Training runs: from an approved snapshot and a quote to an adapter and a receipt.

The work is done in a subprocess that resumes where it was cut off and stops at the run's cap.
"""

import json
import shutil
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse

from curation.models import Snapshot
from curation.services.snapshots import require_approved
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import Told, completing, earlier_folders, enqueue, retry, work_folder
from projects.errors import UserError
from projects.models import Project
from projects.objects import open_object, put_object
from projects.services import audit, notify
from projects.wording import duration_words, percent_words
from training.checkpoints import take_over
from training.config import METHODS
from training.metrics import NAMES
from training.models import Adapter, Cap, Quote, Receipt, Run, Verdict
from training.services.baseline import require_trainable
from training.services.bundles import record_adapter, write_splits
from training.services.economics import latest_weighing
from training.services.executors import executor_of, require_offered
from training.services.quotes import quote_for, run_config
from training.services.receipts import write_receipt
from training.versions import package_versions


def start_training(snapshot: Snapshot, *, by: User, config: dict[str, Any] | None = None, override_reason: str = "",
                   executor: str = "local", cap_seconds: float | None = None, cap_money: float | None = None,
                   wake: bool = True) -> Run:
    """Queue a training; on this machine by the newest quote for exactly this snapshot and config.

    executor: where it is trained, a name that GOLDPAN_EXECUTORS offers.
    config: values of TrainingConfig that differ from its defaults.
    override_reason: why to train although the gate does not advise it; written into the run and the audit.
    cap_seconds, cap_money: where it stops, whichever comes first; the quote's cap if neither is said. Elsewhere there
    is no quote, as the trial here says nothing about another machine: a cap is in time, and none if not said.
    Raises UserError if the snapshot is not approved, the verdict does not advise training and no reason is given, a
    quote is needed and missing, a value is out of range, or the same run is on its way already.
    """
    require_trainable(snapshot.project)
    require_approved(snapshot)
    _check_gate(snapshot, override_reason)
    require_offered(executor)
    project, its_config = snapshot.project, run_config(snapshot, config)
    method = its_config["training"]["method"]
    if method != "lora" and executor != "local":
        raise UserError(f"{METHODS[method]} runs by one process on this machine only; elsewhere LoRA is trained. "
                        "Choose LoRA, or train it here.")
    if its_config["training"]["search_seeds"] and executor != "local":
        raise UserError("A search is several trainings by one process on this machine; elsewhere train one at a time: "
                        "set “Seeds of a search” to 0.")
    is_here = executor in Run.HERE
    quote = quote_for(snapshot, its_config) if is_here else None
    if is_here and quote is None:
        raise UserError("There is no quote for a training with these settings. Make one first: a few real steps are "
                        "tried, which takes about a minute, and say what the whole will take.")
    seconds = cap_of(quote, seconds=cap_seconds, money=cap_money)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # of two clicks one starts
        same = Run.objects.filter(snapshot=snapshot, config=its_config, job__state__in=Job.ACTIVE).first()
        if same is not None:
            raise UserError(f"{same} is on its way with the same settings. Wait for it, or change a setting.")
        job = enqueue("train", project, title=f"{METHODS[method]} on {snapshot}", requested_by=by,
                      exclusive="train" if is_here else "", wake=wake)
        run = Run.objects.create(
            snapshot=snapshot, kind=Run.Kind(method), seed=its_config["training"]["seed"], job=job, created_by=by,
            executor=executor, override_reason=override_reason.strip(), config=its_config)
        if seconds is not None:
            Cap.objects.create(run=run, quote=quote, seconds=seconds, money=cap_money, created_by=by)
        Job.objects.filter(pk=job.pk).update(params={"run": run.pk})
        audit(project, by, "train", {"snapshot": snapshot.number, "run": run.pk, "override": override_reason.strip()}
              | ({"quote": quote.pk} if quote else {"executor": executor})
              | ({} if seconds is None else {"cap_seconds": round(seconds)}))
    return run


def cap_of(quote: Quote | None, *, seconds: float | None, money: float | None) -> float | None:
    """The seconds at which a run of this quote stops; None for one without a quote where nobody said any.

    Raises UserError for a cap that stops it before it starts, or in money where no price is known.
    """
    caps = [one for one in (seconds,) if one is not None]
    if money is not None:
        if quote is None:
            raise UserError("What an hour costs elsewhere is not known here, so give the cap as time.")
        if quote.machine is None or not quote.machine.per_hour:
            raise UserError("A cap in money needs the price of this machine: say it on the economics page and make a "
                            "new quote, or give the cap as time.")
        caps.append(3600 * money / quote.machine.per_hour)
    cap = min(caps, default=quote.cap_seconds if quote else None)
    if cap is not None and cap <= 0:
        raise UserError("A cap has to be above nothing. Leave it empty to take the quote's.")
    return cap


def raise_cap(run: Run, *, by: User, seconds: float) -> Cap:
    """Let a run that stopped at its cap go on from its checkpoint, up to a higher one.

    Raises UserError if the run has not stopped at its cap, or the new one is no higher than what is spent.
    """
    receipt, cap = _stopped(run), run.caps.first()
    assert cap is not None, "a run that stopped at its cap has one"
    if seconds <= max(cap.seconds, receipt.seconds):
        raise UserError(f"{run} has taken {duration_words(receipt.seconds)} of its {duration_words(cap.seconds)}; "
                        "the new cap has to be higher than both.")
    with transaction.atomic():
        raised = Cap.objects.create(run=run, quote=cap.quote, seconds=seconds, created_by=by)
        Job.objects.filter(pk=retry(run.job).pk).update(params={"run": run.pk})
        audit(run.project, by, "raise_cap", {"run": run.pk, "seconds": round(seconds), "before": round(cap.seconds)})
    return raised


def keep_best(run: Run, *, by: User) -> Job:
    """End a run that stopped at its cap: its best epoch so far becomes the adapter.

    Raises UserError if it has not stopped at its cap, or no epoch has been scored by then.
    """
    if not _stopped(run).found["n_epochs"]:
        raise UserError(f"{run} stopped before its first pass was scored on dev, so there is nothing to choose. Let "
                        "it go on with a higher cap.")
    with transaction.atomic():
        job = retry(run.job)
        Job.objects.filter(pk=job.pk).update(params={**job.params, "finish": True})
        audit(run.project, by, "keep_best", {"run": run.pk})
    return job


def _stopped(run: Run) -> Receipt:
    receipt = stopped_at_cap(run)
    if receipt is None:
        raise UserError(f"{run} has not stopped at its cap; it is {run.job.get_state_display()}.")
    return receipt


def stopped_at_cap(run: Run) -> Receipt | None:
    """The receipt of a run that stands still at its cap, None for any other."""
    if run.job.state != Job.State.failed:
        return None
    receipt = run.receipts.select_related("quote").first()
    return receipt if receipt is not None and not receipt.is_whole else None


def gate_objection(snapshot: Snapshot) -> str:
    """Why training on this snapshot needs a written reason, in words; "" if the gate has nothing against it."""
    verdict = Verdict.objects.filter(snapshot=snapshot).first()
    if verdict is None:
        return f"No prompt has been tried on {snapshot} yet. Try the prompt first: it is what training has to beat."
    if verdict.outcome == Verdict.Outcome.prompt_ok:
        return f"{verdict.words} Training would cost and could hardly gain."
    weighing = latest_weighing(verdict)
    if weighing is not None and weighing.outcome != verdict.outcome:  # the prompt misses the target, and yet
        return f"{verdict.words} {' '.join(weighing.words)}"
    return ""


def _check_gate(snapshot: Snapshot, override_reason: str) -> None:
    objection = gate_objection(snapshot)
    if objection and not override_reason.strip():
        raise UserError(f"{objection} To train all the same, write down why.")


def run_train(job: Job, progress: Progress) -> None:
    run = Run.objects.select_related("snapshot__project").get(pk=job.params["run"])
    require_approved(run.snapshot)
    folder = work_folder(job)
    take_over(earlier_folders(job), folder)
    write_splits(run.snapshot, folder)
    trained = executor_of(run).train(run, job, folder, progress)
    if trained is None:  # people carry it elsewhere, and bring the result back
        return
    if trained.get("stopped_at_cap"):
        progress("Stopped at its cap", 0, 1)  # raises if the job is another attempt's by now
        words = _stop(run, job, trained)
        raise Told(words)
    receipt = {"versions": package_versions(), **trained}
    adapter_folder = folder / receipt["adapter"]
    files = {name: put_object(settings.GOLDPAN_OBJECTS, adapter_folder / name) for name in receipt["files"]}
    metrics_sha256 = put_object(settings.GOLDPAN_OBJECTS, folder / "metrics.jsonl")
    with completing(job) as result:
        adapter, _ = record_adapter(run, by=job.requested_by or run.created_by, files=files, receipt=receipt,
                                    metrics_sha256=metrics_sha256, what="trained",
                                    is_whole=not job.params.get("finish", False))
        result |= {"run": run.pk, "adapter": adapter.pk, "steps": receipt["steps"],
                   "seconds": receipt["train_seconds"], "resumed_from": receipt["resumed_from"]}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)  # what counts is in the object store


@transaction.atomic
def _stop(run: Run, job: Job, trained: dict[str, Any]) -> str:
    """Keep what the run has taken, tell that it stands still at its cap, and return that in words."""
    receipt, words = write_receipt(run, trained, is_whole=False), _cap_words(run, trained)
    notify(run.project, "run.stopped_at_cap", title=f"Run {run.pk} stopped at its cap", text=words,
           people=[job.requested_by, run.created_by], link=reverse("training:run", args=[run.pk]),
           data={"run": run.pk, "seconds": receipt.seconds})
    return words


def _cap_words(run: Run, found: dict[str, Any]) -> str:
    cap = run.caps.first()
    assert cap is not None, "a run that stopped at its cap has one"
    if n := found["n_epochs"]:
        best = (f"The best of {n} scored passes" if n > 1 else "The one pass that was scored") + (
            f" {_dev_words(run, found)} on dev: an admin can keep it, or let the run go on with a higher cap.")
    else:
        best = "No pass over the rows was finished by then; an admin can let it go on with a higher cap."
    return (f"Stopped at its cap of {duration_words(cap.seconds)}, after step {found['steps']:,} of "
            f"{found['n_steps']:,}. Nothing is lost. {best}")


def _dev_words(run: Run, found: dict[str, Any]) -> str:
    """What the best epoch has done on dev, by the figure that chose it."""
    if found["chosen_by"] == "dev_calibrated":
        return f"got {percent_words(found['best_dev'])} right"
    if found["chosen_by"] == "dev_preferred":
        return f"prefers the better answer in {percent_words(found['best_dev'])} of the pairs"
    if found["chosen_by"] == "dev_score":
        return f"had a {NAMES[run.project.target_metric]} of {percent_words(found['best_dev'])}"
    return f"had a loss of {found['best_dev']:.3f}"


def live_metrics(run: Run) -> list[dict[str, Any]]:
    """Loss and dev metric by step so far: from the running attempt's folder, or as stored when it ended."""
    adapter = Adapter.objects.filter(run=run).first()
    if adapter is not None:
        with open_object(settings.GOLDPAN_OBJECTS, adapter.metrics_sha256) as file:
            return _metric_lines(file.read())
    folder = settings.GOLDPAN_JOBS / str(run.job_id) / str(run.job.fence)
    paths = [*folder.glob("metrics.jsonl"), *folder.glob("checkpoints/rate-*/metrics.jsonl")]  # those of a search
    newest = max(paths, key=lambda path: path.stat().st_mtime, default=None)
    return _metric_lines(newest.read_bytes()) if newest else []


def _metric_lines(content: bytes) -> list[dict[str, Any]]:
    whole = content[:content.rfind(b"\n") + 1]  # the last line may be half written
    return [json.loads(line) for line in whole.split(b"\n") if line]


def log_tail(run: Run, n_lines: int = 30) -> str:
    """The end of the running attempt's log; "" once its folder is gone."""
    path = settings.GOLDPAN_JOBS / str(run.job_id) / str(run.job.fence) / "log.txt"
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:])
