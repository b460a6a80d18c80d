"""How labelling is run: the rules, and the known answers that people are graded by without knowing."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labeling.forms import RulesForm
from labeling.models import KnownAnswer
from labeling.overlap import FREE_TEXT
from labeling.services.batches import rules_of
from labeling.services.known_answers import known_answers, rows_of, stock_of
from labeling.services.rules import save_rules
from labeling.services.trust import retire_known_answer
from projects.models import Project, Role
from projects.rights import can, on, role_in
from projects.views import Request

KNOWN_PER_PAGE = 50


@on(Project, "run_labeling")
@require_http_methods(["GET", "POST"])
def rules(request: Request, project: Project) -> HttpResponse:
    form = RulesForm(request.POST or None, instance=rules_of(project),
                     may_show_names=role_in(request.user, project) == Role.admin)
    if request.method == "POST" and form.is_valid():
        save_rules(project, form.cleaned_data, by=request.user)
        messages.success(request, "The rules are saved. They count from the next example that is given out.")
        return redirect("labeling:rules", project.pk)
    return render(request, "labeling/rules.html", {
        "form": form, "nav": "labeling:board", "stock": stock_of(project),
        "is_free_words": project.task_type in FREE_TEXT}, status=422 if form.is_bound and form.errors else 200)


@on(Project, "see_labeling")
@require_GET
def known_answer_list(request: Request, project: Project) -> HttpResponse:
    page = Paginator(known_answers(project), KNOWN_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "labeling/known_answers.html", {
        "nav": "labeling:board", "stock": stock_of(project), "rules": rules_of(project), "page": page,
        "rows": rows_of(page.object_list, project), "axis": (0.0, 1.0),
        "is_free_words": project.task_type in FREE_TEXT, "may_run": can(request.user, "run_labeling", project)})


@on(KnownAnswer, "run_labeling")
@require_POST
def known_answer_retire(request: Request, known: KnownAnswer) -> HttpResponse:
    retire_known_answer(known, by=request.user)
    messages.success(request, f"Example {known.example.key} is given out no more, and nobody is graded by it.")
    return redirect("labeling:known-answers", known.project_id)
