"""Quotes, trainings and other runs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema, Status
from pydantic import Field

from curation.models import Snapshot
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import IntervalShape, JobShape
from jobs.services import cancel
from projects.errors import UserError
from projects.models import Project
from training.models import Adapter, Quote, Run
from training.services.evaluation import queue_evaluation
from training.services.executors import EXECUTORS
from training.services.quotes import recipe_config, start_quote
from training.services.runs import keep_best, live_metrics, raise_cap, start_training

router = Router(tags=["Prompts, runs and adapters"])
Settings = dict[str, int | float | Annotated[str, Field(max_length=20)]]
SETTINGS = "Of the training, where they differ from the defaults: method, epochs, learning_rate, r, … as on the page."


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


class QuoteShape(Schema):
    """What a training will take, by real steps that were tried."""

    id: int
    snapshot_id: int
    settings: dict[str, Any] = Field(description="Of the training.")
    seconds: float
    seconds_low: float
    seconds_high: float
    cpu_seconds: float
    peak_mb: float
    n_steps: int
    money: float | None
    currency: str
    cap_seconds: float
    words: list[str]
    created_at: datetime

    @staticmethod
    def resolve_settings(quote: Any) -> dict[str, Any]:
        return dict(quote.config["training"])


@router.get("/snapshots/{id}/quotes", response=Page[QuoteShape])
@on(Snapshot, "train")
def quote_list(request: Request, snapshot: Snapshot, paging: Query[Paging]) -> dict[str, Any]:
    """The snapshot's quotes, newest first."""
    return page_of(Quote.objects.filter(snapshot=snapshot), paging)


class TrainingAsked(Schema):
    quote: int | None = Field(None, ge=1, le=MAX_ID, description="Whose settings are trained.")
    settings: Settings | None = Field(None, max_length=30, description=f"In place of a quote's. {SETTINGS}")
    executor: str = Field("local", max_length=20, description="Where it is trained, of those that the settings offer: "
                          f"{', '.join(EXECUTORS)}. Elsewhere no quote is needed.")
    cap_seconds: float | None = Field(None, gt=0, le=1e9, description="Where it stops; the quote's cap if left out.")
    cap_money: float | None = Field(None, gt=0, le=1e9)
    override_reason: str = Field("", max_length=2000, description="Why to train although the gate advises against it.")


class RunShape(Schema):
    """One attempt: a prompt, the probe, or a LoRA training."""

    id: int
    snapshot_id: int
    kind: str
    title: str
    executor: str
    seed: int
    job: JobShape
    adapter_id: int | None
    override_reason: str
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(run: Any) -> str:
        return str(run.created_by)

    @staticmethod
    def resolve_adapter_id(run: Any) -> int | None:
        adapter = getattr(run, "adapter", None)
        return adapter.pk if adapter else None


@router.post("/snapshots/{id}/runs", response={202: RunShape})
@on(Snapshot, "train")
def train(request: Request, snapshot: Snapshot, asked: TrainingAsked) -> Status:
    """Train a LoRA adapter: here by a quote, elsewhere by an executor; its evaluation follows by itself."""
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


class EvaluationShape(Schema):
    split: str
    n: int
    n_right: int | None
    metric: str
    score: IntervalShape
    metrics: dict[str, Any]
    seconds: float

    @staticmethod
    def resolve_score(evaluation: Any) -> Any:
        return evaluation.measured.interval


class RunDetailShape(RunShape):
    config: dict[str, Any]
    evaluations: list[EvaluationShape]

    @staticmethod
    def resolve_evaluations(run: Any) -> list[Any]:
        return list(run.evaluations.all())


@router.get("/runs/{id}", response=RunDetailShape)
@on(Run, "see_runs")
def run(request: Request, run: Run) -> Run:
    """One run: its settings, and what it got on dev and test."""
    return run


class CurveShape(Schema):
    """Loss and dev figures by step, as far as they have come."""

    points: list[dict[str, Any]]


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
