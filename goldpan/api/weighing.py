"""What it is worth: experiments on the data, forecasts, economics and prices; maps and selections."""

from datetime import date, datetime
from typing import Any, Literal

import numpy as np
from django.db.models import QuerySet
from ninja import Query, Router, Schema, Status
from ninja.errors import ValidationError
from pydantic import Field

from curation.models import Experiment, LabelForecast, Map, Selection
from curation.services.experiments import start_experiment
from curation.services.forecasts import start_forecast
from curation.services.maps import start_map
from curation.services.selections import create_selection, selected_ids
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import BatchShape, JobShape
from jobs.models import Job
from labeling.models import Example
from labeling.services.batches import Overlap, create_batch
from labeling.services.sync import start_sync
from projects.errors import UserError
from projects.models import Project
from training.forms import EconomicsForm, PriceForm
from training.models import ArmTraining, Price
from training.services.arms import plan_of, start_arms
from training.services.economics import economics_of, save_economics
from training.services.prices import add_price, prices, withdraw_price

router = Router(tags=["Experiments and economics"])


def _checked(form: Any) -> dict[str, Any]:
    """What a page's form makes of it; what it finds wrong is told field by field, as of every body."""
    if not form.is_valid():
        raise ValidationError([{"loc": ("body", name), "msg": message} for name, messages in form.errors.items()
                               for message in messages])
    return dict(form.cleaned_data)


# Experiments on the data

def _experiments(project: Project) -> QuerySet[Experiment]:
    return Experiment.objects.filter(project=project).select_related("created_by").prefetch_related("arms")


class ExperimentAsked(Schema):
    kind: Literal["arms", "fixes"] = Field("arms", description="arms: which rows are worth it; fixes: what corrections "
                                           "brought and may bring.")
    split: Literal["dev", "test"] = Field("dev", description="The rows that judge; a look at test counts.")


@router.post("/projects/{id}/experiments", response={202: JobShape})
@on(Project, "experiment")
def experiment_start(request: Request, project: Project, asked: ExperimentAsked) -> Status:
    """Compare what the same probe learns from different choices of rows: a job that ends in an experiment.

    One that runs already is told in place of a second one.
    """
    waiting = Job.objects.active().filter(project=project, kind="experiment").first()
    return Status(202, waiting or start_experiment(project, kind=asked.kind, split=asked.split, by=request.auth.user))


class ExperimentArmShape(Schema):
    position: int
    name: str
    what: str
    n_rows: int
    accuracies: list[float] = Field(description="One per draw.")
    accuracy: dict[str, Any] = Field(description="Their mean with its interval.")
    difference: dict[str, Any] | None = Field(description="To the first arm, paired; null for that one.")


class ExperimentShape(Schema):
    id: int
    project_id: int
    kind: str
    split: str
    n: int = Field(description="Rows that judged.")
    verdict: list[str] = Field(description="In words, the headline first.")
    arms: list[ExperimentArmShape]
    groups: list[dict[str, Any]] = Field(description="Of fixes: groups of flagged rows and what they may bring.")
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(experiment: Any) -> str:
        return str(experiment.created_by)


@router.get("/projects/{id}/experiments", response=Page[ExperimentShape])
@on(Project, "experiment")
def experiment_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Experiments on the data with their arms, newest first."""
    return page_of(_experiments(project), paging)


@router.get("/experiments/{id}", response=ExperimentShape)
@on(Experiment, "experiment")
def experiment(request: Request, experiment: Experiment) -> Experiment:
    """One experiment."""
    return experiment


@router.post("/projects/{id}/forecasts", response={202: JobShape})
@on(Project, "experiment")
def forecast_start(request: Request, project: Project) -> Status:
    """Forecast how many labels the target may take: a job."""
    waiting = Job.objects.active().filter(project=project, kind="forecast").first()
    return Status(202, waiting or start_forecast(project, by=request.auth.user))


class ForecastShape(Schema):
    """How many labels the target may take."""

    id: int
    target_metric: str
    target_value: float
    n_train: int
    n_dev: int
    words: list[str] = Field(description="The headline first.")
    found: dict[str, Any] = Field(description="The curve with its band, labels, seconds and price.")
    created_at: datetime


@router.get("/projects/{id}/forecasts", response=Page[ForecastShape])
@on(Project, "experiment")
def forecast_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Forecasts, newest first."""
    return page_of(LabelForecast.objects.filter(project=project), paging)


