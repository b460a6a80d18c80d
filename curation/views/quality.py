from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from curation.models import GoldSet
from curation.services.causes import causes_of
from curation.services.quality import read_quality
from curation.services.review import review_counts
from curation.services.scoring import latest_report, start_score
from curation.views.page import Request, open_job
from jobs.models import Job
from labeling.models import Example
from labeling.services.annotators import names_for
from projects.models import Project
from projects.rights import on


@on(Project, "see_quality")
@require_GET
def quality(request: Request, project: Project) -> HttpResponse:
    report = latest_report(project)
    gold = GoldSet.objects.filter(project=project).first()
    return render(request, "curation/quality.html", {
        "project": project, "report": report, "job": open_job(project, "score"),
        "has_examples": report is not None or Example.objects.filter(project=project).exists(),
        "quality": read_quality(report, names_for(project, request.user)) if report else None,
        "counts": review_counts(report) if report else None,
        "causes": causes_of(project),
        "threshold": gold.min_quality if gold and gold.min_quality > 0 else None})


@on(Project, "score")
@require_POST
def quality_score(request: Request, project: Project) -> HttpResponse:
    if not Job.objects.active().filter(project=project, kind="score").exists():  # two clicks are one wish
        start_score(project, by=request.user)
    return redirect("curation:quality", project.pk)
