"""Bringing files: check, map, import."""

from pathlib import PurePath

from django.conf import settings
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from jobs.models import Job
from labeling.forms import MappingForm, UploadForm
from labeling.models import Upload
from labeling.reading import sniff
from labeling.services.imports import receive_upload, start_import
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_exists, object_path, open_object
from projects.rights import on
from projects.views import Request

SHOWN_UPLOADS = 20


@on(Project, "import_examples")
@require_http_methods(["GET", "POST"])
def upload_create(request: Request, project: Project) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        upload = receive_upload(project, file, name=file.name, kind=form.cleaned_data["kind"], by=request.user)
        return redirect("labeling:upload", upload.pk)
    return render(request, "labeling/import.html", {"form": form, "uploads": _latest_uploads(project)})


def _latest_uploads(project: Project) -> list[Upload]:
    """The newest uploads; of a file that was checked several times, by other mappings, only the last check."""
    seen: set[tuple[str, str]] = set()
    latest = []
    for upload in Upload.objects.filter(project=project).select_related("created_by").defer("bad_rows")[:100]:
        if upload.imported_at or (upload.sha256, upload.kind) not in seen:
            latest.append(upload)
        seen.add((upload.sha256, upload.kind))
    return latest[:SHOWN_UPLOADS]


@on(Upload, "import_examples")
@require_http_methods(["GET", "POST"])
def upload_detail(request: Request, upload: Upload) -> HttpResponse:
    """The report of a checked file; a changed mapping is a new check with a report of its own."""
    if not object_exists(settings.GOLDPAN_OBJECTS, upload.sha256):
        raise UserError(f"The file {upload.name} is not kept any more: an example in it was erased at somebody's wish, "
                        "or it was lost. What was imported from it is in the project.")
    path = object_path(settings.GOLDPAN_OBJECTS, upload.sha256)
    form = MappingForm(request.POST or None, upload=upload, sniffed=sniff(
        path, name=upload.name, format=upload.format, kind=upload.kind, task_type=upload.project.task_type))
    if request.method == "POST" and form.is_valid():
        with open_object(settings.GOLDPAN_OBJECTS, upload.sha256) as file:
            again = receive_upload(upload.project, file, name=upload.name, kind=upload.kind, by=request.user,
                                   mapping=form.cleaned_data["mapping"], format=upload.format, batch=upload.batch)
        return redirect("labeling:upload", again.pk)
    job = Job.objects.filter(project=upload.project, dedupe_key=f"import:{upload.pk}").first()
    return render(request, "labeling/upload.html", {
        "upload": upload, "form": form, "job": job, "n_rows": upload.n_good + upload.n_bad,
        "n_bad_hidden": upload.n_bad - len(upload.bad_rows), "nav": "labeling:example-list",
        "is_open": not upload.imported_at and (job is None or job.state in (Job.State.failed, Job.State.cancelled))})


@on(Upload, "import_examples")
@require_GET
def upload_bad_rows(request: Request, upload: Upload) -> HttpResponse:
    if not upload.bad_sha256:
        raise Http404("This file has no bad rows.")
    file = open_object(settings.GOLDPAN_OBJECTS, upload.bad_sha256)
    return FileResponse(  # type: ignore[return-value]  # it streams, which Django calls another kind of response
        file, as_attachment=True, filename=f"{PurePath(upload.name).stem}-bad-rows.csv",
        content_type="text/csv; charset=utf-8")


@on(Upload, "import_examples")
@require_POST
def upload_import(request: Request, upload: Upload) -> HttpResponse:
    start_import(upload, by=request.user, skip_bad="skip_bad" in request.POST)
    return redirect("labeling:upload", upload.pk)
