from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from curation.answers import MODELLED
from curation.forms import DecisionForm, MessageForm, QueueFilterForm, ReasonForm, SavedViewForm
from curation.models import Decision, ExampleScore, QualityReport, SavedView
from curation.services.discussions import discussions, reviewers, write_message
from curation.services.duplicates import group_with
from curation.services.evidence import ReviewItem, review_item
from curation.services.labels import answers_of
from curation.services.queue import VIEWS, Filter, Queue, filter_words, read_filter
from curation.services.review import ReviewCounts, decide, review_counts, score_to_review, undo
from curation.services.saved_views import delete_view, save_view, saved_views
from curation.services.scoring import latest_report
from curation.views.page import (
    LONG_TEXT,
    ROWS_PER_PAGE,
    Request,
    after_decision,
    is_part,
    open_job,
    page_or_part,
    place_in,
    valid,
)
from labeling.models import Example
from labeling.services.annotators import names_for
from projects.errors import UserError
from projects.models import Project
from projects.rights import on

N_KEYS = 9  # labels that have a digit of their own


@on(Project, "review")
@require_GET
def review(request: Request, project: Project) -> HttpResponse:
    return _review(request, project, at=place_in(request))


@on(Project, "review")
@require_POST
def review_decide(request: Request, project: Project) -> HttpResponse:
    form = valid(DecisionForm(request.POST))
    report = latest_report(project)
    score = report and report.scores.select_related("example__project").filter(pk=form["score"]).first()
    if not score or not report:
        raise UserError("The project has been scored anew since your page was drawn. Reload it and decide there.")
    decision = decide(score.example, verdict=form["verdict"], value=form["value"], reason=form["reason"],
                      by=request.user, report=report, seen=form["seen"], asked=person_asked(project, form["asked"]))
    following = Queue(report, read_filter(request.GET)).after(score)
    return _after(request, project, following.pk if following else None, note=_said(decision))


@on(Project, "review")
@require_POST
def review_undo(request: Request, project: Project) -> HttpResponse:
    decision = undo(project, by=request.user)
    score = ExampleScore.objects.filter(report=latest_report(project), example=decision.example_id).first()
    return _after(request, project, score.pk if score else None, taken_back="Your decision is taken back.")


@on(Project, "review")
@require_POST
def review_message(request: Request, project: Project) -> HttpResponse:
    """Something said about an example; the queue stays there."""
    form = valid(MessageForm(request.POST, people=reviewers(project)))
    score = get_object_or_404(ExampleScore.objects.select_related("example__project"), pk=form["score"],
                              report__project=project)
    write_message(score.example, text=form["text"], by=request.user, asked=form["asked"])
    return _after(request, project, score.pk, taken_back="Your message is in the discussion.")


def person_asked(project: Project, pk: int | None) -> User | None:
    """Who is asked in a discussion. Raises UserError for somebody who cannot review here."""
    if not pk:
        return None
    person = reviewers(project).filter(pk=pk).first()
    if person is None:
        raise UserError("The person you asked cannot review here any more. Ask somebody else, or anybody.")
    return person


def _after(request: Request, project: Project, at: int | None, *, note: str = "", taken_back: str = "") -> HttpResponse:
    return after_decision(request, review_url(project, read_filter(request.GET), at), note or taken_back,
                          lambda: _review(request, project, at=at, note=note, taken_back=taken_back))


def _said(decision: Decision) -> str:
    example = decision.example
    shown = answers_of(example.project).show(decision.value, source=example.text)
    return {
        Decision.Verdict.keep: f"Kept “{shown}”.",
        Decision.Verdict.relabel: f"Relabelled to “{shown}”.",
        Decision.Verdict.exclude: "Excluded.",
        Decision.Verdict.discuss: "Set aside for discussion.",
    }[Decision.Verdict(decision.verdict)]


def review_url(project: Project, filter_: Filter, at: int | None = None, *, name: str = "curation:review",
               **more: str) -> str:
    place = urlencode({**({"at": at} if at else {}), **more})
    return f"{reverse(name, args=[project.pk])}?{filter_.query}{'&' if place else ''}{place}"


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
    filter_, report = read_filter(request.GET), latest_report(project)
    context: dict[str, Any] = {
        "project": project, "report": report, "filter": filter_, "view": filter_.view, "note": note,
        "taken_back": taken_back, "undo_url": review_url(project, filter_, name="curation:undo")}
    if report is None:
        context |= {"has_examples": Example.objects.filter(project=project).exists(),
                    "job": open_job(project, "score")}
    else:
        queue, names = Queue(report, filter_), names_for(project, request.user)
        counts = review_counts(report)
        n_left = getattr(counts, filter_.view) if filter_.is_plain else queue.n()
        score = score_to_review(report, at) if at else None
        if score is None and n_left:
            score = queue.first()
        context |= _queue_context(project, filter_, counts, n_left, names)
        if score is not None:
            context |= _item_context(request, project, report, score, queue, names)
        if not is_part(request):
            context |= _page_context(request, project, filter_, names)
    return page_or_part(request, "curation/review.html", "curation/_review.html", context)


