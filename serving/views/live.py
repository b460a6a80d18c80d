from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from projects.models import Project
from projects.rights import MAY, on, role_in
from projects.views import Request
from serving.forms import ServingRulesForm
from serving.services.experiments import running_experiment
from serving.services.live import live_of
from serving.services.parity import start_replay
from serving.services.rules import rules_of, save_rules


@on(Project, "see_live")
@require_GET
def live(request: Request, project: Project) -> HttpResponse:
    role = role_in(request.user, project)
    return render(request, "serving/live.html", {
        "project": project, "live": live_of(project), "ab_test": running_experiment(project),
        "may": {action: role in MAY[action] for action in ("edit_live", "check_live", "run_baseline", "promote")}})


@on(Project, "edit_live")
@require_http_methods(["GET", "POST"])
def rules(request: Request, project: Project) -> HttpResponse:
    form = ServingRulesForm(request.POST or None, instance=rules_of(project))
    if request.method == "POST" and form.is_valid():
        save_rules(project, form.values, by=request.user)
        messages.success(request, "Saved. It counts from the next request on.")
        return redirect("serving:live", project.pk)
    return render(request, "serving/rules.html", {"project": project, "form": form, "nav": "serving:live"},
                  status=422 if form.is_bound and form.errors else 200)


@on(Project, "check_live")
@require_POST
def replay(request: Request, project: Project) -> HttpResponse:
    start_replay(project, by=request.user)
    return redirect("serving:live", project.pk)
