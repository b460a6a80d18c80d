from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from curation.forms import BulkForm
from curation.models import ERASED, BulkDecision
from curation.services.bulk_decisions import bulk_decisions, decide_all, look_at, undo_all
from curation.services.labels import answers_of
from curation.services.queue import Queue, filter_words, read_filter
from curation.services.scoring import latest_report
from curation.views.page import Request, open_job, valid
from curation.views.review import review_url
from jobs.models import Job
from labeling.services.annotators import names_for
from projects.models import Project
from projects.rights import on
from projects.wording import counted

N_PAST = 20


@on(Project, "review")
@require_GET
def bulk(request: Request, project: Project) -> HttpResponse:
    """All examples of a filter before one decision about them, and what was decided so before."""
    filter_, report, names = read_filter(request.GET), latest_report(project), names_for(project, request.user)
    past = list(bulk_decisions(project)[:N_PAST])
    context: dict[str, Any] = {
        "project": project, "report": report, "nav": "curation:review", "words": filter_words(filter_, names),
        "job": open_job(project, "decide_all"), "review_url": review_url(project, filter_),
        "past": [(one, _filter_url(one), getattr(one, "undone_by", None)) for one in past]}
    if report is not None:
        answers, look = answers_of(project), look_at(Queue(report, filter_))
        context |= {
            "look": look, "seen": look.seen, "program": {"filter": asdict(filter_), "seen": asdict(look.seen)},
            "labels": _shown(look.labels, answers.show),
            "suggestions": _shown(look.suggestions, answers.show), "are_labels": answers.are_labels,
            "has_model": bool(look.suggestions), "shown": [
                (score, answers.show(score.label, source=score.example.text), review_url(project, filter_, score.pk))
                for score in look.shown],
            "decide_url": review_url(project, filter_, name="curation:bulk-decide")}
    return render(request, "curation/bulk.html", context)


def _filter_url(bulk: BulkDecision) -> str:
    """Of the queue that was decided; "" where its words are erased."""
    return "" if bulk.query == ERASED else f"{reverse('curation:review', args=[bulk.project_id])}?{bulk.query}"


N_LABELS = 12  # rows of a table of labels


def _shown(counted: list[tuple[str, int]], show: Any) -> list[tuple[str, int]]:
    rows = [(show(label) or "none yet", n) for label, n in counted[:N_LABELS]]
    rest = sum(n for _, n in counted[N_LABELS:])
    return [*rows, (f"{len(counted) - N_LABELS} others", rest)] if rest else rows


@on(Project, "review")
@require_POST
def bulk_decide(request: Request, project: Project) -> HttpResponse:
    form = BulkForm(request.POST)
    given = valid(form)
    done = decide_all(project, read_filter(request.GET), seen=form.seen, action=given["action"], value=given["value"],
                      reason=given["reason"], by=request.user)
    return _answer(request, project, done)


@on(BulkDecision, "review")
@require_POST
def bulk_undo(request: Request, bulk: BulkDecision) -> HttpResponse:
    return _answer(request, bulk.project, undo_all(bulk, by=request.user))


def _answer(request: Request, project: Project, done: BulkDecision | Job) -> HttpResponse:
    page = reverse("curation:bulk", args=[project.pk])
    if isinstance(done, BulkDecision):
        messages.success(request, bulk_words(done))
    return redirect(f"{page}?{request.GET.urlencode()}" if request.GET else page)


def bulk_words(bulk: BulkDecision) -> str:
    """What a bulk decision did, and what it left alone."""
    what = {"keep": "kept", "accept": "relabelled as suggested", "relabel": f"now “{bulk.value}”",
            "exclude": "excluded", "undo": "taken back"}[bulk.action]
    left = [f"{counted(bulk.n_changed, 'was', 'were')} decided or answered meanwhile and left alone"
            ] if bulk.n_changed else []
    nothing = bulk.n_previewed - bulk.n_decided - bulk.n_changed
    if nothing:
        left.append(f"{nothing:,} had no {'suggestion' if bulk.action == 'accept' else 'label'}")
    return f"{counted(bulk.n_decided, 'example')} {what}." + (
        f" {'; '.join(left).capitalize()}." if left else "")
