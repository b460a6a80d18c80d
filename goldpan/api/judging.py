"""Two runs' written answers judged in pairs: by people, who see no names, and by a judge model."""

from datetime import datetime
from typing import Any

from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from goldpan.api.shapes import IntervalShape, JobShape
from projects.models import Project
from training.models import PairwiseEvaluation, Run
from training.services.judges import start_judging
from training.services.pairwise import counted_judge, open_pairwise, weighed

router = Router(tags=["Answers in pairs"])


class PairwiseShape(Schema):
    """Pairs of two runs' answers to the same test rows. The second run is the later one."""

    id: int
    first_run_id: int
    second_run_id: int
    created_at: datetime

    @staticmethod
    def resolve_first_run_id(pairwise: Any) -> int:
        return int(pairwise.first.run_id)

    @staticmethod
    def resolve_second_run_id(pairwise: Any) -> int:
        return int(pairwise.second.run_id)


class JudgeShape(Schema):
    """A judge model that was asked about every pair in both orders."""

    model: str
    prompt_version: int
    agreement: IntervalShape | None = Field(description="Says the same as people, of the pairs that both have judged.")
    kappa: IntervalShape | None = Field(description="Cohen's, beyond chance; not counted unless it lies above 0.")
    consistency: IntervalShape = Field(description="Names the same answer in both orders.")
    n_unread: int = Field(description="Pairs of which its answer could not be read: ties.")


class PairwiseDetailShape(Schema):
    """Where the judging stands. Win rates are the second run's, ties counting half."""

    pairwise: PairwiseShape
    n: int = Field(description="Pairs.")
    n_settled: int = Field(description="Equal or unreadable, so that nobody is asked.")
    n_human: int = Field(description="Judged by people.")
    n_ties: int
    n_open: int = Field(description="To be judged.")
    n_needed: int = Field(description="That people have to judge before a figure counts.")
    is_counted: bool
    human: IntervalShape | None = Field(description="By people alone.")
    corrected: IntervalShape | None = Field(description="By people, sharpened by the judge; null unless that counts.")
    hidden_because: str = Field(description="Why the judge does not count, and what to do.")
    judge: JudgeShape | None


@router.get("/projects/{id}/pairwise", response=Page[PairwiseShape])
@on(Project, "see_runs")
def pairwise_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """Whose answers are judged in pairs, newest first."""
    rows = PairwiseEvaluation.objects.filter(first__snapshot__project=project).select_related("first", "second")
    return page_of(rows, paging)


class PairwiseAsked(Schema):
    other: int = Field(ge=1, le=MAX_ID, description="The run that it is compared with, of the same snapshot.")


@router.post("/runs/{id}/pairwise", response={201: PairwiseShape})
@on(Run, "judge_answers")
def pairwise_open(request: Request, run: Run, asked: PairwiseAsked) -> Status:
    """Draw the pairs of two runs' answers; those that are drawn already are told.

    People then judge them on the page, without knowing which answer is whose.
    """
    other = get_object_or_404(Run.objects.filter(snapshot=run.snapshot), pk=asked.other)
    return Status(201, open_pairwise(run, other, by=request.auth.user))


@router.get("/pairwise/{id}", response=PairwiseDetailShape)
@on(PairwiseEvaluation, "see_runs")
def pairwise(request: Request, pairwise: PairwiseEvaluation) -> dict[str, Any]:
    """Which run answers better, as far as people and the judge have said."""
    found, judge = weighed(pairwise), counted_judge(pairwise)
    same = ("n", "n_settled", "n_human", "n_ties", "n_open", "n_needed", "is_counted", "human", "corrected",
            "hidden_because")
    return {name: getattr(found, name) for name in same} | {
        "pairwise": pairwise, "judge": judge and vars(found.record) | {
            "model": judge.model, "prompt_version": judge.prompt_version}}


@router.post("/pairwise/{id}/ask", response={202: JobShape})
@on(PairwiseEvaluation, "judge_answers")
def pairwise_ask(request: Request, pairwise: PairwiseEvaluation) -> Status:
    """Ask the judge model of the settings about every pair, in both orders: a job.

    What it says only sharpens people's figure, and only where it agrees with them beyond chance.
    """
    return Status(202, start_judging(pairwise, by=request.auth.user))