class ArmsAsked(Schema):
    positions: list[int] = Field(min_length=2, max_length=100, description="Of the experiment's arms.")
    n_seeds: int = Field(3, ge=1, le=100, description="Trainings of every arm.")
    steps: int | None = Field(None, ge=1, le=100_000, description="Of every training; passes over its own rows if left "
                              "out.")


@router.post("/experiments/{id}/trainings", response={202: JobShape})
@on(Experiment, "train")
def arms_start(request: Request, experiment: Experiment, asked: ArmsAsked) -> Status:
    """Learn arms of an experiment with the language model, by LoRA, too: a job."""
    return Status(202, start_arms(experiment, plan_of(experiment, **asked.model_dump()), by=request.auth.user).job)


class ArmTrainingShape(Schema):
    id: int
    experiment_id: int
    job_id: int
    positions: list[int]
    seeds: list[int]
    steps: int | None
    arms: list[dict[str, Any]] | None = Field(description="The figures of each, once all is judged.")
    created_at: datetime

    @staticmethod
    def resolve_arms(training: Any) -> Any:
        return getattr(getattr(training, "verdict", None), "arms", None)


@router.get("/experiments/{id}/trainings", response=Page[ArmTrainingShape])
@on(Experiment, "see_runs")
def arm_training_list(request: Request, experiment: Experiment, paging: Query[Paging]) -> dict[str, Any]:
    """What the language model made of the arms, newest first."""
    return page_of(ArmTraining.objects.filter(experiment=experiment).select_related("verdict"), paging)


# Economics

class EconomicsShape(Schema):
    """What answers are worth and cost. Amounts are in the project's currency, shares in 0 to 1."""

    requests: float | None = Field(None, ge=0, description="A month, the likeliest.")
    requests_low: float | None = Field(None, ge=0)
    requests_high: float | None = Field(None, ge=0)
    months: float | None = Field(None, ge=0, description="That a trained model would be used.")
    value: float | None = Field(None, ge=0, description="Of a right answer in place of a wrong one.")
    value_low: float | None = Field(None, ge=0)
    value_high: float | None = Field(None, ge=0)
    realised: float | None = Field(None, ge=0, le=1, description="Share of the benefit that arrives.")
    realised_low: float | None = Field(None, ge=0, le=1)
    realised_high: float | None = Field(None, ge=0, le=1)
    machine_id: int | None = Field(None, ge=1, le=2**63 - 1, description="A price of what trains.")
    prompt_price_id: int | None = Field(None, ge=1, le=2**63 - 1, description="A price of what the prompt asks.")
    trained_price_id: int | None = Field(None, ge=1, le=2**63 - 1)
    tokens_in: float | None = Field(None, ge=0, description="Read for an answer by the prompt.")
    tokens_out: float | None = Field(None, ge=0)
    trained_tokens_in: float | None = Field(None, ge=0)
    cached_share: float | None = Field(None, ge=0, le=1)
    cached_discount: float | None = Field(None, ge=0, le=1)
    hosting: float | None = Field(None, ge=0, description="Of the trained model, a month.")
    retrainings: float | None = Field(None, ge=0, description="A year.")
    label_price: float | None = Field(None, ge=0)


@router.get("/projects/{id}/economics", response=EconomicsShape)
@on(Project, "say_economics")
def economics(request: Request, project: Project) -> Any:
    """What was said of worth and cost; null is what nobody has said."""
    return economics_of(project)


@router.put("/projects/{id}/economics", response=EconomicsShape)
@on(Project, "say_economics")
def economics_save(request: Request, project: Project, asked: EconomicsShape) -> Any:
    """Say what answers are worth and cost; verdicts are weighed with it."""
    given = asked.model_dump()
    for share in EconomicsForm.SHARES:  # the page asks for per cent
        given[share] = given[share] and 100 * given[share]
    for price in ("machine", "prompt_price", "trained_price"):
        given[price] = given.pop(f"{price}_id")
    form = EconomicsForm({name: value for name, value in given.items() if value is not None},
                         instance=economics_of(project))
    return save_economics(project, _checked(form), by=request.auth.user)


class PriceShape(Schema):
    id: int
    kind: str
    name: str
    currency: str
    per_hour: float | None
    memory_gb: float | None
    teraflops: float | None
    per_million_in: float | None
    per_million_out: float | None
    since: date
    source: str
    is_withdrawn: bool


@router.get("/projects/{id}/prices", response=list[PriceShape])
@on(Project, "edit_prices")
def price_list(request: Request, project: Project) -> list[Price]:
    """What machines and models cost: the rows that count."""
    return prices()


