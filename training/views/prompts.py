from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.models import Snapshot
from jobs.models import Job
from projects.errors import UserError
from projects.models import Project
from projects.rights import on
from projects.views import Request
from stats.intervals import Interval
from training.forms import PromptForm
from training.models import Evaluation, PromptVersion, Run
from training.services.written_prompts import (
    MANY_LOOKS,
    change_prompt,
    compare_versions,
    dev_score,
    n_dev_looks,
    newest_prompts,
    start_try,
    starting_words,
    tries_of,
    trying_obstacle,
    words_of,
    write_prompt,
)
from training.views.page import may


@dataclass(frozen=True)
class VersionLine:
    """A version of a prompt in a list, with its newest figure on dev, None where it was never tried."""

    version: PromptVersion
    tried: Evaluation | None

    @property
    def score(self) -> Interval | None:
        return dev_score(self.tried) if self.tried else None


@on(Project, "see_runs")
@require_GET
def prompt_list(request: Request, project: Project) -> HttpResponse:
    """Every prompt that somebody wrote, and beside them what the baseline of the newest snapshot tried on dev."""
    snapshot = Snapshot.objects.filter(project=project).first()
    newest = newest_prompts(project)
    tries = tries_of(newest)
    lines = [VersionLine(version, next(iter(tries[version.pk]), None)) for version in newest]
    automatic = [(e.run, dev_score(e)) for e in Evaluation.objects.filter(
        snapshot=snapshot, split="dev", run__kind__in=[kind for kind in Run.PROMPTS if kind != Run.Kind.by_hand])
        .select_related("run__snapshot").order_by("pk")] if snapshot else []
    return render(request, "training/prompt_list.html", {
        "project": project, "nav": "training:run-list", "snapshot": snapshot, "lines": lines, "automatic": automatic,
        "scores": [line.score for line in lines if line.score] + [score for _, score in automatic],
        "target": project.target_value, "metric": project.get_target_metric_display(),
        "n_looks": n_dev_looks(snapshot) if snapshot else 0, "many_looks": MANY_LOOKS, "may": may(request, project)})


@on(Project, "write_prompts")
@require_http_methods(["GET", "POST"])
def prompt_new(request: Request, project: Project) -> HttpResponse:
    words = starting_words(project)
    form = PromptForm(request.POST or None, is_new=True, initial=vars(words))
    if request.method == "POST" and form.is_valid():
        try:
            version = write_prompt(project, name=form.cleaned_data["name"], words=form.words, note="", by=request.user)
        except UserError as error:
            form.add_error(None, str(error))  # what was written stays in the form
        else:
            return redirect("training:prompt", version.pk)
    return render(request, "training/prompt_edit.html", {
        "project": project, "nav": "training:run-list", "form": form}, status=422 if form.is_bound else 200)


@on(PromptVersion, "see_runs")
@require_GET
def prompt_detail(request: Request, version: PromptVersion) -> HttpResponse:
    project = version.project
    versions = list(PromptVersion.objects.filter(project=project, name=version.name).select_related("created_by"))
    tries = tries_of(versions)
    lines = [VersionLine(one, next(iter(tries[one.pk]), None)) for one in versions]
    snapshot = Snapshot.objects.filter(project=project).first()
    job = Job.objects.filter(project=project, kind="try_prompt", params__prompt_version=version.pk).first()
    return render(request, "training/prompt_detail.html", {
        "project": project, "nav": "training:run-list", "version": version, "newest": versions[0], "lines": lines,
        "tries": [(one, dev_score(one)) for one in tries[version.pk]], "snapshot": snapshot,
        "scores": [dev_score(one) for one in tries[version.pk]], "obstacle": trying_obstacle(version),
        "target": project.target_value, "metric": project.get_target_metric_display(),
        "job": job if job and (job.is_active or job.state == Job.State.failed) else None,
        "n_looks": n_dev_looks(snapshot) if snapshot else 0, "many_looks": MANY_LOOKS, "may": may(request, project)})


@on(PromptVersion, "write_prompts")
@require_http_methods(["GET", "POST"])
def prompt_change(request: Request, version: PromptVersion) -> HttpResponse:
    form = PromptForm(request.POST or None, is_new=False, initial=vars(words_of(version)))
    if request.method == "POST" and form.is_valid():
        try:
            changed = change_prompt(version, words=form.words, note=form.cleaned_data["note"], by=request.user)
        except UserError as error:
            form.add_error(None, str(error))
        else:
            return redirect("training:prompt", changed.pk)
    return render(request, "training/prompt_edit.html", {
        "project": version.project, "nav": "training:run-list", "form": form, "version": version},
        status=422 if form.is_bound else 200)


@on(PromptVersion, "see_runs")
@require_GET
def prompt_differences(request: Request, version: PromptVersion) -> HttpResponse:
    """What this version says differently from another, by default the one before, and what that did on dev."""
    versions = list(PromptVersion.objects.filter(project=version.project_id).order_by("name", "-version"))
    asked = request.GET.get("from", "")
    before = next((one for one in versions if asked and str(one.pk) == asked), None)
    if asked and before is None:
        raise Http404(f"there is no prompt {asked} in this project")
    if before is None:
        before = next((one for one in versions if one.name == version.name and one.version < version.version), version)
    return render(request, "training/prompt_differences.html", {
        "project": version.project, "nav": "training:run-list", "before": before, "after": version,
        "versions": versions, "found": (found := compare_versions(before, version)),
        "tried": [(one, dev_score(one)) for one in (found.before, found.after) if one]})


@on(PromptVersion, "run_baseline")
@require_POST
def prompt_try(request: Request, version: PromptVersion) -> HttpResponse:
    start_try(version, by=request.user)
    return redirect("training:prompt", version.pk)
