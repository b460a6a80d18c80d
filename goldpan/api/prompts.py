"""Prompts, the verdict on them, and the comparison of all runs."""

from datetime import datetime
from typing import Any, Literal

from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema, Status
from pydantic import Field

from curation.models import Snapshot
from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import Request, on
from goldpan.api.shapes import IntervalShape, JobShape
from projects.models import Project
from training.models import PromptVersion, Verdict
from training.services.baseline import start_baseline
from training.services.comparison import compare
from training.services.written_prompts import MAX_CHARS, Words, change_prompt, start_try, write_prompt

router = Router(tags=["Prompts, runs and adapters"])


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


class PromptShape(Schema):
    id: int
    name: str
    version: int
    system: str
    instruction: str
    examples: Literal["none", "spread", "nearest"]
    note: str
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_created_by(version: Any) -> str:
        return str(version.created_by)


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


class VerdictShape(Schema):
    """Whether the best prompt is good enough."""

    outcome: Literal["PROMPT_OK", "FINE_TUNE", "INCONCLUSIVE"]
    advice: str = Field(description="The outcome once gain, worth and cost are weighed.")
    words: str
    next_step: str
    target_metric: str
    target_value: float
    lower: float = Field(description="One-sided 95 % bound.")
    upper: float = Field(description="One-sided 95 % bound.")
    best_prompt_run_id: int
    created_at: datetime

    @staticmethod
    def resolve_words(verdict: Any) -> str:
        return str(verdict.all_words)

    @staticmethod
    def resolve_next_step(verdict: Any) -> str:
        return str(verdict.step)

    @staticmethod
    def resolve_best_prompt_run_id(verdict: Any) -> int:
        return int(verdict.best_prompt_id)


@router.get("/snapshots/{id}/verdict", response=VerdictShape)
@on(Snapshot, "see_runs")
def verdict(request: Request, snapshot: Snapshot) -> Verdict:
    """Whether the best prompt is good enough; a 404 before the baseline has ended."""
    return get_object_or_404(Verdict, snapshot=snapshot)


class DifferenceShape(Schema):
    difference: IntervalShape
    p_value: float


class RivalShape(Schema):
    run_id: int
    name: str
    score: IntervalShape
    is_best_prompt: bool
    against_prompt: DifferenceShape | None
    seconds_per_thousand: float | None
    cost_per_thousand: float | None
    train_seconds: float | None

    @staticmethod
    def resolve_run_id(rival: Any) -> int:
        return int(rival.run.pk)


class ComparisonShape(Schema):
    """Every run that was judged on the snapshot's test rows."""

    headline: str
    paragraph: str
    tone: Literal["yes", "no", "open"]
    metric: str
    n_looks: int
    rivals: list[RivalShape]


@router.get("/snapshots/{id}/comparison", response=ComparisonShape)
@on(Snapshot, "see_runs")
def comparison(request: Request, snapshot: Snapshot) -> Any:
    """Every run on the same test rows, and the best adapter against the best prompt in words."""
    return compare(snapshot)
