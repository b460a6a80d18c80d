"""Prompts and the verdict on them, quotes, runs, and what they leave: adapters."""

from typing import Any, Literal

from django.conf import settings
from django.http import FileResponse, Http404
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema, Status
from pydantic import Field

from curation.models import Snapshot
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import (
    A_FILE,
    AdapterDetailShape,
    AdapterShape,
    ComparisonShape,
    CurveShape,
    JobShape,
    PromotionShape,
    PromptShape,
    QuoteShape,
    RunDetailShape,
    RunShape,
    VerdictShape,
)
from jobs.services import cancel
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_is_sound, open_object
from training.models import Adapter, Promotion, PromptVersion, Quote, Run, Verdict
from training.services.baseline import start_baseline
from training.services.comparison import compare
from training.services.evaluation import queue_evaluation
from training.services.exports import start_merge
from training.services.general import queue_general_check
from training.services.promotion import promote, roll_back, roll_back_to_prompt, standing
from training.services.quotes import recipe_config, start_quote
from training.services.runs import keep_best, live_metrics, raise_cap, start_training
from training.services.slices import critical_kinds, declare_critical
from training.services.written_prompts import MAX_CHARS, Words, change_prompt, start_try, write_prompt
from training.slices import KINDS

router = Router(tags=["Prompts, runs and adapters"])
Settings = dict[str, int | float]
SETTINGS = "Of the training, where they differ from the defaults: epochs, learning_rate, r, … as on the page."


# Prompts

class WordsAsked(Schema):
    system: str = Field("", max_length=MAX_CHARS)
    instruction: str = Field(max_length=MAX_CHARS, description="Says once, as {text}, where the text goes.")
    examples: Literal["none", "spread", "nearest"] = "none"
    note: str = Field("", max_length=500, description="What changed and why.")

    @property
    def words(self) -> Words:
        return Words(self.system, self.instruction, PromptVersion.Examples(self.examples))


class PromptAsked(WordsAsked):
    name: str = Field(min_length=1, max_length=60)


@router.get("/projects/{id}/prompts", response=Page[PromptShape])
@on(Project, "see_runs")
def prompt_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Prompts that people wrote, every version, newest first."""
    return page_of(PromptVersion.objects.filter(project=project).select_related("created_by"), paging)


@router.post("/projects/{id}/prompts", response={201: PromptShape})
@on(Project, "write_prompts")
def prompt_create(request: Request, project: Project, asked: PromptAsked) -> Status:
    """Write the first version of a prompt."""
    return Status(201, write_prompt(project, name=asked.name, words=asked.words, note=asked.note,
                                    by=request.auth.user))


@router.get("/prompts/{id}", response=PromptShape)
@on(PromptVersion, "see_runs")
def prompt(request: Request, version: PromptVersion) -> PromptVersion:
    """One version of a prompt."""
    return version


@router.post("/prompts/{id}/versions", response={201: PromptShape})
@on(PromptVersion, "write_prompts")
def prompt_change(request: Request, version: PromptVersion, asked: WordsAsked) -> Status:
    """Write the next version of a prompt; the one that it is written from stays."""
    return Status(201, change_prompt(version, words=asked.words, note=asked.note, by=request.auth.user))


@router.post("/prompts/{id}/tries", response={202: JobShape})
@on(PromptVersion, "run_baseline")
def prompt_try(request: Request, version: PromptVersion) -> Status:
    """Try a version on the dev rows of the newest snapshot. Every look is counted."""
    return Status(202, start_try(version, by=request.auth.user))


# Baseline and comparison

class BaselineAsked(Schema):
    arms: list[str] | None = Field(None, max_length=50, description="Keys of the prompts to try; those that are tried "
                                   "by default if left out.")


@router.post("/snapshots/{id}/baseline", response={202: JobShape})
@on(Snapshot, "run_baseline")
def baseline(request: Request, snapshot: Snapshot, asked: BaselineAsked) -> Status:
    """Try prompts: a job that ends in a verdict."""
    return Status(202, start_baseline(snapshot, by=request.auth.user, arms=asked.arms))


@router.get("/snapshots/{id}/verdict", response=VerdictShape)
@on(Snapshot, "see_runs")
def verdict(request: Request, snapshot: Snapshot) -> Verdict:
    """Whether the best prompt is good enough; a 404 before the baseline has ended."""
    return get_object_or_404(Verdict, snapshot=snapshot)


@router.get("/snapshots/{id}/comparison", response=ComparisonShape)
@on(Snapshot, "see_runs")
def comparison(request: Request, snapshot: Snapshot) -> Any:
    """Every run on the same test rows, and the best adapter against the best prompt in words."""
    return compare(snapshot)


# Quotes and runs

class QuoteAsked(Schema):
    recipe: Literal["quick", "balanced", "thorough"] | None = Field(
        None, description="What to choose in place of single settings.")
    settings: Settings = Field({}, max_length=30, description=SETTINGS)


@router.post("/snapshots/{id}/quotes", response={202: JobShape})
@on(Snapshot, "train")
def quote(request: Request, snapshot: Snapshot, asked: QuoteAsked) -> Status:
    """Try a few real steps: a job that ends in a quote of time, memory and money."""
    config = {**asked.settings, **recipe_config(snapshot, asked.recipe)}
    return Status(202, start_quote(snapshot, by=request.auth.user, config=config))


@router.get("/snapshots/{id}/quotes", response=Page[QuoteShape])
@on(Snapshot, "train")
def quote_list(request: Request, snapshot: Snapshot, paging: Query[Paging]) -> dict[str, Any]:
    """The snapshot's quotes, newest first."""
    return page_of(Quote.objects.filter(snapshot=snapshot), paging)


