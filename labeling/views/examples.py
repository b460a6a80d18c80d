"""The list of examples, and one of them with its ledger."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Prefetch, Q
from django.db.models.functions import Substr
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from django_tables2 import RequestConfig

from labeling.forms import ExampleFilter, open_items
from labeling.models import Annotation, Assignment, Example
from labeling.services.annotators import names_for
from labeling.tables import SHOWN_CHARS, ExampleTable
from labeling.task_types import task_type
from projects.models import Project
from projects.rights import on
from projects.views import Request

EXAMPLES_PER_PAGE = 50


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
    is_free = ~Exists(open_items().filter(example=OuterRef("pk")))
    counts = examples.order_by().annotate(is_free=is_free).aggregate(
        n=Count("pk"), n_free=Count("pk", filter=Q(is_free=True)))
    starts = examples.annotate(start=Substr("text", 1, SHOWN_CHARS + 1)).defer("text", "data")
    table = ExampleTable(starts.prefetch_related(
        Prefetch("annotations", Annotation.objects.current(), to_attr="answers"),
        Prefetch("batch_items", open_items(), to_attr="asked_for")))
    RequestConfig(request, paginate={
        "per_page": EXAMPLES_PER_PAGE, "paginator_class": CountedPaginator, "n": counts["n"]}).configure(table)
    return render(request, "labeling/example_list.html", {
        "filter": filter_, "table": table, **counts, "query": request.GET.urlencode(),
        "confused": filter_.confused_words(names_for(project, request.user)) if "said" in request.GET else "",
        "is_filtered": any(request.GET.get(name) for name in filter_.filters)})


@on(Example, "see_examples")
@require_GET
def example_detail(request: Request, example: Example) -> HttpResponse:
    """An example, its ledger, and its neighbours in the list whose filter stands in the address.

    Whoever still has to answer it themself does not see what others said.
    """
    listed = ExampleFilter(request.GET, project=example.project).qs.only("pk")
    asked = list(Assignment.objects.filter(example=example).order_by("pk"))
    names, show = names_for(example.project, request.user), task_type(example.project.task_type).show
    is_blind = Assignment.objects.open().filter(example=example, annotator__user=request.user).exists()
    answers = [] if is_blind else list(Annotation.objects.filter(example=example).order_by("-pk"))
    newest = {answer.annotator_id: answer.pk for answer in reversed(answers)}
    rows = [{"answer": answer, "is_newest": newest[answer.annotator_id] == answer.pk,
             "name": names[answer.annotator_id],
             "shown": "" if answer.value is None else show(answer.value, source=example.text)} for answer in answers]
    return render(request, "labeling/example_detail.html", {
        "example": example, "rows": rows, "is_blind": is_blind, "upload": example.upload,
        "query": request.GET.urlencode(),
        "previous": listed.filter(pk__lt=example.pk).last(), "next": listed.filter(pk__gt=example.pk).first(),
        "asked": [(names[one.annotator_id], one) for one in asked]})
