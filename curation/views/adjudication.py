from bisect import bisect_left, bisect_right
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from curation.forms import ReasonForm, SettleForm
from curation.models import Decision
from curation.services.adjudication import (
    QUEUES,
    Waiting,
    adjudication_queue,
    case_of,
    last_cause,
    place_of,
    settle,
)
from curation.services.causes import causes_of, with_cause
from curation.services.discussions import reviewers
from curation.services.labels import answers_of
from curation.services.review import undo
from curation.views.page import (
    LONG_TEXT,
    ROWS_PER_PAGE,
    Request,
    after_decision,
    is_part,
    page_or_part,
    place_in,
    valid,
)
from curation.views.review import person_asked
from labeling.models import Example
from labeling.services.annotators import names_for
from projects.models import Project
from projects.rights import on
from projects.services.guidelines import current_guideline

CAUSE_KEYS = {"slip": "s", "ambiguous": "a", "guideline": "u", "missing": "m", "knowledge": "l"}
N_KEYS = 9  # answers that have a digit of their own


@on(Project, "review")
@require_GET
def adjudicate(request: Request, project: Project) -> HttpResponse:
    return _adjudicate(request, project, at=place_in(request))


@on(Project, "review")
@require_POST
def adjudicate_settle(request: Request, project: Project) -> HttpResponse:
    form = valid(SettleForm(request.POST))
    example = get_object_or_404(Example.objects.select_related("project"), project=project, pk=form["example"])
    decision = settle(example, verdict=form["verdict"], by=request.user, cause=form["cause"], answer=form["answer"],
                      written=form["written"], reason=form["reason"], seen=form["seen"],
                      asked=person_asked(project, form["asked"]))
    return _after(request, project, _next_to(adjudication_queue(project, _queue_of(request)), place_of(example)),
                  note=_said(decision))


@on(Project, "review")
@require_POST
def adjudicate_undo(request: Request, project: Project) -> HttpResponse:
    decision = undo(project, by=request.user)
    return _after(request, project, decision.example_id, taken_back="Your decision is taken back.")


def _after(request: Request, project: Project, at: int | None, *, note: str = "", taken_back: str = "") -> HttpResponse:
    return after_decision(request, _url(project, _queue_of(request), at), note or taken_back,
                          lambda: _adjudicate(request, project, at=at, note=note, taken_back=taken_back))


def _said(decision: Decision) -> str:
    if decision.verdict in (Decision.Verdict.keep, Decision.Verdict.relabel):
        answers, text = answers_of(decision.example.project), decision.example.text
        return f"Settled: “{answers.show(decision.value, source=text)}”."
    return "Excluded." if decision.verdict == Decision.Verdict.exclude else "Set aside for discussion."


def _queue_of(request: Request) -> str:
    queue = request.GET.get("queue", "")
    return queue if queue in QUEUES else "waiting"


def _url(project: Project, queue: str, at: int | None = None, **more: str) -> str:
    query = {"queue": queue, **({"at": at} if at else {}), **more}
    return f"{reverse('curation:adjudicate', args=[project.pk])}?{urlencode(query)}"


def _next_to(queue: list[Waiting], place: Waiting) -> int | None:
    """The first example of the queue after this place, which need not be in it; from its end on the first of all."""
    after = queue[bisect_right(queue, place):] or queue
    return after[0].example_id if after else None


def _adjudicate(request: Request, project: Project, *, at: int | None, note: str = "",
                taken_back: str = "") -> HttpResponse:
    """The page of one example, or for htmx only the part of it that changes."""
    name = _queue_of(request)
    queues = {queue: adjudication_queue(project, queue) for queue in QUEUES}
    queue = queues[name]
    example = Example.objects.select_related("project").filter(project=project, pk=at).first() if at else None
    if example is None and queue:
        example = Example.objects.select_related("project").get(pk=queue[0].example_id)
    context: dict[str, Any] = {
        "project": project, "queue": name, "note": note, "taken_back": taken_back,
        "queues": [(words, len(queues[queue]), _url(project, queue), queue == name)
                   for queue, words in QUEUES.items()],
        "n_other": len(queues["discuss" if name == "waiting" else "waiting"]), "nav": "curation:review",
        "other_url": _url(project, "discuss" if name == "waiting" else "waiting"),
        "undo_url": f"{reverse('curation:adjudicate-undo', args=[project.pk])}?{urlencode({'queue': name})}"}
    if example is not None:
        context |= _case_context(request, example, name, queue)
    if not is_part(request):
        context["guideline"] = current_guideline(project)
    return page_or_part(request, "curation/adjudicate.html", "curation/_adjudicate.html", context)


def _case_context(request: Request, example: Example, name: str, queue: list[Waiting]) -> dict[str, Any]:
    project, case, place = example.project, case_of(example), place_of(example)
    answers = answers_of(project)
    before, after = queue[:bisect_left(queue, place)], queue[bisect_right(queue, place):]
    names, said = names_for(project, request.user), {answer.label for answer in case.answers}
    is_asking, is_writing = request.GET.get("ask") == "discuss", request.GET.get("write") == "1"
    return {
        "case": case, "is_long": len(example.text) > LONG_TEXT, "n_keys": N_KEYS,
        "answers": [(answer, [(names[row.annotator_id], row) for row in answer.given_by]) for answer in case.answers],
        "skipped_by": [names[row.annotator_id] for row in case.skipped_by],
        "history": [(decision, answers.show(decision.value, source=example.text)) for decision in case.history],
        "causes": [(cause, words, CAUSE_KEYS[cause]) for cause, words in Decision.Cause.choices],
        "cause": last_cause(project, request.user),
        "reason_form": ReasonForm(people=reviewers(project)) if is_asking else None,
        "is_writing": is_writing, "may_pick": case.is_decidable and not is_asking and not is_writing,
        "are_labels": answers.are_labels,
        "has_several": project.task_type == "multilabel", "draft": case.answers[0].draft if case.answers else "",
        "others": [label for label in project.labels if label not in said] if answers.are_labels else [],
        "settle_url": f"{reverse('curation:adjudicate-settle', args=[project.pk])}?{urlencode({'queue': name})}",
        "here_url": _url(project, name, example.pk), "ask_url": _url(project, name, example.pk, ask="discuss"),
        "write_url": _url(project, name, example.pk, write="1"),
        "previous_url": _url(project, name, before[-1].example_id) if before else "",
        "next_url": _url(project, name, after[0].example_id) if after else ""}


@on(Project, "see_quality")
@require_GET
def cause_list(request: Request, project: Project) -> HttpResponse:
    """Why answers differed, and the examples that show it."""
    cause = request.GET.get("cause", "")
    cause = cause if cause in Decision.Cause.values else ""
    page = Paginator(with_cause(project, cause).select_related("example", "decided_by"), ROWS_PER_PAGE).get_page(
        request.GET.get("page"))
    answers = answers_of(project)
    return render(request, "curation/causes.html", {
        "project": project, "causes": causes_of(project), "cause": cause, "page": page, "nav": "curation:quality",
        "cause_words": Decision.Cause(cause).label if cause else "",
        "rows": [(decision, answers.show(decision.value, source=decision.example.text)) for decision in page]})
