"""Quotes: what a training will take, measured by a few real steps before it may start."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse

from curation.models import Snapshot
from curation.services.snapshots import read_rows, require_approved
from jobs.child import run_child
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from projects.errors import UserError
from projects.services import audit, notify
from projects.wording import about_words, duration_words
from training.config import config_from_json
from training.economics import money_words
from training.memory import memory_words
from training.models import Price, Quote, Verdict
from training.pairs import writing_prompt
from training.preflight import Check, check_from_json, failed, text_checks
from training.prompts import prompt_to_json, short
from training.quote import Estimate, Machine, elsewhere, estimate, seconds_of_another
from training.recipes import Recipe, recipes
from training.services.baseline import require_trainable
from training.services.bundles import finetune_spec, write_splits
from training.services.economics import economics_of, labour_of, weigh_verdict
from training.services.prices import prices


def start_quote(snapshot: Snapshot, *, by: User, config: dict[str, Any] | None = None, wake: bool = True) -> Job:
    """Queue a quote for a training with these settings; one that waits or runs already is returned.

    It waits for a training that runs: two at a time would measure each other.
    Raises UserError if the snapshot is not approved or a value of the config is out of range.
    """
    require_trainable(snapshot.project)
    require_approved(snapshot)
    its_config = run_config(snapshot, config)
    sha256 = config_sha256(snapshot, its_config)
    waiting = Job.objects.active().filter(project=snapshot.project, kind="quote", params__sha256=sha256)
    return waiting.first() or enqueue(
        "quote", snapshot.project, title=f"Trying steps on {snapshot} for a quote", requested_by=by, wake=wake,
        params={"snapshot": snapshot.pk, "config": its_config, "sha256": sha256}, exclusive="train")


def run_config(snapshot: Snapshot, config: dict[str, Any] | None) -> dict[str, Any]:
    """All that a run depends on beside its snapshot and base model. config: what differs from the defaults."""
    try:
        training = config_from_json({"threads": settings.GOLDPAN_THREADS, **(config or {})})
    except (TypeError, ValueError) as error:
        raise UserError(f"This training cannot be started: {error}.") from None
    project = snapshot.project
    if training.method == "dpo" and project.task_type != "preference":
        raise UserError("DPO learns from pairs of answers of which people prefer one; this project has none. Choose "
                        "LoRA.")
    prompt = (writing_prompt() if training.method == "dpo" else
              short(project.schema, project.task_type, project.instructions))
    return {"prompt": prompt_to_json(prompt), "training": asdict(training)}


def config_sha256(snapshot: Snapshot, config: dict[str, Any]) -> str:
    """What a quote is bound to: another base model, snapshot, prompt or setting is another hash."""
    bound = [settings.GOLDPAN_BASE_MODEL.name, snapshot.sha256, config]
    return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()


def quote_for(snapshot: Snapshot, config: dict[str, Any]) -> Quote | None:
    """The newest quote for exactly this snapshot, base model and config; None if there is none."""
    return Quote.objects.filter(snapshot=snapshot, config_sha256=config_sha256(snapshot, config)).select_related(
        "machine").first()


def run_quote(job: Job, progress: Progress) -> None:
    snapshot = Snapshot.objects.select_related("project").get(pk=job.params["snapshot"])
    require_approved(snapshot)
    config, folder = job.params["config"], work_folder(job)
    write_splits(snapshot, folder)
    trial = run_child("training.trial", finetune_spec(config, folder), folder=folder, progress=progress)
    trial["checks"] = [*trial.get("checks", []), *(check.to_json() for check in snapshot_checks(snapshot))]
    if "steps" not in trial:
        with completing(job) as result:
            result |= {"checks": trial["checks"], "words": _refused_words(trial["checks"])}
        shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)
        return
    training = config_from_json(config["training"])
    found = estimate(trial, training)
    economics = economics_of(snapshot.project)
    machine, currency = economics.machine, economics.currency
    money = machine.of_seconds(found.seconds) if machine else None
    advice = elsewhere(trial, training, [
        Machine(row.name, row.per_hour or 0.0, row.currency, row.memory_gb, row.teraflops)
        for row in prices(Price.Kind.machine)])
    with completing(job) as result:
        quote = Quote.objects.create(
            snapshot=snapshot, job=job, config=config, config_sha256=job.params["sha256"],
            seconds=found.seconds, seconds_low=found.low, seconds_high=found.high, cpu_seconds=found.cpu_seconds,
            peak_mb=found.peak_mb, n_steps=found.n_steps, machine=machine, currency=currency, money=money,
            cap_seconds=found.cap_seconds, labour=labour_of(snapshot), trial=trial,
            elsewhere=[one.to_json() for one in advice], words=quote_words(found, money, currency),
            created_by=job.requested_by)
        verdict = Verdict.objects.filter(snapshot=snapshot).select_related("snapshot__project", "best_prompt").first()
        if verdict is not None:
            weigh_verdict(verdict, quote=quote)
        audit(snapshot.project, job.requested_by, "quote", {
            "snapshot": snapshot.number, "quote": quote.pk, "seconds": round(found.seconds), "money": money})
        notify(snapshot.project, "quote.ready", title=f"A quote for training on {snapshot} is ready",
               text=" ".join(quote.words), people=[job.requested_by],
               link=reverse("training:train", args=[snapshot.pk]),
               data={"snapshot": snapshot.pk, "quote": quote.pk, "seconds": found.seconds, "money": money,
                     "currency": currency})
        result |= {"quote": quote.pk, "seconds": found.seconds, "peak_mb": found.peak_mb, "words": quote.words}
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)


def snapshot_checks(snapshot: Snapshot) -> list[Check]:
    """Whether a text stands twice in train, or in the rows that judge it."""
    by_split: dict[str, list[dict[str, Any]]] = {"train": [], "dev": [], "test": []}
    for row in read_rows(snapshot):
        by_split[row.split].append({"key": row.key, "text": row.text, "label": row.label, "data": row.data})
    return text_checks(by_split.pop("train"), by_split)


def _refused_words(checks: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{check.words} {check.advice}" for check in failed([check_from_json(one) for one in checks], hard=True)]


def checks_of(snapshot: Snapshot, quote: Quote | None) -> list[Check]:
    """What was looked at before a training: of this quote, or of a trial that came to none since; those that failed
    first, then the open ones.
    """
    told = quote.trial.get("checks", []) if quote else []
    newest = Job.objects.filter(project=snapshot.project, kind="quote", params__snapshot=snapshot.pk,
                                state=Job.State.succeeded).first()
    if newest is not None and "quote" not in newest.result and (quote is None or newest.pk > quote.job_id):
        told = newest.result["checks"]
    order = ("failed", "open", "passed")
    return sorted(map(check_from_json, told), key=lambda check: order.index(check.state))


def quote_words(found: Estimate, money: float | None, currency: str) -> list[str]:
    """Two sentences: what it takes, and what stops it."""
    costs = (f", and costs about {money_words(money, currency)}" if money is not None else
             "; what an hour of this machine costs is not said, so no money is told")
    return [f"It takes about {about_words(found.seconds)} on this machine ({about_words(found.low)} to "
            f"{about_words(found.high)}) and {memory_words(found.peak_mb)} of memory{costs}.",
            f"Whatever happens, it stops after {duration_words(found.cap_seconds)}, and what it has learned by then is "
            "kept."]


def is_stale(quote: Quote) -> bool:
    """Whether the base model, the labels or a setting's meaning changed since, so that no run starts from it."""
    try:
        now = run_config(quote.snapshot, quote.config["training"])
    except UserError:
        return True
    return quote.config_sha256 != config_sha256(quote.snapshot, now)


