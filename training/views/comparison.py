from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from curation.models import Snapshot
from labeling.overlap import FREE_TEXT
from projects.errors import UserError
from projects.models import Project
from projects.rights import on
from projects.views import Request
from training.forms import BaselineForm, CriticalForm
from training.models import Adapter
from training.services.baseline import NO_PROBE, offered_arms, start_baseline
from training.services.comparison import MAX_LOOKS, compare
from training.services.overview import states_of
from training.services.pairwise import pairwise_of
from training.services.promotion import standing
from training.services.slices import compare_on_slices, critical_kinds, declare_critical
from training.services.suggestions import start_suggest
from training.slices import KINDS
from training.views.page import may


@on(Project, "run_labeling")
@require_POST
def suggest(request: Request, project: Project) -> HttpResponse:
    """Let the best model so far suggest labels for what people will get next."""
    job = start_suggest(project, by=request.user)
    messages.success(request, f"{job.title}. What is on desks already stays as it is.")
    return redirect("labeling:board", project.pk)


@on(Snapshot, "see_runs")
@require_GET
def comparison(request: Request, snapshot: Snapshot) -> HttpResponse:
    project, found = snapshot.project, compare(snapshot)
    adapter = found.lora.adapter if found.lora else None
    best, is_free = found.best_prompt, project.task_type in FREE_TEXT
    return render(request, "training/comparison.html", {
        "project": project, "nav": "training:run-list", "snapshot": snapshot, "comparison": found,
        "state": states_of(project, [snapshot])[0], "may": may(request, project), "adapter": adapter,
        "standing": standing(adapter) if adapter and adapter.stage != Adapter.Stage.champion else None,
        "slices": compare_on_slices(best.evaluation, found.lora.evaluation) if best and found.lora else [],
        "lora_run": found.lora.run if found.lora else None,
        "critical": [KINDS[kind] for kind in critical_kinds(project)],
        "critical_form": CriticalForm(initial={"kinds": critical_kinds(project)}),
        "pairwise": pairwise_of(found.lora.run, best.run) if best and found.lora and is_free else None,
        "is_free_text": is_free,
        "arms": [] if found.verdict else offered_arms(snapshot), "has_costs": any(
            rival.cost_per_thousand is not None for rival in found.rivals),
        "target": project.target_value, "max_looks": MAX_LOOKS, "no_probe": NO_PROBE.get(project.task_type, "")})


@on(Snapshot, "run_baseline")
@require_POST
def baseline_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    form = BaselineForm(request.POST, offers=offered_arms(snapshot))
    if not form.is_valid():
        raise UserError("One of the prompts on your page is not offered any more. Reload the page and choose again.")
    start_baseline(snapshot, by=request.user, arms=form.cleaned_data["arms"] if "choice" in request.POST else None)
    return redirect("training:comparison", snapshot.pk)


@on(Project, "promote")
@require_POST
def critical_slices(request: Request, project: Project) -> HttpResponse:
    form = CriticalForm(request.POST)
    if not form.is_valid():
        raise UserError("One of the kinds on your page is not known. Reload the page and choose again.")
    declare_critical(project, form.cleaned_data["kinds"], by=request.user)
    messages.success(request, "Written down. It counts for what is evaluated from now on.")
    snapshot = Snapshot.objects.filter(project=project, pk=request.POST.get("snapshot") or 0).first()
    return redirect("training:comparison", snapshot.pk) if snapshot else redirect("training:run-list", project.pk)
