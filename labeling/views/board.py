"""Where labelling stands, what people confuse, and the exchange with Label Studio."""

from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_GET, require_POST

from labeling.models import Annotator
from labeling.services.agreement import (
    MIN_EXAMPLES,
    Confused,
    agreement_of,
    by_batch,
    confused_labels,
    confusion,
    reliability_words,
    shared_answers,
)
from labeling.services.annotators import DAYS, names_for
from labeling.services.board import age_minutes, board_of, end_words, headline
from labeling.services.suggestions import suggestions_of
from labeling.services.sync import start_sync
from labeling.task_types import task_type
from projects.drawing import histogram_svg
from projects.models import Project
from projects.rights import can, on
from projects.views import Request

SHOWN_PAIRS = 3
MAX_TABLE = 25  # labels, above which a table of them is no help


@on(Project, "see_labeling")
@require_GET
def board(request: Request, project: Project) -> HttpResponse:
    found, names, shared = board_of(project), names_for(project, request.user), shared_answers(project)
    agreement, in_batch = agreement_of(shared, project), by_batch(shared, project)
    return render(request, "labeling/board.html", {
        "board": found, "headline": headline(found), "end": end_words(found.end), "nav": "labeling:board",
        "lag_minutes": age_minutes(found.lag.pulled_at), "axis": (0.0, 1.0),
        "rows": [(row, in_batch.get(row.batch.pk)) for row in found.rows],
        "people": [(names[one.annotator.pk], one) for one in found.people],
        "troubles": [(names[desk.annotator_id], desk) for desk in found.lag.troubles],
        "agreement": agreement, "agreement_words": reliability_words(agreement), "min_examples": MIN_EXAMPLES,
        "days": [(found.first_day + timedelta(days=day), n) for day, n in enumerate(found.daily)],
        "confused": _linked(project, confused_labels(shared, project.labels)[:SHOWN_PAIRS])
        if task_type(project.task_type).HAS_LABELS else [],
        "chart": day_chart(found.daily, found.first_day, "Answers") if any(found.daily) else "",
        "suggestions": suggestions_of(project), "may_run": can(request.user, "run_labeling", project)})


def _linked(project: Project, pairs: list[Confused]) -> list[tuple[Confused, str]]:
    return [(pair, examples_url(project, said=pair.first, other=pair.second)) for pair in pairs]


def examples_url(project: Project, **query: object) -> str:
    """The list of examples with this filter; what is None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{reverse('labeling:example-list', args=[project.pk])}?{urlencode(given)}"


def day_chart(daily: list[int], first_day: datetime, what: str) -> SafeString:
    """Bars of the last DAYS days."""

    def day(number: float) -> str:
        at = first_day + timedelta(days=int(number))
        return f"{at.day} {at:%b}"

    words = f"{what} a day over the last {len(daily)} days: {sum(daily):,}, most on one day {max(daily):,}"
    return mark_safe(histogram_svg(daily, list(range(DAYS + 1)), label=words, height=64, x_text=day))  # noqa: S308


@on(Project, "see_labeling")
@require_GET
def confusion_table(request: Request, project: Project) -> HttpResponse:
    """Who says what on the same examples: everybody, or two people that the address names."""
    names, shared, labels = names_for(project, request.user), shared_answers(project), project.labels
    people = sorted({who for answers in shared.values() for who, _ in answers})
    reported = set(Annotator.objects.filter(pk__in=people, is_person=True).values_list("pk", flat=True))
    people = [pk for pk in people if pk in reported]
    first, second = (_one_of(people, request.GET.get(name, "")) for name in ("first", "second"))
    is_pair = first is not None and second is not None and first != second
    if not is_pair:
        first = second = None
    has_labels = task_type(project.task_type).HAS_LABELS
    table = confusion(shared, labels, first=first, second=second) if has_labels else None
    rows = [(label, [_cell(project, label, other, int(table[i, j]), i == j, first, second)
                     for j, other in enumerate(labels)])
            for i, label in enumerate(labels)] if table is not None and len(labels) <= MAX_TABLE else []
    return render(request, "labeling/confusion.html", {
        "nav": "labeling:board", "has_labels": has_labels, "labels": labels, "rows": rows, "n_shared": len(shared),
        "people": [(pk, names[pk]) for pk in people], "first": first, "second": second, "is_pair": is_pair,
        "first_name": names.get(first or 0), "second_name": names.get(second or 0),
        "n_pair": int(table.sum()) if table is not None and is_pair else 0,
        "n_same": int(table.trace()) if table is not None and is_pair else 0,
        "axis": (0.0, 1.0), "confused": _linked(project, confused_labels(shared, labels)) if has_labels else []})


def _cell(project: Project, label: str, other: str, n: int, is_same: bool, first: int | None,
          second: int | None) -> dict[str, object]:
    return {"n": n, "is_same": is_same, "label": label, "other": other,
            "url": examples_url(project, said=label, other=other, by=first, other_by=second) if n else ""}


def _one_of(people: list[int], given: str) -> int | None:
    return int(given) if given.isdecimal() and int(given) in people else None


@on(Project, "run_labeling")
@require_POST
def sync_now(request: Request, project: Project) -> HttpResponse:
    """Fetch answers and fill desks; with `compare`, hold both sides against each other, task by task."""
    compares = "compare" in request.POST
    start_sync(project, by=request.user, reconcile=compares)
    messages.success(request, "Comparing both sides, task by task. The result comes here." if compares else
                     "Exchanging with Label Studio: new answers come, desks are filled.")
    return redirect("labeling:board", project.pk)
