from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from jobs.models import Job
from jobs.services import cancel, retry
from projects.models import Project
from projects.rights import on
from projects.views import Request

JOBS_PER_PAGE = 50


@on(Project, "see_jobs")
@require_GET
def job_list(request: Request, project: Project) -> HttpResponse:
    jobs = Job.objects.filter(project=project)
    ended = jobs.exclude(state__in=Job.ACTIVE).select_related("requested_by")
    return render(request, "jobs/job_list.html", {
        "active": jobs.active().order_by("pk"),
        "page": Paginator(ended, JOBS_PER_PAGE).get_page(request.GET.get("page"))})


@on(Job, "see_jobs")
@require_GET
def job_detail(request: Request, job: Job) -> HttpResponse:
    result = [(name.removeprefix("n_").replace("_", " ").capitalize(), value) for name, value in job.result.items()]
    return render(request, "jobs/job_detail.html", {"job": job, "events": job.events.all(), "result": result})


@on(Job, "see_jobs")
@require_GET
def job_progress(request: Request, job: Job) -> HttpResponse:
    return render(request, "_progress.html", {"job": job})


@on(Job, "cancel_job")
@require_POST
def job_cancel(request: Request, job: Job) -> HttpResponse:
    cancel(job)
    if request.htmx:
        return render(request, "_progress.html", {"job": job})
    return redirect("jobs:job", job.pk)


@on(Job, "cancel_job")
@require_POST
def job_retry(request: Request, job: Job) -> HttpResponse:
    retry(job)
    messages.success(request, f"{job.title}: queued again.")
    return redirect("jobs:job", job.pk)
