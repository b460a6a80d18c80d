from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from projects.models import Project
from projects.rights import public, signed_in


@signed_in
def home(request: HttpRequest) -> HttpResponse:
    """The projects of this person; with a single one, that one."""
    projects = list(Project.objects.visible_to(request.user))
    if len(projects) == 1:
        return redirect("projects:detail", projects[0].pk)
    return render(request, "home.html", {"projects": projects})


@public
def healthz(request: HttpRequest) -> HttpResponse:
    """Says that the process answers; touches no database."""
    return HttpResponse("ok\n", content_type="text/plain")
