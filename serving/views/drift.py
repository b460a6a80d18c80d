"""Whether what serves stays good: looks, signals, the alarm, and proposals to train again."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from projects.models import Project
from projects.rights import MAY, on, role_in
from projects.views import Request
from serving.forms import DecisionForm, WatchPlanForm
from serving.models import Look, TrainingProposal
from serving.services.drift import advice_for, drift_of, look_page, proposal_page, usual_floor
from serving.services.kept_traffic import today_in_utc
from serving.services.looks import start_extra_now
from serving.services.proposals import decide
from serving.services.watch_plans import save_plan, shown_plan, watched_of

NAV = "serving:live"
ACTIONS = ("edit_watch", "decide_training", "run_labeling", "promote")


@on(Project, "see_live")
@require_GET
def drift(request: Request, project: Project) -> HttpResponse:
    return render(request, "serving/drift.html", {
        "project": project, "drift": drift_of(project), "nav": NAV, "may": _may(request, project)})


@on(Project, "edit_watch")
@require_http_methods(["GET", "POST"])
def plan(request: Request, project: Project) -> HttpResponse:
    now, watched = timezone.now(), watched_of(project)
    form = WatchPlanForm(request.POST or None, instance=watched.plan if watched else shown_plan(project, now=now),
                         default_floor=usual_floor(project, watched))
    if request.method == "POST" and form.is_valid():
        save_plan(project, form.values, reason=form.cleaned_data["reason"], by=request.user, now=now)
        messages.success(request, "Saved. It counts from the next look on.")
        return redirect("serving:drift", project.pk)
    return render(request, "serving/watch_plan.html", {
        "project": project, "form": form, "nav": NAV, "advice": advice_for(project, watched, form.asked)},
        status=422 if form.is_bound and form.errors else 200)


@on(Project, "edit_watch")
@require_GET
def advice(request: Request, project: Project) -> HttpResponse:
    """How soon a drop would be seen with the values of the form. Nothing is saved."""
    watched = watched_of(project)
    form = WatchPlanForm(request.GET, instance=watched.plan if watched else shown_plan(project, now=timezone.now()))
    form.is_valid()
    return render(request, "serving/_advice.html", {
        "project": project, "advice": advice_for(project, watched, form.asked)})


@on(Project, "run_labeling")
@require_POST
def extra(request: Request, project: Project) -> HttpResponse:
    start_extra_now(project, by=request.user, today=today_in_utc())
    messages.success(request, "What looks new is drawn; its labels are asked for within a minute.")
    return redirect("serving:drift", project.pk)


@on(Look, "see_live")
@require_GET
def look(request: Request, look: Look) -> HttpResponse:
    return render(request, "serving/look.html", {"project": look.project, "nav": NAV, "page": look_page(look)})


@on(TrainingProposal, "see_live")
@require_GET
def proposal(request: Request, proposal: TrainingProposal) -> HttpResponse:
    return _proposal_page(request, proposal, DecisionForm())


@on(TrainingProposal, "decide_training")
@require_POST
def proposal_decide(request: Request, proposal: TrainingProposal) -> HttpResponse:
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _proposal_page(request, proposal, form, status=422)
    decide(proposal, approves=form.cleaned_data["verdict"] == "approve", reason=form.cleaned_data["reason"],
           by=request.user)
    return redirect("serving:proposal", proposal.pk)


def _proposal_page(request: Request, proposal: TrainingProposal, form: DecisionForm, *,
                   status: int = 200) -> HttpResponse:
    project = proposal.project
    return render(request, "serving/proposal.html", {
        "project": project, "nav": NAV, "page": proposal_page(proposal), "form": form,
        "may": _may(request, project)}, status=status)


def _may(request: Request, project: Project) -> dict[str, bool]:
    role = role_in(request.user, project)
    return {action: role in MAY[action] for action in ACTIONS}
