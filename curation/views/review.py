from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import push_url

from curation.answers import MODELLED
from curation.forms import DecisionForm, ReasonForm
from curation.models import Decision, ExampleScore, QualityReport
from curation.services.labels import answers_of
from curation.services.review import (
    VIEWS,
    ReviewCounts,
    ReviewItem,
    decide,
    first_in,
    next_in,
    previous_in,
    review_counts,
    review_item,
    review_queue,
    score_to_review,
    undo,
)
from curation.services.scoring import latest_report
from curation.views.page import LONG_TEXT, Request, open_job, valid
from labeling.models import Example
from labeling.services.annotators import names_for
from projects.errors import UserError
from projects.models import Project
from projects.rights import on

N_KEYS = 9  # labels that have a digit of their own


@on(Project, "review")
@require_GET
def review(request: Request, project: Project) -> HttpResponse:
    at = request.GET.get("at", "")
    return _review(request, project, at=int(at) if at.isdecimal() else None)


@on(Project, "review")
@require_POST
def review_decide(request: Request, project: Project) -> HttpResponse:
    form = valid(DecisionForm(request.POST))
    report = latest_report(project)
    score = report and report.scores.select_related("example__project").filter(pk=form["score"]).first()
    if not score or not report:
        raise UserError("The project has been scored anew since your page was drawn. Reload it and decide there.")
    decision = decide(score.example, verdict=form["verdict"], value=form["value"], reason=form["reason"],
                      by=request.user, report=report, seen=form["seen"])
    following = next_in(review_queue(report, _view_of(request)), score)
    return _after_decision(request, project, following.pk if following else None, note=_said(decision))


@on(Project, "review")
@require_POST
def review_undo(request: Request, project: Project) -> HttpResponse:
    decision = undo(project, by=request.user)
    score = ExampleScore.objects.filter(report=latest_report(project), example=decision.example_id).first()
    return _after_decision(request, project, score.pk if score else None, taken_back="Your decision is taken back.")


def _after_decision(request: Request, project: Project, at: int | None, *, note: str = "",
                    taken_back: str = "") -> HttpResponse:
    """The next example in place of the last one; without JavaScript, a redirect to it."""
    url = _review_url(project, _view_of(request), at)
    if not request.htmx:
        messages.success(request, note or taken_back)
        return redirect(url)
    return push_url(_review(request, project, at=at, note=note, taken_back=taken_back), url)


def _said(decision: Decision) -> str:
    example = decision.example
    shown = answers_of(example.project).show(decision.value, source=example.text)
    return {
        Decision.Verdict.keep: f"Kept “{shown}”.",
        Decision.Verdict.relabel: f"Relabelled to “{shown}”.",
        Decision.Verdict.exclude: "Excluded.",
        Decision.Verdict.discuss: "Set aside for discussion.",
    }[Decision.Verdict(decision.verdict)]


def _view_of(request: Request) -> str:
    view = request.GET.get("view", "")
    return view if view in VIEWS else "flagged"


def _review_url(project: Project, view: str, at: int | None = None, **more: str) -> str:
    query = {"view": view, **({"at": at} if at else {}), **more}
    return f"{reverse('curation:review', args=[project.pk])}?{urlencode(query)}"


@dataclass(frozen=True)
class LabelButton:
    """A label to relabel to, and the digit that does it."""

    label: str
    key: str


@dataclass(frozen=True)
class ViewLink:
    words: str
    n: int
    url: str
    is_current: bool


