from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from curation.services.lessons import lessons_of
from goldpan.path.facts import MIN_AGREEMENT, Facts, facts_of
from goldpan.path.steps import RELIABLE, agreement_words, jobs_to_show, open_items, steps_of
from goldpan.path.turn import turn_of
from jobs.models import Job
from labeling.models import Example
from labeling.services.annotators import n_on_desk, own_work
from labeling.starters import STARTERS, Starter
from projects.errors import UserError
from projects.forms import ProjectForm
from projects.models import Membership, Project, Role
from projects.rights import founder, may_found, on, public, signed_in
from projects.schema import answer_names
from projects.services import create_project
from projects.views import Request
from serving.services.duties import wanted_soon


@signed_in
@require_GET
def home(request: Request) -> HttpResponse:
    """The projects of this person; with a single one, that one."""
    memberships = list(Membership.objects.filter(user=request.user).select_related("project").order_by("project__name"))
    if len(memberships) == 1:
        return redirect("projects:detail", memberships[0].project_id)
    projects = [membership.project_id for membership in memberships]
    n_examples = dict(Example.objects.filter(project__in=projects).order_by().values_list("project")
                      .annotate(n=Count("pk")))
    n_running = dict(Job.objects.filter(project__in=projects).active().order_by().values_list("project")
                     .annotate(n=Count("pk")))
    return render(request, "home.html", {"rows": [
        (membership, n_examples.get(membership.project_id, 0), n_running.get(membership.project_id, 0))
        for membership in memberships], "may_found": may_found(request.user)})


@founder
@require_http_methods(["GET", "POST"])
def project_create(request: Request) -> HttpResponse:
    """A new project, begun with a starter or with a type of task, which stands in the address."""
    starter = next((starter for starter in STARTERS if starter.name == request.GET.get("starter")), None)
    task_type = starter.task_type if starter else request.GET.get("type", "")
    if task_type not in Project.TaskType.values:
        return render(request, "projects/create.html", {
            "starters": [(one.name, _answer_words(one)) for one in STARTERS],
            "types": [(name, label, ANSWERS[name]) for name, label in Project.TaskType.choices]})
    begin = {"name": starter.name, "instructions": starter.instructions} if starter else {}
    form = ProjectForm(request.POST or None, task_type=task_type, schema=starter.schema if starter else None,
                       initial=begin)
    if request.method == "POST" and form.is_valid():
        try:
            project = create_project(**form.project, created_by=request.user)
        except UserError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"“{project}” is there. Import its first examples.")
            return redirect("projects:detail", project.pk)
    return render(request, "projects/create.html", {
        "form": form, "heading": starter.name if starter else Project.TaskType(task_type).label,
        "answer": ANSWERS[task_type], "metric": form.metric})


ANSWERS = {  # what people give, by type of task
    "classification": "one of your labels", "multilabel": "one or several of your labels",
    "response": "an answer in their own words", "extraction": "the fields that you name, as JSON",
    "preference": "which of two answers is better", "spans": "places in the text, each with one of your labels",
    "chat": "the next turn of a conversation, in their own words"}


def _answer_words(starter: Starter) -> str:
    """What people give in a project that begins so."""
    names = answer_names(starter.schema, starter.task_type) or list(
        starter.schema.get("json_schema", {}).get("properties", {}))
    words = ANSWERS[starter.task_type]
    return f"{words}: {', '.join(names)}" if names else words


@on(Project, "see_project")
@require_GET
def project_detail(request: Request, project: Project) -> HttpResponse:
    """Where the project stands and whose turn it is; annotators see what is theirs to do, and nothing about quality."""
    role = request.role
    if role is None or role == Role.annotator:
        work = own_work(project, request.user)
        return render(request, "projects/annotator_home.html", {
            "project": project, "work": work, "lessons": lessons_of(work.annotator) if work.annotator else [],
            "wanted": wanted_soon(work.annotator) if work.annotator else None})
    facts = facts_of(project, request.user, role)
    turn = turn_of(facts)
    return render(request, "projects/detail.html", {
        "project": project, "facts": facts, "turn": turn, "steps": steps_of(facts, turn), "open": [
            item for item in open_items(facts) if not turn.action or item.url != turn.action.url],
        "jobs": jobs_to_show(facts.jobs), **_agreement(facts), "exchange": facts.exchange,
        "n_on_desk": n_on_desk(project, request.user)})


def _agreement(facts: Facts) -> dict[str, Any]:
    found = facts.held_out.agreement if facts.held_out else None
    return {"agreement": found, "agreement_words": agreement_words(found) if found else "", "axis": (0.0, 1.0),
            "reliable": RELIABLE, "min_agreement": MIN_AGREEMENT}


@public
def healthz(request: HttpRequest) -> HttpResponse:
    """Says that the process answers; touches no database."""
    return HttpResponse("ok\n", content_type="text/plain")
