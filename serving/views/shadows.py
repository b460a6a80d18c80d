from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from projects.models import Project
from projects.rights import on
from projects.views import Request
from projects.wording import counted
from serving.forms import ShadowForm
from serving.models import Shadow
from serving.services.shadows import ask_people, shadow_shown, start_shadow
from serving.views.experiments import NAV, may


@on(Project, "check_live")
@require_POST
def shadow_start(request: Request, project: Project) -> HttpResponse:
    form = ShadowForm(request.POST)
    if form.is_valid():
        start_shadow(project, by=request.user, **form.cleaned_data)
    else:
        messages.error(request, "Choose a challenger and how many requests.")
    return redirect("serving:ab-test-list", project.pk)


@on(Shadow, "see_live")
@require_GET
def shadow(request: Request, shadow: Shadow) -> HttpResponse:
    return render(request, "serving/shadow.html", {
        "project": shadow.project, "nav": NAV, "shadow": shadow, "shown": shadow_shown(shadow),
        "may": may(request, shadow.project)})


@on(Shadow, "run_ab_test")
@require_POST
def shadow_people(request: Request, shadow: Shadow) -> HttpResponse:
    comparison = ask_people(shadow, by=request.user)
    messages.success(request, f"{counted(comparison.pairs.count(), 'pair')} wait to be judged in "
                              f"“{comparison.judged_in}”.")
    return redirect("serving:shadow", shadow.pk)
