from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.forms import GuidelineForm
from curation.services.outdated import ask_again, outdated, undecided
from curation.views.page import Request
from labeling.models import Desk, Example
from labeling.services.sync import start_sync
from projects.errors import UserError
from projects.models import Guideline, Project
from projects.rights import can, on
from projects.services import publish_guideline
from projects.services.guidelines import MAX_CHARS, current_guideline
from projects.word_diff import word_diff
from projects.wording import count_words


@on(Project, "see_project")
@require_GET
def guideline_detail(request: Request, project: Project) -> HttpResponse:
    """The guideline that counts, or an earlier one, and how it came to be."""
    versions = list(Guideline.objects.filter(project=project).select_related("created_by"))
    current = current_guideline(project)
    shown = _version(project, request.GET.get("version", ""), current)
    return render(request, "projects/guideline.html", {
        "project": project, "guideline": shown, "current": current, "versions": versions,
        **(_to_look_at_again(project) if can(request.user, "review", project) else {}),
        "may_edit": can(request.user, "edit_guideline", project)})


def _to_look_at_again(project: Project) -> dict[str, Any]:
    found = outdated(project)
    n_pool = Example.objects.filter(pk__in=found, split=Example.Split.pool).count() if found else 0
    return {"n_outdated": len(found), "n_pool": n_pool, "n_undecided": len(undecided(project))}


@on(Project, "see_project")
@require_GET
def guideline_changes(request: Request, project: Project) -> HttpResponse:
    """What one version says differently from another, word by word; from the one before to the current by default."""
    current = current_guideline(project)
    after = _version(project, request.GET.get("to", ""), current)
    before = _version(project, request.GET.get("from", ""), _previous(after))
    versions = list(Guideline.objects.filter(project=project).defer("text").select_related("created_by"))
    first, last = sorted((before.version, after.version))
    return render(request, "projects/guideline_changes.html", {
        "project": project, "before": before, "after": after, "pieces": word_diff(before.text, after.text),
        "versions": versions, "nav": "curation:guideline",
        "between": [guideline for guideline in reversed(versions) if first < guideline.version <= last]})


def _version(project: Project, number: str, otherwise: Guideline) -> Guideline:
    if not number.isdecimal():
        return otherwise
    versions = Guideline.objects.select_related("created_by")
    return get_object_or_404(versions, project=project, version=min(int(number), 2**31 - 1))


def _previous(guideline: Guideline) -> Guideline:
    earlier = Guideline.objects.select_related("created_by").filter(
        project=guideline.project_id, version__lt=guideline.version)
    return earlier.first() or guideline


@on(Project, "edit_guideline")
@require_http_methods(["GET", "POST"])
def guideline_edit(request: Request, project: Project) -> HttpResponse:
    form = GuidelineForm(request.POST or None, project=project, initial={
        "text": project.instructions, "seen": project.instructions_version})
    if request.method == "POST" and form.is_valid():
        try:
            guideline = publish_guideline(project, by=request.user, **form.changes)
        except UserError as error:
            form.add_error(None, str(error))  # what was written stays in the form
        else:
            _tell_desks(project, request)
            messages.success(request, _published(project, guideline))
            return redirect("curation:guideline", project.pk)
    text = form.data.get("text", "") if form.is_bound else project.instructions
    return render(request, "projects/guideline_edit.html", {
        "project": project, "form": form, "pieces": _changed(project, text), "version": project.instructions_version,
        "nav": "curation:guideline"}, status=422 if form.is_bound else 200)


def _tell_desks(project: Project, request: Request) -> None:
    if Desk.objects.filter(project=project).exists():
        start_sync(project, by=request.user)


def _published(project: Project, guideline: Guideline) -> str:
    n = len(outdated(project))
    again = (f" {count_words(n)} example{' is' if n == 1 else 's are'} to be looked at again." if n else "")
    return f"{guideline} is published; people see it with their next example.{again}"


@on(Project, "edit_guideline")
@require_POST
def guideline_preview(request: Request, project: Project) -> HttpResponse:
    """What the text of the form says differently from the guideline that counts. Nothing is saved."""
    return render(request, "projects/_guideline_preview.html", {
        "pieces": _changed(project, request.POST.get("text", "")), "version": project.instructions_version})


def _changed(project: Project, text: str) -> list[Any]:
    text = text[:MAX_CHARS].replace("\r\n", "\n").strip()
    return list(word_diff(project.instructions, text)) if text != project.instructions else []


@on(Project, "run_labeling")
@require_POST
def guideline_ask_again(request: Request, project: Project) -> HttpResponse:
    """Ask people about the examples that were labelled under an older rule."""
    batch = ask_again(project, by=request.user)
    start_sync(project, by=request.user)
    messages.success(request, f"{batch}: on its way to the desks of people who have not labelled these yet.")
    return redirect("labeling:board", project.pk)
