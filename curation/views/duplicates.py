from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.duplicate_threshold import MIN_JUDGED
from curation.forms import KeepOneForm, SettleDuplicatesForm, WantedForm
from curation.models import DuplicateAction, DuplicateCluster, PairToJudge, QualityReport
from curation.services.duplicate_search import current_threshold
from curation.services.duplicates import (
    Wanted,
    cluster_item,
    cluster_queue,
    duplicate_counts,
    judge_pair,
    pair_item,
    preview_keep_one,
    settle_cluster,
    start_keep_one,
    undo_duplicates,
    undo_judgement,
)
from curation.services.queue import Filter
from curation.services.scoring import latest_report
from curation.views.page import LONG_TEXT, Request, after_decision, open_job, page_or_part, place_in, valid
from curation.views.review import review_url
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.rights import on

N_FOLLOWING = 8
N_KEYS = 9
NAV = "curation:review"  # under which entry of the project's pages these stand


@on(Project, "review")
@require_GET
def duplicate_list(request: Request, project: Project) -> HttpResponse:
    return _duplicates(request, project, at=place_in(request))


@on(Project, "review")
@require_POST
def duplicates_settle(request: Request, project: Project) -> HttpResponse:
    form = valid(SettleDuplicatesForm(request.POST))
    cluster = get_object_or_404(DuplicateCluster, pk=form["cluster"], report__project=project)
    action = settle_cluster(cluster, verdict=form["verdict"], by=request.user, kept=form["kept"], label=form["label"])
    following = cluster_queue(cluster.report, _wanted(request)).filter(place__gt=cluster.place).first()
    return _after(request, project, following.pk if following else None, note=_said(action))


@on(Project, "review")
@require_POST
def duplicates_undo(request: Request, project: Project) -> HttpResponse:
    actions = undo_duplicates(project, by=request.user)
    words = "Taken back." if len(actions) == 1 else f"Taken back, for {len(actions):,} groups."
    return _after(request, project, actions[0].cluster_id if len(actions) == 1 else None, taken_back=words)


def _said(action: DuplicateAction) -> str:
    n = len(action.decisions)
    return {
        DuplicateAction.Verdict.keep_one: f"Kept one, left out {n:,}.",
        DuplicateAction.Verdict.keep_all: "Kept all; the next scoring will not join them.",
        DuplicateAction.Verdict.merge: f"One label for {n:,} example{'s' if n > 1 else ''}.",
    }[DuplicateAction.Verdict(action.verdict)]


def _after(request: Request, project: Project, at: int | None, *, note: str = "", taken_back: str = "") -> HttpResponse:
    return after_decision(request, _url(project, _query(request), at=at), note or taken_back,
                          lambda: _duplicates(request, project, at=at, note=note, taken_back=taken_back))


def _query(request: Request) -> dict[str, str]:
    """The filter as it stands in the address, without what says nothing."""
    form = WantedForm(request.GET)
    form.is_valid()
    return {name: request.GET[name] for name in form.fields if form.cleaned_data.get(name) not in (None, "")}


def _wanted(request: Request) -> Wanted:
    form = WantedForm(request.GET)
    form.is_valid()
    found = form.cleaned_data
    highest = found.get("highest")
    return Wanted(found.get("what", ""), found.get("kind", ""), found.get("lowest") or 0.0,
                  1.0 if highest is None else highest)


def _url(project: Project, query: dict[str, str], name: str = "duplicates", **more: Any) -> str:
    query = query | {key: str(value) for key, value in more.items() if value is not None}
    return reverse(f"curation:{name}", args=[project.pk]) + (f"?{urlencode(query)}" if query else "")


def _duplicates(request: Request, project: Project, *, at: int | None, note: str = "",
                taken_back: str = "") -> HttpResponse:
    """The page of duplicates, or for htmx only the part of it that changes."""
    report, query, wanted = latest_report(project), _query(request), _wanted(request)
    context: dict[str, Any] = {"project": project, "report": report, "nav": NAV, "note": note, "taken_back": taken_back,
                               "undo_url": _url(project, query, "duplicates-undo"), "min_judged": MIN_JUDGED}
    if report is None:
        context |= {"has_examples": Example.objects.filter(project=project).exists(), "job": open_job(project, "score")}
    else:
        context |= _queue_context(request, project, report, query, wanted, at)
    return page_or_part(request, "curation/duplicates.html", "curation/_duplicates.html", context)


