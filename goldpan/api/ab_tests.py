"""A/B tests on live traffic, and the comparisons on the same requests that come before them."""

from datetime import datetime
from typing import Any, Literal

from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import Request, on
from goldpan.api.shapes import IntervalShape, JobShape, PromotionShape
from projects.models import Project
from serving.models import Experiment, Shadow
from serving.services.experiments import (
    SAME,
    Asked,
    challengers_of,
    judge,
    ship,
    size_of,
    start_experiment,
    stop_experiment,
)
from serving.services.shadows import ask_people, shadow_shown, start_shadow
from training.models import Promotion

router = Router(tags=["A/B tests"])


class ChallengerShape(Schema):
    name: str = Field(description="As a test or a shadow asks for it.")
    title: str


class ChallengersShape(Schema):
    items: list[ChallengerShape]


@router.get("/projects/{id}/challengers", response=ChallengersShape)
@on(Project, "see_live")
def challenger_list(request: Request, project: Project) -> dict[str, Any]:
    """What can be tried against the champion: evaluated adapters and prompts that do not serve."""
    return {"items": challengers_of(project)}


class SizeAsked(Schema):
    """Shares in per cent, as on the page."""

    outcome: Literal["thumb", "value", "correction_free"] = "thumb"
    share: float = Field(50, ge=1, le=99, description="Of the users that get the challenger.")
    base: float = Field(ge=0.1, le=99.9, description="The champion's share of good outcomes.")
    difference: float = Field(5, ge=-99, le=99, description="The smallest that matters, in points.")
    feedback_rate: float = Field(gt=0, le=100, description="Of the users that give feedback.")
    units_a_week: float = Field(ge=1, le=1e9, description="Users or threads.")
    cap: float = Field(1, gt=0, le=1e12, description="The outcome's value that counts as 1.")

    @property
    def asked(self) -> Asked:
        return Asked(self.outcome, self.base / 100, self.difference / 100, self.feedback_rate / 100, self.units_a_week,
                     self.share / 100, self.cap)


class SizeShape(Schema):
    n_rated: int = Field(description="Units with an outcome, per arm.")
    n_units: int = Field(description="Units in all.")
    weeks: float
    fits: bool = Field(description="Within 8 weeks.")
    words: str


@router.get("/projects/{id}/ab-tests/size", response=SizeShape)
@on(Project, "see_live")
def ab_test_size(request: Request, project: Project, asked: Query[SizeAsked]) -> Any:
    """How many users and weeks a test takes."""
    return size_of(asked.asked)


class AbTestShape(Schema):
    """An A/B test. The plan is fixed at its start; shares here are from 0 to 1."""

    id: int
    project_id: int
    state: Literal["running", "ended"]
    champion_id: int = Field(description="The deployment.")
    challenger_id: int = Field(description="The deployment; in an A/A test the champion's.")
    share: float
    outcome: Literal["thumb", "value", "correction_free"]
    engine: Literal["planned looks", "always valid"]
    n_max: int = Field(description="Units with an outcome per arm at which it ends.")
    is_aa: bool
    is_cheaper: bool
    margin: float
    slow_seconds: float
    started_at: datetime


@router.get("/projects/{id}/ab-tests", response=Page[AbTestShape])
@on(Project, "see_live")
def ab_test_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """The project's tests, newest first."""
    return page_of(Experiment.objects.filter(project=project), paging)


class TestAsked(SizeAsked):
    challenger: str = Field(max_length=40, description=f"A name of the challengers, or “{SAME}” for an A/A test.")
    engine: Literal["planned looks", "always valid"] = "planned looks"
    is_cheaper: bool = Field(False, description="A challenger that is hardly worse is shipped, too.")
    margin: float = Field(1, ge=0, le=50, description="How much worse it may be then, in points.")
    slow_seconds: float = Field(5, gt=0, le=3600, description="From which on an answer is slow.")


@router.post("/projects/{id}/ab-tests", response={201: AbTestShape})
@on(Project, "run_ab_test")
def ab_test_start(request: Request, project: Project, asked: TestAsked) -> Status:
    """Split the users from the next request on. The plan is fixed then."""
    return Status(201, start_experiment(
        project, challenger=asked.challenger, asked=asked.asked, by=request.auth.user, engine=asked.engine,
        is_aa=asked.challenger == SAME, is_cheaper=asked.is_cheaper, margin=asked.margin / 100,
        slow_seconds=asked.slow_seconds))


class TestLookShape(Schema):
    number: int
    fraction: float = Field(description="Of the planned information.")
    z: float
    bound: float
    interval: IntervalShape