@dataclass(frozen=True)
class RecipeLine:
    """A recipe as the page offers it. takes: about how long, "" while no trial tells."""

    recipe: Recipe
    takes: str

    @property
    def words(self) -> str:
        return f"{self.recipe.label}: {self.takes + '. ' if self.takes else ''}{self.recipe.words}"


def recipe_lines(snapshot: Snapshot, quote: Quote | None) -> list[RecipeLine]:
    """The recipes for the snapshot's rows, with about what each takes by the quote's trial."""
    tried = config_from_json(quote.config["training"]) if quote else None

    def takes(recipe: Recipe) -> str:
        if quote is None or tried is None:
            return ""
        other = replace(tried, **recipe.config_for(tried.method))
        return f"about {about_words(seconds_of_another(quote.trial, tried, other))}"

    return [RecipeLine(recipe, takes(recipe)) for recipe in recipes(snapshot.counts["train"])]


def recipe_config(snapshot: Snapshot, name: str | None, *, method: str = "lora") -> dict[str, Any]:
    """The settings of the recipe of that name for the snapshot's rows; {} for None, which leaves the defaults."""
    return next((one.config_for(method) for one in recipes(snapshot.counts["train"]) if one.name == name), {})


@dataclass(frozen=True)
class Details:
    """How a quote came about. parts: name → seconds. step: the median step with its tenth and ninetieth percentile."""

    parts: list[tuple[str, float]]
    step: tuple[float, float, float]
    n_tried: int
    labour: str
    refused: list[list[str]]


def details_of(quote: Quote) -> Details:
    training = config_from_json(quote.config["training"])
    parts = estimate(quote.trial, training).parts
    named = {"load": "Loading the model and the rows", "steps": f"{quote.n_steps:,} steps, a tenth on top",
             "dev": f"Scoring dev {training.epochs * training.n_trainings} times", "checkpoints": "Writing checkpoints"}
    low, median, high = (float(np.quantile(quote.trial["steps"], q)) for q in (0.1, 0.5, 0.9))
    return Details([(named[name], seconds) for name, seconds in parts.items()], (median, low, high),
                   len(quote.trial["steps"]), labour_words(quote), quote.trial["refused"])


def labour_words(quote: Quote) -> str:
    labels, hours, money = (quote.labour[name] for name in ("labels", "hours", "money"))
    said = f"The labels that it learns from are about {labels:,} answers"
    if hours is None:
        return f"{said}; too few of them are timed to tell the hours" + (
            f", and cost {money_words(money, quote.currency)}." if money is not None else ".")
    return f"{said}, {hours:,.1f} hours of work" + (
        f", {money_words(money, quote.currency)}." if money is not None else ". What that costs is not said.")