def _queue_context(project: Project, filter_: Filter, counts: ReviewCounts, n_left: int,
                   names: dict[int, str]) -> dict[str, Any]:
    total = counts.totals[filter_.view]
    links = [(name, ViewLink(words, getattr(counts, name), review_url(project, Filter(view=name, order=filter_.order)),
                             filter_.is_plain and name == filter_.view)) for name, words in VIEWS.items()]
    return {
        "counts": counts, "n_left": n_left, "is_plain": filter_.is_plain, "words": filter_words(filter_, names),
        "n_total": total, "n_done": total - n_left, "views": [link for _, link in links],
        "has_progress": filter_.is_plain and filter_.view not in ("discuss", "outdated"),
        "plain_url": review_url(project, Filter(view=filter_.view)),
        "elsewhere": [link for name, link in links if name not in (filter_.view, "all") and link.n]}


def _page_context(request: Request, project: Project, filter_: Filter, names: dict[int, str]) -> dict[str, Any]:
    """What stands around the part that changes."""
    views = saved_views(project, request.user)
    return {
        "filter_form": QueueFilterForm(filter_, project=project, names=names), "query": filter_.query,
        "save_form": SavedViewForm(), "bulk_url": review_url(project, filter_, name="curation:bulk"),
        "save_url": review_url(project, filter_, name="curation:save-view"),
        "saved": [(view, f"{reverse('curation:review', args=[project.pk])}?{view.query}",
                   view.query == filter_.query) for view in views]}


def _item_context(request: Request, project: Project, report: QualityReport, score: ExampleScore, queue: Queue,
                  names: dict[int, str]) -> dict[str, Any]:
    filter_, item = queue.filter, review_item(score, report, names)
    is_in_line = score.example.split == filter_.split  # a held-out example is looked at from elsewhere
    previous = queue.before(score) if is_in_line else None
    following = queue.after(score) if is_in_line else queue.first()
    is_asking = request.GET.get("ask") == "discuss"
    copies = Filter(view="all", cluster=score.cluster, state="any")
    return {
        "item": item, "n_copies": score.cluster_size - 1, "is_long": len(score.example.text) > LONG_TEXT,
        "copies_url": review_url(project, copies), "group": group_with(report, score.example_id)
        if score.cluster_size > 1 else None, **_choices(project, item), **shown_beside(project, score.example),
        "reason_form": ReasonForm(people=reviewers(project)) if is_asking else None,
        "message_form": MessageForm(people=reviewers(project), initial={"score": score.pk})
        if item.is_discussed and not is_asking else None,
        "message_url": review_url(project, filter_, name="curation:message"),
        "decide_url": review_url(project, filter_, name="curation:decide"),
        "here_url": review_url(project, filter_, score.pk),
        "ask_url": review_url(project, filter_, score.pk, ask="discuss"),
        "previous_url": review_url(project, filter_, previous.pk) if previous else "",
        "next_url": review_url(project, filter_, following.pk) if following else ""}


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


def shown_beside(project: Project, example: Example) -> dict[str, Any]:
    """What the answer is about beside the text: a conversation, or two answers."""
    answers = answers_of(project)
    context: dict[str, Any] = {"joint": answers.joint, "is_modelled": project.task_type in MODELLED,
                               "is_written_in_words": answers.is_free_text}
    if project.task_type == "preference":
        return {**context, "sides": [(side, example.data.get(side, "")) for side in ("left", "right")]}
    return {**context, "turns": example.data.get("messages", []) if project.task_type == "chat" else []}


# Views under a name, and what is discussed

@on(Project, "review")
@require_POST
def review_save_view(request: Request, project: Project) -> HttpResponse:
    form = valid(SavedViewForm(request.POST))
    view = save_view(project, request.GET.dict(), name=form["name"], is_shared=form["is_shared"], by=request.user)
    messages.success(request, f"The view “{view}” is kept" + (", for everybody who reviews here." if view.is_shared
                                                               else ", for you."))
    return redirect(f"{reverse('curation:review', args=[project.pk])}?{view.query}")


@on(SavedView, "review")
@require_POST
def saved_view_delete(request: Request, view: SavedView) -> HttpResponse:
    delete_view(view, by=request.user)
    messages.success(request, f"The view “{view.name}” is deleted. No example changed by it.")
    return redirect("curation:review", view.project_id)


@on(Project, "review")
@require_GET
def discussion_list(request: Request, project: Project) -> HttpResponse:
    asks_me = request.GET.get("asked") == "me"
    found = discussions(project)
    mine = [one for one in found if one.asked == request.user]
    report = latest_report(project)
    score_of = dict(report.scores.filter(example__in=[one.decision.example_id for one in found]).values_list(
        "example_id", "pk")) if report else {}
    page = Paginator(mine if asks_me else found, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    rows = [(one, review_url(project, Filter(view="discuss"), score_of.get(one.decision.example_id))) for one in page]
    return render(request, "curation/discussions.html", {
        "project": project, "page": page, "rows": rows, "asks_me": asks_me, "n": len(found), "n_mine": len(mine),
        "nav": "curation:review"})