class HarmShape(Schema):
    name: str
    e_value: float = Field(description="Evidence; harm at `needed`.")
    needed: float
    is_harm: bool
    n: int
    words: str


class ArmShape(Schema):
    name: str
    n_exposed: int
    n: int = Field(description="Units with an outcome.")
    total: float = Field(description="Sum of the outcomes, each from 0 to 1.")


class AbTestDetailShape(Schema):
    """A test as it stands, or as it ended."""

    test: AbTestShape = Field(alias="experiment")
    verdict: str = Field(alias="outcome", description="CONTINUE while it is open; what it came to at its end.")
    words: list[str]
    champion: ArmShape
    challenger: ArmShape
    difference: IntervalShape | None = Field(alias="interval", description="As what decides has it; null before that.")
    band: IntervalShape | None = Field(description="Always valid.")
    ratio: str
    harms: list[HarmShape]
    looks: list[TestLookShape]
    days: float

    @staticmethod
    def resolve_ratio(judged: Any) -> str:
        return str(judged.ratio.words)


@router.get("/ab-tests/{id}", response=AbTestDetailShape)
@on(Experiment, "see_live")
def ab_test(request: Request, experiment: Experiment) -> Any:
    """How a test stands, or how it ended: judged when it is asked for. A look that is due is taken."""
    return judge(experiment)


class ReasonAsked(Schema):
    reason: str = Field(min_length=1, max_length=1000)


@router.post("/ab-tests/{id}/stop", response=AbTestDetailShape)
@on(Experiment, "run_ab_test")
def ab_test_stop(request: Request, experiment: Experiment, asked: ReasonAsked) -> Any:
    """Stop a test before its end: everybody gets the champion, and there is no result."""
    stop_experiment(experiment, reason=asked.reason, by=request.auth.user)
    return judge(Experiment.objects.get(pk=experiment.pk))


@router.post("/ab-tests/{id}/ship", response=PromotionShape)
@on(Experiment, "promote")
def ab_test_ship(request: Request, experiment: Experiment, asked: ReasonAsked) -> Promotion:
    """Promote the challenger of a test that found it better, an adapter or a prompt, through the gate."""
    return ship(experiment, reason=asked.reason, by=request.auth.user)


class ShadowAsked(Schema):
    challenger: str = Field(max_length=40, description="A name of the challengers.")
    n: int = Field(200, ge=1, le=2000, description="Kept requests that both are asked.")


@router.post("/projects/{id}/shadows", response={202: JobShape})
@on(Project, "check_live")
def shadow_start(request: Request, project: Project, asked: ShadowAsked) -> Status:
    """Ask champion and challenger the same kept requests: a job that ends in a shadow."""
    return Status(202, start_shadow(project, challenger=asked.challenger, n=asked.n, by=request.auth.user))


class ShadowShape(Schema):
    """Champion and challenger asked the same kept requests."""

    id: int
    project_id: int
    champion_id: int
    challenger_id: int
    n: int
    n_differing: int
    created_at: datetime


@router.get("/projects/{id}/shadows", response=Page[ShadowShape])
@on(Project, "see_live")
def shadow_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Comparisons on the same requests, newest first."""
    return page_of(Shadow.objects.filter(project=project), paging)


class ShadowDetailShape(ShadowShape):
    words: list[str]
    judged_in: int | None = Field(description="The project in which people judge; null before they are asked.")
    n_open: int = Field(description="Pairs that nobody has judged.")


@router.get("/shadows/{id}", response=ShadowDetailShape)
@on(Shadow, "see_live")
def shadow(request: Request, shadow: Shadow) -> dict[str, Any]:
    """One comparison: how many answers differ, what it would take to tell, what people say."""
    shown = shadow_shown(shadow)
    same = ("id", "project_id", "champion_id", "challenger_id", "n", "n_differing", "created_at")
    return {name: getattr(shadow, name) for name in same} | {
        "words": [shown.to_judge.words, *([shown.result.words] if shown.result else [])], "n_open": shown.n_open,
        "judged_in": shown.comparison.judged_in_id if shown.comparison else None}


@router.post("/shadows/{id}/people", response={201: ShadowShape})
@on(Shadow, "run_ab_test")
def shadow_people(request: Request, shadow: Shadow) -> Status:
    """Let people judge the differing answers blind.

    A project of type preference is made for it, with a batch in Label Studio.
    """
    ask_people(shadow, by=request.auth.user)
    return Status(201, shadow)