class PriceAsked(Schema):
    kind: Literal["machine", "tokens"]
    name: str = Field(min_length=1, max_length=80)
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    per_hour: float | None = Field(None, ge=0, description="Of a machine.")
    memory_gb: float | None = Field(None, ge=0)
    teraflops: float | None = Field(None, ge=0)
    per_million_in: float | None = Field(None, ge=0, description="Tokens read, of a model.")
    per_million_out: float | None = Field(None, ge=0, description="Tokens written.")
    since: date
    source: str = Field(min_length=1, max_length=200, description="Where it stands.")


@router.post("/projects/{id}/prices", response={201: PriceShape})
@on(Project, "edit_prices")
def price_add(request: Request, project: Project, asked: PriceAsked) -> Status:
    """Write down a price; a row of the same kind, name and currency counts no more."""
    form = PriceForm({name: value for name, value in asked.model_dump().items() if value is not None})
    return Status(201, add_price(_checked(form), by=request.auth.user))


class WithdrawalAsked(Schema):
    price: int = Field(ge=1, le=MAX_ID)


@router.post("/projects/{id}/prices/withdraw", response=PriceShape)
@on(Project, "edit_prices")
def price_withdraw(request: Request, project: Project, asked: WithdrawalAsked) -> Price:
    """Take a price out of the table; what was quoted with it keeps it."""
    price = next((row for row in prices() if row.pk == asked.price), None)
    if price is None:
        raise UserError("This price is not in the table any more.")
    return withdraw_price(price, by=request.auth.user)


# Maps and selections

class MapAsked(Schema):
    method: str = Field("pca", max_length=10, description="pca; pacmap or umap where they are installed.")


@router.post("/projects/{id}/maps", response={202: JobShape})
@on(Project, "score")
def map_draw(request: Request, project: Project, asked: MapAsked) -> Status:
    """Draw the map of the examples: a job. One that is being drawn is told in place of a second one."""
    waiting = Job.objects.active().filter(project=project, kind="map").first()
    return Status(202, waiting or start_map(project, by=request.auth.user, method=asked.method))


class MapShape(Schema):
    id: int
    project_id: int
    method: str
    encoder: str
    n_points: int
    explained: float | None = Field(description="Share of the variance that the two axes hold, for PCA.")
    created_at: datetime


@router.get("/projects/{id}/maps", response=Page[MapShape])
@on(Project, "see_examples")
def map_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Maps, newest first."""
    return page_of(Map.objects.filter(project=project), paging)


class SelectionAsked(Schema):
    examples: list[int] = Field(min_length=1, max_length=100_000, description="Their ids.")


class SelectionShape(Schema):
    id: int
    project_id: int
    n_examples: int
    created_at: datetime


@router.post("/projects/{id}/selections", response={201: SelectionShape})
@on(Project, "review")
def selection_create(request: Request, project: Project, asked: SelectionAsked) -> Status:
    """Keep some examples as a selection, as drawing a line around them on the map does."""
    wanted = set(asked.examples)
    found = [pk for pk in Example.objects.filter(project=project).values_list("pk", flat=True) if pk in wanted]
    if len(found) < len(wanted):
        raise UserError(f"{len(wanted) - len(found):,} of these {len(wanted):,} are no examples of the project.")
    return Status(201, create_selection(project, np.array(found), by=request.auth.user))


class SelectionBatchAsked(Schema):
    title: str = Field("labels", min_length=1, max_length=100)
    n_labels: int = Field(1, ge=1, le=20)
    overlap_share: float = Field(0.1, ge=0, le=1)
    overlap_labels: int = Field(2, ge=1, le=20)
    max_labels: int = Field(3, ge=1, le=20)
    skips: Literal["next_person", "set_aside"] = "next_person"
    vendor: str = Field("", max_length=100)


@router.post("/selections/{id}/batch", response={201: BatchShape})
@on(Selection, "run_labeling")
def selection_batch(request: Request, selection: Selection, asked: SelectionBatchAsked) -> Status:
    """Ask people to label all examples of a selection."""
    batch = create_batch(
        selection.project, selected_ids(selection).tolist(), title=asked.title, by=request.auth.user, skips=asked.skips,
        vendor=asked.vendor,
        overlap=Overlap(asked.n_labels, asked.overlap_share, asked.overlap_labels, asked.max_labels))
    start_sync(selection.project, by=request.auth.user)
    return Status(201, batch)
