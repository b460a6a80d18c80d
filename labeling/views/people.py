"""People who label: their report, a pause, an exam, and more to do."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from labeling.forms import PauseForm
from labeling.models import Annotator, Batch, Desk
from labeling.services.agreement import MIN_SHARED
from labeling.services.annotators import is_proven, names_for, report_on
from labeling.services.desks import annotator_of
from labeling.services.sync import start_sync
from labeling.services.trust import let_pass, pause, resume
from labeling.views.board import day_chart, examples_url
from projects.errors import UserError
from projects.models import Project
from projects.rights import can, on
from projects.views import Request


@on(Annotator, "see_project")
@require_GET
def annotator_detail(request: Request, annotator: Annotator) -> HttpResponse:
    """A report on one person, for curators; annotators open their own, without what would show known answers."""
    sees_all = can(request.user, "see_labeling", annotator.project)
    if not sees_all and annotator.user_id != request.user.pk:
        raise PermissionDenied("Annotators see their own report only.")
    name = names_for(annotator.project, request.user)[annotator.pk]
    context = {"annotator": annotator, "name": name, "nav": "labeling:board" if sees_all else "projects:detail",
               "sees_all": sees_all, "min_shared": MIN_SHARED}
    if not annotator.is_person:
        return render(request, "labeling/annotator_detail.html", context)
    report = report_on(annotator, for_themself=not sees_all)
    return render(request, "labeling/annotator_detail.html", context | {
        "report": report, "pause_form": PauseForm(), "begins_anew": bool(annotator.paused_at) and is_proven(annotator),
        "pairs": [(said, agreed, n, examples_url(annotator.project, said=said, by=annotator.pk, other=agreed))
                  for said, agreed, n in report.with_others.pairs],
        "chart": day_chart(report.daily, report.first_day, "Answers") if any(report.daily) else "",
        "may_run": can(request.user, "run_labeling", annotator.project)})


@on(Annotator, "run_labeling")
@require_POST
def annotator_pause(request: Request, annotator: Annotator) -> HttpResponse:
    form = PauseForm(request.POST)
    if not form.is_valid():
        raise UserError("Say why, in at most 500 characters: the annotator reads it.")
    pause(annotator, because=form.cleaned_data["because"], by=request.user, asks_again="asks_again" in request.POST)
    _exchange(annotator.project, request)
    name = names_for(annotator.project, request.user)[annotator.pk]
    messages.success(request, f"{name} is paused. What lay on the desk goes to others; answers given stay.")
    return redirect("labeling:annotator", annotator.pk)


@on(Annotator, "run_labeling")
@require_POST
def annotator_resume(request: Request, annotator: Annotator) -> HttpResponse:
    begins_anew = resume(annotator, by=request.user, passed="passed" in request.POST)
    _exchange(annotator.project, request)
    name = names_for(annotator.project, request.user)[annotator.pk]
    how = "and begins anew: known answers from before do not count any more" if begins_anew else "where they stopped"
    messages.success(request, f"{name} goes on {how}.")
    return redirect("labeling:annotator", annotator.pk)


@on(Annotator, "run_labeling")
@require_POST
def annotator_pass(request: Request, annotator: Annotator) -> HttpResponse:
    let_pass(annotator, by=request.user)
    _exchange(annotator.project, request)
    messages.success(request, "The exam counts as passed; ordinary work follows.")
    return redirect("labeling:annotator", annotator.pk)


@on(Project, "see_project")
@require_POST
def desk_fill(request: Request, project: Project) -> HttpResponse:
    """Somebody wants something to label: they get a desk if they have none, and it is filled."""
    annotator_of(project, request.user)
    if _exchange(project, request):
        messages.success(request, "Your desk is being filled. Give it a few seconds.")
    else:
        messages.info(request, "There is nothing to label yet. A curator asks, then it is here.")
    return redirect("projects:detail", project.pk)


def _exchange(project: Project, request: Request) -> bool:
    """Queue a round, where there is anything to exchange: people from files have no desk."""
    in_use = Batch.objects.filter(project=project).exists() or Desk.objects.filter(project=project).exists()
    if in_use:
        start_sync(project, by=request.user)
    return in_use