class TrainingAsked(Schema):
    quote: int | None = Field(None, ge=1, le=MAX_ID, description="Whose settings are trained.")
    settings: Settings | None = Field(None, max_length=30, description=f"In place of a quote's. {SETTINGS}")
    executor: str = Field("local", max_length=20, description="Where it is trained.")
    cap_seconds: float | None = Field(None, gt=0, le=1e9, description="Where it stops; the quote's cap if left out.")
    cap_money: float | None = Field(None, gt=0, le=1e9)
    override_reason: str = Field("", max_length=2000, description="Why to train although the gate advises against it.")


@router.post("/snapshots/{id}/runs", response={202: RunShape})
@on(Snapshot, "train")
def train(request: Request, snapshot: Snapshot, asked: TrainingAsked) -> Status:
    """Train a LoRA adapter by a quote; its evaluation follows by itself."""
    config = asked.settings
    if asked.quote is not None:
        config = get_object_or_404(Quote, snapshot=snapshot, pk=asked.quote).config["training"]
    return Status(202, start_training(
        snapshot, by=request.auth.user, config=config, override_reason=asked.override_reason, executor=asked.executor,
        cap_seconds=asked.cap_seconds, cap_money=asked.cap_money))


class RunsAsked(Paging):
    snapshot: int | None = Field(None, ge=1, le=MAX_ID)


@router.get("/projects/{id}/runs", response=Page[RunShape])
@on(Project, "see_runs")
def run_list(request: Request, project: Project, asked: Query[RunsAsked]) -> dict[str, Any]:
    """Runs of every kind, newest first."""
    runs = Run.objects.filter(snapshot__project=project).select_related("job", "adapter", "created_by")
    return page_of(runs.filter(snapshot=asked.snapshot) if asked.snapshot is not None else runs, asked)


@router.get("/runs/{id}", response=RunDetailShape)
@on(Run, "see_runs")
def run(request: Request, run: Run) -> Run:
    """One run: its settings, and what it got on dev and test."""
    return run


@router.get("/runs/{id}/curve", response=CurveShape)
@on(Run, "see_runs")
def run_curve(request: Request, run: Run) -> dict[str, Any]:
    """Loss and dev figures step by step, also while it trains."""
    return {"points": live_metrics(run) if run.kind == Run.Kind.lora else []}


@router.post("/runs/{id}/cancel", response=JobShape)
@on(Run, "cancel_job")
def run_cancel(request: Request, run: Run) -> Any:
    """Stop a run's job; a retry goes on from its last checkpoint."""
    return cancel(run.job)


class CapAsked(Schema):
    seconds: float = Field(gt=0, le=1e9)


@router.post("/runs/{id}/cap", response={202: RunShape})
@on(Run, "train")
def run_raise_cap(request: Request, run: Run, asked: CapAsked) -> Status:
    """Let a run that stopped at its cap go on, up to a higher one."""
    raise_cap(run, by=request.auth.user, seconds=asked.seconds)
    return Status(202, Run.objects.get(pk=run.pk))


@router.post("/runs/{id}/keep", response={202: JobShape})
@on(Run, "train")
def run_keep_best(request: Request, run: Run) -> Status:
    """End a run that stopped at its cap: its best epoch so far becomes the adapter."""
    return Status(202, keep_best(run, by=request.auth.user))


