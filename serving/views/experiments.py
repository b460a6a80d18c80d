import math

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from projects.models import Project
from projects.rights import MAY, on, role_in
from projects.views import Request
from serving.forms import ABTestForm, ReasonForm
from serving.models import Experiment, Shadow
from serving.services.deployments import CHAMPION, NotServed, choose
from serving.services.experiment_page import listed, shown
from serving.services.experiments import (
    challengers_of,
    running_experiment,
    ship,
    start_experiment,
    stop_experiment,
)
from serving.services.planning import facts_for, prefilled
from serving.services.shadows import kept_requests, shadow_job_of

NAV = "serving:live"  # a page of A/B tests belongs there
MEASURED = ("base", "difference", "feedback_rate", "units_a_week")


@on(Project, "see_live")
@require_GET
def ab_test_list(request: Request, project: Project) -> HttpResponse:
    return render(request, "serving/ab_tests.html", {
        "project": project, "nav": NAV, "tests": listed(project), "challengers": challengers_of(project),
        "obstacle": _obstacle(project), "shadow_job": shadow_job_of(project), "n_kept": kept_requests(project).count(),
        "shadows": Shadow.objects.filter(project=project).select_related(
            "champion__adapter", "champion__run", "challenger__adapter", "challenger__run"),
        "may": may(request, project)})


@on(Project, "run_ab_test")
@require_http_methods(["GET", "POST"])
def ab_test_new(request: Request, project: Project) -> HttpResponse:
    """The plan stands in the address; what is started is what the page has worked out."""
    challengers, given = challengers_of(project), request.GET
    outcome = given.get("outcome") or "thumb"
    facts = facts_for(project, outcome, cap=_number(given.get("cap")))
    start = {name: field.initial for name, field in ABTestForm(challengers=challengers).fields.items()
             if field.initial is not None} | prefilled(facts) | {
        "challenger": given.get("challenger") or (challengers[0].name if challengers else "same"), "outcome": outcome}
    is_replanned = given.get("planned_for", outcome) != outcome  # what was measured of another outcome says nothing
    kept = {name: given[name] for name in given if not (is_replanned and name in MEASURED)}
    data = request.POST if request.method == "POST" else {**start, **kept}
    form = ABTestForm(data, challengers=challengers)
    form.say_what_is_measured(facts)
    if request.method == "POST" and form.is_valid():
        experiment = start_experiment(project, by=request.user, **form.plan)
        messages.success(request, f"{experiment} runs from the next request on.")
        return redirect("serving:ab-test", experiment.pk)
    return render(request, "serving/ab_test_new.html", {
        "project": project, "nav": NAV, "form": form, "facts": facts, "obstacle": _obstacle(project),
        "size": form.size if form.is_valid() else None, "challengers": challengers,
        "worked_out": [(field.html_name, field.value()) for field in form if field.value() not in (None, "", False)],
        "is_first": not Experiment.objects.filter(project=project).exists(),
        "running": running_experiment(project)},
        status=422 if request.method == "POST" else 200)


@on(Experiment, "see_live")
@require_GET
def ab_test(request: Request, experiment: Experiment) -> HttpResponse:
    return _page(request, experiment)


@on(Experiment, "run_ab_test")
@require_POST
def ab_test_stop(request: Request, experiment: Experiment) -> HttpResponse:
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, experiment, form)
    stop_experiment(experiment, reason=form.cleaned_data["reason"], by=request.user)
    messages.success(request, f"{experiment} is stopped. Everybody gets the champion from the next request on.")
    return redirect("serving:ab-test", experiment.pk)


@on(Experiment, "promote")
@require_POST
def ab_test_ship(request: Request, experiment: Experiment) -> HttpResponse:
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, experiment, form)
    ship(experiment, reason=form.cleaned_data["reason"], by=request.user)
    messages.success(request, f"{experiment.challenger.title} is the champion now.")
    return redirect("serving:live", experiment.project_id)


def _page(request: Request, experiment: Experiment, form: ReasonForm | None = None) -> HttpResponse:
    return render(request, "serving/ab_test.html", {
        "project": experiment.project, "nav": NAV, "experiment": experiment, "shown": shown(experiment),
        "form": form or ReasonForm(), "may": may(request, experiment.project)}, status=422 if form else 200)


def may(request: Request, project: Project) -> dict[str, bool]:
    role = role_in(request.user, project)
    return {action: role in MAY[action] for action in ("run_ab_test", "promote", "check_live", "run_labeling")}


def _obstacle(project: Project) -> str:
    """Why nothing can be tested: nothing serves."""
    try:
        choose(project, CHAMPION)
    except NotServed as error:
        return str(error)
    return ""


def _number(said: str | None) -> float:
    """A number above 0, else 1."""
    try:
        number = float(said or 1)
    except ValueError:
        return 1.0
    return number if math.isfinite(number) and number > 0 else 1.0
