from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.views.page import Request, page_or_part
from projects.rights import on
from training.judging import MIN_HUMAN
from training.models import AnswerPair, JudgeRun, PairwiseEvaluation, Run
from training.services.judges import configured_judge, judge_cost, judge_obstacle, start_judging
from training.services.pairwise import (
    counted_judge,
    disagreements,
    judge_pair,
    next_to_judge,
    open_pairwise,
    undo_preference,
    weighed,
)
from training.views.page import may


@on(Run, "judge_answers")
@require_POST
def pairwise_open(request: Request, run: Run) -> HttpResponse:
    """Draw the pairs of this run's answers and another's, or open those that are drawn."""
    named = request.POST.get("with", "")
    other = get_object_or_404(Run.objects.filter(snapshot=run.snapshot), pk=int(named) if named.isdecimal() else 0)
    return redirect("training:pairwise", open_pairwise(run, other, by=request.user).pk)


@on(PairwiseEvaluation, "see_runs")
@require_GET
def pairwise_detail(request: Request, pairwise: PairwiseEvaluation) -> HttpResponse:
    found, counted = weighed(pairwise), counted_judge(pairwise)
    newest = JudgeRun.objects.filter(pairwise=pairwise).select_related("job").first()
    judge = configured_judge()
    return render(request, "training/pairwise.html", {
        "project": pairwise.project, "nav": "training:run-list", "pairwise": pairwise, "found": found,
        "first": pairwise.first.run, "second": pairwise.second.run, "snapshot": pairwise.first.snapshot,
        "judge_run": counted, "job": newest.job if newest and newest != counted else None,
        "configured": judge, "obstacle": judge_obstacle(pairwise, judge), "min_human": MIN_HUMAN,
        "has_same_judge": counted is not None and counted.model == judge.model,
        "cost": judge_cost(counted) if counted else None, "may": may(request, pairwise.project),
        "differing": disagreements(pairwise, counted) if counted and found.is_counted else []})


@on(PairwiseEvaluation, "judge_answers")
@require_POST
def pairwise_ask(request: Request, pairwise: PairwiseEvaluation) -> HttpResponse:
    job = start_judging(pairwise, by=request.user)
    messages.success(request, f"{job.title}, each in both orders.")
    return redirect("training:pairwise", pairwise.pk)


@on(PairwiseEvaluation, "judge_answers")
@require_http_methods(["GET", "POST"])
def pairwise_judge(request: Request, pairwise: PairwiseEvaluation) -> HttpResponse:
    """One pair after the other, blind; a judgement, or taking the last one back."""
    if request.method == "GET":
        return _pair(request, pairwise)
    choice, number = request.POST.get("choice", ""), request.POST.get("pair", "")
    taken_back = ""
    if choice == "undo":
        undo_preference(pairwise, by=request.user)
        taken_back = "Your judgement is taken back."
    else:
        pair = get_object_or_404(AnswerPair.objects.filter(pairwise=pairwise).select_related(
            "pairwise__first__snapshot__project"), pk=int(number) if number.isdecimal() else 0)
        judge_pair(pair, choice=choice, by=request.user)
    if not request.htmx:
        messages.success(request, taken_back or "Judged.")
        return redirect("training:pairwise-judge", pairwise.pk)
    return _pair(request, pairwise, taken_back=taken_back)


def _pair(request: Request, pairwise: PairwiseEvaluation, *, taken_back: str = "") -> HttpResponse:
    shown, found = next_to_judge(pairwise, by=request.user), weighed(pairwise)
    context: dict[str, Any] = {
        "project": pairwise.project, "nav": "training:run-list", "pairwise": pairwise, "shown": shown, "found": found,
        "n_wanted": min(MIN_HUMAN, found.n_to_judge), "taken_back": taken_back}
    return page_or_part(request, "training/pairwise_judge.html", "training/_pairwise_judge.html", context)