@router.post("/runs/{id}/evaluation", response={202: JobShape})
@on(Run, "train")
def evaluate(request: Request, run: Run) -> Status:
    """Judge a trained run on the test rows.

    It follows a training by itself; this is for one that failed or was cancelled. Test rows are looked at once per run.
    """
    if not Adapter.objects.filter(run=run).exists():
        raise UserError(f"{run} has left no adapter, so there is nothing to evaluate.")
    return Status(202, queue_evaluation(run, by=request.auth.user))


# Adapters

@router.get("/projects/{id}/adapters", response=Page[AdapterShape])
@on(Project, "see_runs")
def adapter_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Adapters, newest first; one of a project is the champion."""
    return page_of(Adapter.objects.filter(project=project), paging)


@router.get("/adapters/{id}", response=AdapterDetailShape)
@on(Adapter, "see_runs")
def adapter(request: Request, adapter: Adapter) -> dict[str, Any]:
    """One adapter, and whether the gate lets it be champion."""
    found = standing(adapter)
    same = ("id", "project_id", "run_id", "stage", "files", "receipt", "created_at")
    return {name: getattr(adapter, name) for name in same} | {
        "may_be_promoted": found.allowed, "reasons": found.reasons}


class PromotionAsked(Schema):
    override_reason: str = Field("", max_length=2000, description="Why, although the gate says no.")


@router.post("/adapters/{id}/promote", response=AdapterShape)
@on(Adapter, "promote")
def adapter_promote(request: Request, adapter: Adapter, asked: PromotionAsked) -> Adapter:
    """Make it the champion; the former one is retired."""
    return promote(adapter, by=request.auth.user, override_reason=asked.override_reason)


class RollBackAsked(Schema):
    reason: str = Field(min_length=1, max_length=2000)


@router.post("/adapters/{id}/roll-back", response=AdapterShape)
@on(Adapter, "promote")
def adapter_roll_back(request: Request, adapter: Adapter, asked: RollBackAsked) -> Adapter:
    """Make an earlier champion the champion again."""
    return roll_back(adapter, by=request.auth.user, reason=asked.reason)


@router.get("/projects/{id}/promotions", response=Page[PromotionShape])
@on(Project, "see_runs")
def promotion_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """What became the champion, newest first: the first one is what serves. Empty: the best prompt does."""
    return page_of(Promotion.objects.filter(project=project).select_related("run__adapter"), paging)


@router.post("/runs/{id}/roll-back", response=PromotionShape)
@on(Run, "promote")
def run_roll_back(request: Request, run: Run, asked: RollBackAsked) -> Promotion:
    """Make a prompt that has served before the champion again."""
    return roll_back_to_prompt(run, by=request.auth.user, reason=asked.reason)


@router.post("/adapters/{id}/questions", response={202: JobShape})
@on(Adapter, "train")
def adapter_questions(request: Request, adapter: Adapter) -> Status:
    """Ask it the general questions, to see whether it has forgotten what its base model knew."""
    return Status(202, queue_general_check(adapter, by=request.auth.user))


@router.post("/adapters/{id}/merge", response={202: JobShape})
@on(Adapter, "train")
def adapter_merge(request: Request, adapter: Adapter) -> Status:
    """Merge it into its base model, as a model that any server opens."""
    return Status(202, start_merge(adapter, by=request.auth.user))


class CriticalSlicesShape(Schema):
    kinds: list[str] = Field(max_length=20, description=f"Of {', '.join(KINDS)}.")


@router.get("/projects/{id}/critical-slices", response=CriticalSlicesShape)
@on(Project, "see_runs")
def critical_slices(request: Request, project: Project) -> dict[str, Any]:
    """On which kinds of slices an adapter may not be worse."""
    return {"kinds": critical_kinds(project)}


@router.put("/projects/{id}/critical-slices", response=CriticalSlicesShape)
@on(Project, "promote")
def critical_slices_declare(request: Request, project: Project, asked: CriticalSlicesShape) -> Any:
    """Declare them for all evaluations from now on."""
    return declare_critical(project, asked.kinds, by=request.auth.user)


@router.get("/adapters/{id}/files/{name}", openapi_extra=A_FILE)
@on(Adapter, "see_runs")
def adapter_file(request: Request, adapter: Adapter, name: str) -> FileResponse:
    """Download one of its files, by its name in `files`."""
    if name not in adapter.files:
        raise Http404
    if not object_is_sound(settings.GOLDPAN_OBJECTS, adapter.files[name]):
        raise UserError(f"{name} of {adapter} is missing or has changed on the disk. Restore it from a backup.")
    return FileResponse(open_object(settings.GOLDPAN_OBJECTS, adapter.files[name]), as_attachment=True, filename=name,
                        content_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"})
