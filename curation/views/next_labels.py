from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from curation.forms import NextLabelsForm
from curation.services.adaptive import default_target, last_choice, plan_of, start_next_labels
from curation.views.page import Request
from jobs.models import Job
from labeling.models import Batch
from projects.models import Project
from projects.rights import on

N_SHOWN = 20  # examples of a plan


@on(Project, "run_labeling")
@require_http_methods(["GET", "POST"])
def next_labels(request: Request, project: Project) -> HttpResponse:
    """Let Goldpan choose what people label next, and what it chose last and why."""
    job = last_choice(project)
    form = NextLabelsForm(request.POST or None, default_target=default_target(project))
    if request.method == "POST" and form.is_valid():
        if job is None or not job.is_active:  # two clicks are one wish
            start_next_labels(project, by=request.user, is_dry="look" in request.POST, **form.cleaned_data)
        return redirect("curation:next-labels", project.pk)
    done = Job.objects.filter(project=project, kind="next_labels", state=Job.State.succeeded).first()
    return render(request, "curation/next_labels.html", {
        "form": form, "done": done, "chosen": plan_of(done, n=N_SHOWN) if done else [], "nav": "labeling:board",
        "job": job if job is not None and (job.is_active or job.state == Job.State.failed) else None,
        "batch": Batch.objects.filter(pk=done.result.get("batch")).first() if done else None,
        "has_examples": project.examples.filter(split="pool").exists()},
        status=422 if form.is_bound else 200)