def _queue_context(request: Request, project: Project, report: QualityReport, query: dict[str, str], wanted: Wanted,
                   at: int | None) -> dict[str, Any]:
    counts, queue = duplicate_counts(report, wanted.what), cluster_queue(report, wanted).select_related("centre")
    cluster = report.duplicate_clusters.select_related("centre").filter(pk=at).first() if at else None
    cluster = cluster or queue.first()
    without = {name: value for name, value in query.items() if name != "what"}
    tabs = [("", "all", counts.n_left), *((what.value, words, counts.what[what]) for what, words in (
        (DuplicateCluster.What.leak, "in two splits"), (DuplicateCluster.What.conflict, "labels differ"),
        (DuplicateCluster.What.other, "other repeats")))]
    context: dict[str, Any] = {
        "counts": counts, "wanted": wanted, "form": WantedForm(query), "is_filtered": bool(without),
        "threshold": current_threshold(project, report), "job": open_job(project, "keep_one"),
        "found": report.job.result.get("duplicates", {}),
        "tabs": [(words, n, _url(project, without | ({"what": what} if what else {})), what == wanted.what)
                 for what, words, n in tabs],
        "clear_url": _url(project, {"what": wanted.what} if wanted.what else {})}
    if cluster is None:
        return context
    shows_all = request.GET.get("members") == "all"
    item = cluster_item(cluster, report, shows_all=shows_all)
    following = list(queue.filter(place__gt=cluster.place)[:N_FOLLOWING])
    previous = queue.filter(place__lt=cluster.place).reverse().first()
    component = report.scores.filter(example=cluster.centre_id).values_list("cluster", flat=True).first()
    return context | {
        "item": item, "review_url": review_url(project, Filter(view="all", cluster=component, state="any"))
        if component is not None else "", "is_long": len(cluster.centre.text) > LONG_TEXT,
        "labels": [(*label, str(key) if key <= N_KEYS else "") for key, label in enumerate(item.labels, 1)],
        "settle_url": _url(project, query, "duplicates-settle"),
        "all_url": _url(project, query, at=cluster.pk, members="all") if item.n_more and not shows_all else "",
        "following": [(one, _url(project, query, at=one.pk)) for one in following],
        "next_url": _url(project, query, at=following[0].pk) if following else "",
        "previous_url": _url(project, query, at=previous.pk) if previous else ""}


@on(Project, "review")
@require_http_methods(["GET", "HEAD", "POST"])
def keep_one(request: Request, project: Project) -> HttpResponse:
    """Keep one of every group above a similarity: what that would do, and then doing it."""
    report = latest_report(project)
    if report is None:
        raise UserError("Score the project first: duplicates are found by scoring.")
    if request.method == "POST":
        form, n_seen = valid(KeepOneForm(request.POST)), request.POST.get("n_seen", "")
        start_keep_one(report, lowest=form["lowest"], kind=form["kind"], by=request.user,
                       n_seen=int(n_seen) if n_seen.isdecimal() else 0)
        return redirect("curation:duplicates", project.pk)
    asked = KeepOneForm(request.GET if "lowest" in request.GET else {"lowest": "1", "kind": ""})
    form = valid(asked)
    return render(request, "curation/duplicates_keep_one.html", {
        "project": project, "nav": NAV, "form": asked, "lowest": form["lowest"], "kind": form["kind"],
        "bulk": preview_keep_one(report, lowest=form["lowest"], kind=form["kind"])})


@on(Project, "review")
@require_GET
def pairs(request: Request, project: Project) -> HttpResponse:
    return _pairs(request, project)


@on(Project, "review")
@require_POST
def pairs_judge(request: Request, project: Project) -> HttpResponse:
    """Judge the pair that the page showed, or take the last judgement back."""
    answer, number = request.POST.get("answer", ""), request.POST.get("pair", "")
    if answer == "undo":
        undo_judgement(project, by=request.user)
        note, taken_back = "", "Your judgement is taken back."
    else:
        pair = get_object_or_404(PairToJudge.objects.select_related("report"), report__project=project,
                                 pk=int(number) if number.isdecimal() else 0)
        note, taken_back = f"Judged: {judge_pair(pair, answer=answer, by=request.user).get_answer_display()}.", ""
    if not request.htmx:
        messages.success(request, note or taken_back)
        return redirect("curation:pairs", project.pk)
    return _pairs(request, project, taken_back=taken_back)


def _pairs(request: Request, project: Project, *, taken_back: str = "") -> HttpResponse:
    report = latest_report(project)
    context: dict[str, Any] = {"project": project, "report": report, "nav": NAV, "taken_back": taken_back}
    if report is not None:
        context |= {"item": pair_item(report), "threshold": current_threshold(project, report),
                    "min_judged": MIN_JUDGED}
    return page_or_part(request, "curation/duplicates_pairs.html", "curation/_pairs.html", context)
