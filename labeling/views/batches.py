"""Asking people: a batch is made, watched, paused, closed."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labeling.forms import AnswersForm, BatchForm, ExampleFilter, open_items
from labeling.models import Annotation, Assignment, Batch, BatchItem, Example
from labeling.services.annotators import names_for
from labeling.services.batches import create_batch, set_batch_state
from labeling.services.board import batch_row, lying_in
from labeling.services.set_aside import give_out_again
from labeling.services.sync import start_sync
from labeling.services.vendors import export_batch, receive_vendor_answers
from labeling.task_types import task_type
from projects.errors import UserError
from projects.models import Project
from projects.rights import can, on
from projects.views import Request

ITEMS_PER_PAGE = 25
SHOWN_UPLOADS = 5
SAID = {
    Batch.State.open: "is open: desks are filled from it.",
    Batch.State.paused: "is paused: what lies on desks may be answered, nothing more is given out.",
    Batch.State.closed: "is closed: what lay on desks is taken back, answers stay."}
SHOWN = {"": "All", "waiting": "Waiting for answers", "set_aside": "Set aside", "done": "Done"}


@on(Project, "run_labeling")
@require_http_methods(["GET", "POST"])
def batch_create(request: Request, project: Project) -> HttpResponse:
    """Ask people to label all examples that the address's filter shows, not only those of a page."""
    filter_ = ExampleFilter(request.GET, project=project)
    if not filter_.is_valid():
        raise UserError("This filter cannot be read. Choose it anew on the page of examples, then ask.")
    examples = filter_.qs.filter(~Exists(open_items().filter(example=OuterRef("pk"))))
    form = BatchForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        batch = create_batch(project, examples.values_list("pk", flat=True), by=request.user, **form.batch)
        start_sync(project, by=request.user)
        messages.success(request, f"{batch} is on its way to the desks." if not batch.vendor else
                         f"{batch} is ready to be handed over as a file.")
        return redirect("labeling:batch", batch.pk) if batch.vendor else redirect("labeling:board", project.pk)
    return render(request, "labeling/batch_create.html", {
        "form": form, "n": examples.count(), "query": request.GET.urlencode(), "nav": "labeling:board",
        "n_held_out": examples.exclude(split=Example.Split.pool).count()},
        status=422 if form.is_bound and form.errors else 200)


@on(Batch, "see_labeling")
@require_GET
def batch_detail(request: Request, batch: Batch) -> HttpResponse:
    """A batch, its policy and its items. What others said is left out where the viewer has to answer it themself."""
    show = request.GET.get("show", "")
    show = show if show in SHOWN else ""
    page = Paginator(_items(batch, show), ITEMS_PER_PAGE).get_page(request.GET.get("page"))
    names = names_for(batch.project, request.user)
    lying = Assignment.objects.open().filter(
        annotator__user=request.user, example__in=[item.example_id for item in page])
    mine = set(lying.values_list("example_id", flat=True))
    said = task_type(batch.project.task_type).show
    rows = [{
        "item": item, "is_blind": item.example_id in mine,
        "n_answered": sum(one.state == Assignment.State.answered for one in item.assignments.all()),
        "open": [names[one.annotator_id] for one in item.assignments.all() if one.state in Assignment.OPEN],
        "answers": [(names[one.annotator_id], said(one.value, source=item.example.text))
                    for one in item.example.annotations.all()] if item.example_id not in mine else []}
        for item in page]
    return render(request, "labeling/batch_detail.html", {
        "batch": batch, "row": batch_row(batch), "page": page, "rows": rows, "show": show, "shown": SHOWN.items(),
        "nav": "labeling:board", "answers_form": AnswersForm(), "uploads": batch.uploads.all()[:SHOWN_UPLOADS],
        "named": [names[one.pk] for one in batch.annotators.all()],
        "may_run": can(request.user, "run_labeling", batch.project)})


def _items(batch: Batch, show: str) -> QuerySet[BatchItem]:
    items = batch.items.select_related("example").prefetch_related(
        "assignments", Prefetch("example__annotations", Annotation.objects.current().order_by("pk")))
    if show == "set_aside":
        items = items.filter(is_set_aside=True)
    elif show:
        lying = [item_id for item_id, _ in lying_in(batch.project).get(batch.pk, [])]
        is_full = Q(n_taken__gte=F("n_wanted"))
        items = items.filter(is_full).exclude(pk__in=lying) if show == "done" else items.filter(
            ~is_full | Q(pk__in=lying))
    return items.order_by("priority", "pk")


@on(Batch, "run_labeling")
@require_POST
def batch_state(request: Request, batch: Batch) -> HttpResponse:
    batch = set_batch_state(batch, request.POST.get("state", ""), by=request.user)
    start_sync(batch.project, by=request.user)
    messages.success(request, f"{batch} {SAID[Batch.State(batch.state)]}")
    return redirect("labeling:batch", batch.pk)


@on(Batch, "run_labeling")
@require_POST
def batch_again(request: Request, batch: Batch) -> HttpResponse:
    """Give set-aside examples out again: the one that is named, or all of them."""
    one = request.POST.get("item", "")
    n = give_out_again(batch, [int(one)] if one.isdecimal() else None, by=request.user)
    start_sync(batch.project, by=request.user)
    messages.success(request, f"{n} example{'s go' if n > 1 else ' goes'} out again, to people who have not had "
                              f"{'them' if n > 1 else 'it'}.")
    return redirect("labeling:batch", batch.pk)


@on(Batch, "run_labeling")
@require_GET
def batch_file(request: Request, batch: Batch) -> HttpResponse:
    """What an outside company is asked, as a file for it."""
    format = request.GET.get("format", "jsonl")
    content = export_batch(batch, format, by=request.user)
    name = f"{slugify(batch.project.name)}-batch-{batch.number}.{format}"
    return HttpResponse(content, content_type="text/csv; charset=utf-8" if format == "csv" else "application/x-ndjson",
                        headers={"Content-Disposition": f'attachment; filename="{name}"'})


@on(Batch, "run_labeling")
@require_POST
def batch_answers(request: Request, batch: Batch) -> HttpResponse:
    """Check the file of answers that came back; its report says what is in it, and imports it."""
    form = AnswersForm(request.POST, request.FILES)
    if not form.is_valid():
        raise UserError("Choose the file that came back: CSV, TSV or JSON Lines.")
    file = form.cleaned_data["file"]
    upload = receive_vendor_answers(batch, file, name=file.name, by=request.user)
    return redirect("labeling:upload", upload.pk)
