"""The map of a project: its page, its points as one file, and what people do with a selection of them."""

import base64
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.models import Map, Selection
from curation.projection import METHODS, installed_methods
from curation.services.maps import (
    example_at,
    latest_map,
    rows_of,
    rows_selected,
    select_points,
    start_map,
)
from curation.services.scoring import latest_report
from curation.services.selections import selected_ids, selection_of, selection_page
from curation.views.page import Request, open_job
from jobs.models import Job
from labeling.forms import BatchForm
from labeling.models import Example
from labeling.services.annotators import names_for
from labeling.services.batches import create_batch
from labeling.services.sync import start_sync
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_exists, object_path
from projects.rights import on

ROWS_PER_PAGE = 12  # beside the map
FOR_EVER = "private, max-age=31536000, immutable"  # a map's files are named by their hash


@on(Project, "see_examples")
@require_GET
def map_page(request: Request, project: Project) -> HttpResponse:
    drawn, report = latest_map(project), latest_report(project)
    selection = _asked_for(request, project)
    return render(request, "curation/map.html", {
        "project": project, "nav": "curation:quality", "map": drawn, "job": open_job(project, "map"),
        "selection": selection,
        "methods": [(name, METHODS[name]) for name in installed_methods()],
        "method": METHODS[drawn.method] if drawn else "",
        "has_examples": drawn is not None or Example.objects.filter(project=project).exists(),
        "has_newer_report": drawn is not None and report is not None and report.pk != drawn.report_id,
        "facts": _facts(request, drawn, selection) if drawn else None,
        **_table(request, drawn, selection)})


def _asked_for(request: Request, project: Project) -> Selection | None:
    given = request.GET.get("selection", "")
    if not given:
        return None
    return selection_of(project, int(given) if given.isdecimal() and len(given) < 19 else 0)


def _facts(request: Request, drawn: Map, selection: Selection | None) -> dict[str, Any]:
    """What the script has to know beside the points; the selected ones as base64 bits."""
    bits = np.zeros(drawn.n_points, dtype=bool)
    if selection:
        bits[rows_selected(drawn, selection)] = True
    packed = np.packbits(bits, bitorder="little").tobytes() if selection else b""
    return {"points": reverse("curation:map-points", args=[drawn.pk]) + "?" + urlencode({
                "sha256": drawn.points_sha256[:16]}),
            "point": reverse("curation:map-point", args=[drawn.pk]),
            "annotators": {str(pk): name for pk, name in names_for(drawn.project, request.user).items()},
            "selected": base64.b64encode(packed).decode()}


def _table(request: Request, drawn: Map | None, selection: Selection | None) -> dict[str, Any]:
    if drawn is None or selection is None:
        return {}
    page = Paginator(range(selection.n_examples), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    examples = selection_page(selection, page.number, ROWS_PER_PAGE)
    return {"page": page, "rows": rows_of(examples, drawn.report)}


@on(Project, "score")
@require_POST
def map_draw(request: Request, project: Project) -> HttpResponse:
    if not Job.objects.active().filter(project=project, kind="map").exists():  # two clicks are one wish
        start_map(project, by=request.user, method=request.POST.get("method", "pca"))
    return redirect("curation:map", project.pk)


@on(Map, "see_examples")
@require_GET
def map_points(request: Request, drawn: Map) -> HttpResponse:
    """The points as one compressed file; a browser that has it is told so without reading anything."""
    etag = f'"{drawn.points_sha256}"'
    headers = {"ETag": etag, "Cache-Control": FOR_EVER}
    if request.headers.get("If-None-Match") == etag:
        return HttpResponse(status=304, headers=headers)
    file = object_path(settings.GOLDPAN_OBJECTS, drawn.points_sha256).open("rb")
    return FileResponse(file, content_type="application/octet-stream",  # type: ignore[return-value]
                        headers=headers | {"Content-Encoding": "gzip"})


@on(Map, "see_examples")
@require_GET
def map_point(request: Request, drawn: Map) -> HttpResponse:
    """What one point of the map is, as a fragment. Raises Http404 for a point that is not there."""
    row = request.GET.get("row", "")
    example = example_at(drawn, int(row)) if row.isdecimal() else None
    if example is None:
        raise Http404("There is no such point.")
    response = render(request, "curation/_map_point.html", {"row": rows_of([example], drawn.report)[0]})
    response["Cache-Control"] = "private, max-age=600"
    return response


@on(Map, "see_examples")
@require_GET
def map_table(request: Request, drawn: Map) -> HttpResponse:
    """The map as a Parquet file: id, key, x, y, text, label and what else was known."""
    if not object_exists(settings.GOLDPAN_OBJECTS, drawn.table_sha256):
        raise UserError("The table of this map was removed, since an example in it was erased. Draw the map again.")
    name = slugify(drawn.project.name) or "project"
    file = object_path(settings.GOLDPAN_OBJECTS, drawn.table_sha256).open("rb")
    return FileResponse(file, as_attachment=True,  # type: ignore[return-value]
                        filename=f"{name}-map-{drawn.pk}.parquet", content_type="application/vnd.apache.parquet")


@on(Map, "review")
@require_POST
def map_select(request: Request, drawn: Map) -> HttpResponse:
    selection = select_points(drawn, request.POST.get("rows", ""), by=request.user)
    query = urlencode({"selection": str(selection.pk), "colour": request.POST.get("colour", "")})
    return redirect(reverse("curation:map", args=[drawn.project_id]) + f"?{query}")


@on(Selection, "run_labeling")
@require_http_methods(["GET", "POST"])
def selection_batch(request: Request, selection: Selection) -> HttpResponse:
    """Ask people to label all examples of a selection."""
    project = selection.project
    form = BatchForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        batch = create_batch(project, selected_ids(selection).tolist(), by=request.user, **form.batch)
        start_sync(project, by=request.user)
        messages.success(request, f"{batch} is on its way to the desks." if not batch.vendor else
                         f"{batch} is ready to be handed over as a file.")
        return redirect("labeling:batch", batch.pk) if batch.vendor else redirect("labeling:board", project.pk)
    return render(request, "curation/selection_batch.html", {
        "form": form, "selection": selection, "nav": "labeling:board"},
        status=422 if form.is_bound and form.errors else 200)
