from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from curation.services.known_answers import add_candidates, candidates
from curation.views.page import Request
from projects.models import Project
from projects.rights import on

N_CHECKED = 20  # a stock to begin with


@on(Project, "run_labeling")
@require_http_methods(["GET", "POST"])
def known_answer_candidates(request: Request, project: Project) -> HttpResponse:
    """Settled examples that could serve as known answers; chosen ones are added."""
    if request.method == "POST":
        chosen = [int(pk) for pk in request.POST.getlist("example") if pk.isdecimal()]
        n = add_candidates(project, chosen, by=request.user)
        messages.success(request, f"{n} known answer{'s are' if n > 1 else ' is'} mixed into what is given out now.")
        return redirect("labeling:known-answers", project.pk)
    return render(request, "curation/known_answers.html", {
        "found": candidates(project), "n_checked": N_CHECKED, "nav": "labeling:board"})