def _review(request: Request, project: Project, *, at: int | None, note: str = "",
            taken_back: str = "") -> HttpResponse:
    """The review page, or for htmx only the part of it that changes."""
    view, report = _view_of(request), latest_report(project)
    context: dict[str, Any] = {
        "project": project, "report": report, "view": view, "note": note, "taken_back": taken_back,
        "undo_url": f"{reverse('curation:undo', args=[project.pk])}?{urlencode({'view': view})}"}
    if report is None:
        context |= {"has_examples": Example.objects.filter(project=project).exists(),
                    "job": open_job(project, "score")}
    else:
        counts, queue = review_counts(report), review_queue(report, view)
        score = score_to_review(report, at) if at else None
        if score is None and getattr(counts, view):
            score = first_in(queue)
        context |= _queue_context(project, view, counts)
        if score is not None:
            context |= _item_context(request, project, view, report, score, queue)
    is_fragment = request.htmx and not request.htmx.history_restore_request
    response = render(request, "curation/_review.html" if is_fragment else "curation/review.html", context)
    patch_vary_headers(response, ["HX-Request"])  # page and fragment have one address; a cache must not mix them up
    return response


def _queue_context(project: Project, view: str, counts: ReviewCounts) -> dict[str, Any]:
    total, left = counts.totals[view], getattr(counts, view)
    return {
        "counts": counts, "n_left": left, "n_total": total, "n_done": total - left,
        "views": [ViewLink(words, getattr(counts, name), _review_url(project, name), name == view)
                  for name, words in VIEWS.items()],
        "elsewhere": [ViewLink(words, getattr(counts, name), _review_url(project, name), False)
                      for name, words in VIEWS.items() if name not in (view, "all") and getattr(counts, name)]}


def _item_context(request: Request, project: Project, view: str, report: QualityReport,
                  score: ExampleScore, queue: QuerySet[ExampleScore]) -> dict[str, Any]:
    item = review_item(score, report, names_for(report.project, request.user))
    is_in_line = score.label_quality is not None or bool(score.label)  # a held-out example is not
    previous = previous_in(queue, score) if is_in_line else None
    following = next_in(queue, score) if is_in_line else first_in(queue)
    is_asking = request.GET.get("ask") == "discuss"
    return {
        "item": item, "n_copies": score.cluster_size - 1, "is_long": len(score.example.text) > LONG_TEXT,
        **_choices(project, item), **_shown_beside(project, score.example),
        "reason_form": ReasonForm() if is_asking else None,
        "decide_url": f"{reverse('curation:decide', args=[project.pk])}?{urlencode({'view': view})}",
        "here_url": _review_url(project, view, score.pk),
        "ask_url": _review_url(project, view, score.pk, ask="discuss"),
        "previous_url": _review_url(project, view, previous.pk) if previous else "",
        "next_url": _review_url(project, view, following.pk) if following else ""}


# How an answer is written where it is not chosen from a list
HOW_TO_WRITE = {
    "response": "The answer as it should be.",
    "chat": "The next turn as it should be.",
    "extraction": "One JSON object. Leave out a field that the text says nothing about.",
    "spans": "A JSON list in the order of the text: “text” copied exactly, “label” one of the labels. “occurrence”: 2 "
             "means the second place where the words stand. [] if there is nothing to mark.",
}


def _choices(project: Project, item: ReviewItem) -> dict[str, Any]:
    """What another answer is chosen or written with: a button per label, a box to tick per label, or a text."""
    answers, labels = answers_of(project), project.labels
    if answers.are_labels:
        return {"buttons": [LabelButton(label, str(n)) for n, label in enumerate(labels[:N_KEYS], start=1)],
                "has_more_labels": len(labels) > N_KEYS}
    if project.task_type == "multilabel":
        given = answers.names_in(item.label) if item.label else []
        return {"boxes": [(label, label in given, str(n) if n <= N_KEYS else "") for n, label in enumerate(labels, 1)]}
    return {"how_to_write": HOW_TO_WRITE[project.task_type]}


def _shown_beside(project: Project, example: Example) -> dict[str, Any]:
    """What the answer is about beside the text: a conversation, or two answers."""
    answers = answers_of(project)
    context: dict[str, Any] = {"joint": answers.joint, "is_modelled": project.task_type in MODELLED,
                               "is_written_in_words": answers.is_free_text}
    if project.task_type == "preference":
        return {**context, "sides": [(side, example.data.get(side, "")) for side in ("left", "right")]}
    return {**context, "turns": example.data.get("messages", []) if project.task_type == "chat" else []}
