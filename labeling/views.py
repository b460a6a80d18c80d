import hmac
from pathlib import PurePath
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q
from django.db.models.functions import Substr
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_tables2 import RequestConfig

from jobs.models import Job
from labeling.forms import ExampleFilter, MappingForm, UploadForm
from labeling.label_studio import LabelStudio
from labeling.models import Annotation, Example, LabelStudioLink, Upload
from labeling.reading import sniff
from labeling.services.imports import receive_upload, start_import
from labeling.services.sync import provision_annotator, pull_soon, start_pull, start_push
from labeling.tables import SHOWN_CHARS, ExampleTable
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_path, open_object
from projects.rights import on, public
from projects.views import Request

EXAMPLES_PER_PAGE = 50
SHOWN_UPLOADS = 20
WEBHOOK_MAX_BYTES = 1_000_000


# Import

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
    path = object_path(settings.GOLDPAN_OBJECTS, upload.sha256)
    form = MappingForm(request.POST or None, upload=upload, sniffed=sniff(path, name=upload.name, format=upload.format))
    if request.method == "POST" and form.is_valid():
        with open_object(settings.GOLDPAN_OBJECTS, upload.sha256) as file:
            again = receive_upload(upload.project, file, name=upload.name, kind=upload.kind, by=request.user,
                                   mapping=form.cleaned_data["mapping"], format=upload.format)
        return redirect("labeling:upload", again.pk)
    job = Job.objects.filter(project=upload.project, dedupe_key=f"import:{upload.pk}").first()
    return render(request, "labeling/upload.html", {
        "upload": upload, "form": form, "job": job, "n_rows": upload.n_good + upload.n_bad,
        "n_bad_hidden": upload.n_bad - len(upload.bad_rows), "nav": "labeling:import",
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


# Examples

class CountedPaginator(Paginator):
    """A paginator that is told how many rows there are, where counting them twice would cost."""

    def __init__(self, rows: Any, per_page: int, *, n: int) -> None:
        super().__init__(rows, per_page)
        self.count = n


@on(Project, "see_examples")
@require_GET
def example_list(request: Request, project: Project) -> HttpResponse:
    filter_ = ExampleFilter(request.GET, project=project)
    examples = filter_.qs if filter_.is_valid() else Example.objects.none()
    counts = examples.order_by().aggregate(n=Count("pk"), n_to_push=Count("pk", filter=Q(ls_task_id__isnull=True)))
    starts = examples.annotate(start=Substr("text", 1, SHOWN_CHARS + 1)).defer("text", "data")
    table = ExampleTable(
        starts.prefetch_related(Prefetch("annotations", Annotation.objects.current(), to_attr="answers")))
    RequestConfig(request, paginate={
        "per_page": EXAMPLES_PER_PAGE, "paginator_class": CountedPaginator, "n": counts["n"]}).configure(table)
    return render(request, "labeling/example_list.html", {
        "filter": filter_, "table": table, **counts, "query": request.GET.urlencode(),
        "is_filtered": any(request.GET.get(name) for name in filter_.filters)})


@on(Project, "push_examples")
@require_POST
def example_push(request: Request, project: Project) -> HttpResponse:
    """Push all examples that the address's filter shows, not only those of a page."""
    filter_ = ExampleFilter(request.GET, project=project)
    if not filter_.is_valid():
        raise UserError("This filter cannot be read. Choose it anew on the page of examples, then push.")
    ids = filter_.qs.filter(ls_task_id__isnull=True).values_list("pk", flat=True)
    job = start_push(project, ids, by=request.user)
    return redirect("jobs:job", job.pk)


@on(Example, "see_examples")
@require_GET
def example_detail(request: Request, example: Example) -> HttpResponse:
    """An example, its ledger, and its neighbours in the list whose filter stands in the address."""
    link = LabelStudioLink.objects.filter(project=example.project).first()
    listed = ExampleFilter(request.GET, project=example.project).qs.only("pk")
    answers = list(Annotation.objects.filter(example=example).select_related("annotator").order_by("-pk"))
    newest = {answer.annotator_id: answer.pk for answer in reversed(answers)}
    for answer in answers:
        answer.is_newest = newest[answer.annotator_id] == answer.pk  # type: ignore[attr-defined]
    return render(request, "labeling/example_detail.html", {
        "example": example, "answers": answers, "upload": example.upload, "query": request.GET.urlencode(),
        "previous": listed.filter(pk__lt=example.pk).last(), "next": listed.filter(pk__gt=example.pk).first(),
        "task_url": LabelStudio(link.url, "").task_url(link.ls_project_id, example.ls_task_id)
        if link and example.ls_task_id else ""})


# Label Studio

@on(Project, "push_examples")
@require_POST
def annotation_pull(request: Request, project: Project) -> HttpResponse:
    start_pull(project, by=request.user)
    messages.success(request, "Fetching new answers from Label Studio.")
    return redirect("projects:detail", project.pk)


@on(Project, "see_project")
@require_POST
def account_create(request: Request, project: Project) -> HttpResponse:
    """Give the person who asks an account of their own in Label Studio."""
    provision_annotator(project, request.user)
    messages.success(request, "You have an account in Label Studio now. Your log-in stands on this page.")
    return redirect("projects:detail", project.pk)


@public
@csrf_exempt
@require_POST
def webhook(request: HttpRequest, pk: int) -> HttpResponse:
    """Label Studio says that something changed. Its body is not read: what changed is found out by a pull."""
    link = LabelStudioLink.objects.select_related("project").filter(pk=pk).first()
    expected = f"Bearer {link.webhook_secret if link else ''}"
    given = request.headers.get("Authorization", "")
    is_right = hmac.compare_digest(given.encode(), expected.encode())
    if link is None or not is_right:  # nobody learns here which links there are
        return HttpResponse("The secret is not right.\n", status=401, content_type="text/plain")
    if int(request.headers.get("Content-Length") or 0) > WEBHOOK_MAX_BYTES:
        return HttpResponse("At most 1 MB.\n", status=413, content_type="text/plain")
    pull_soon(link)
    return HttpResponse("A pull is queued.\n", status=202, content_type="text/plain")
