from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import push_url
from django_htmx.middleware import HtmxDetails

from curation.forms import ApprovalForm, DecisionForm, GoldRuleForm, ReasonForm
from curation.models import Approval, Decision, ExampleScore, GoldSet, QualityReport, Snapshot
from curation.selection import LeftOut
from curation.services.checks import check_snapshot
from curation.services.gold_sets import gold_set_of, preview, rule_of, save_rule
from curation.services.quality import read_quality
from curation.services.review import (
    VIEWS,
    ReviewCounts,
    decide,
    next_in,
    previous_in,
    review_counts,
    review_item,
    review_queue,
    score_to_review,
    undo,
)
from curation.services.scoring import latest_report, start_score
from curation.services.snapshots import (
    EXPORTS,
    approval_obstacle,
    approve_snapshot,
    changes_since,
    export_snapshot,
    held_out,
    read_manifest,
    start_freeze,
)
from jobs.models import Job
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.rights import can, on

N_KEYS = 9  # labels that have a digit of their own
LONG_TEXT = 500  # characters from which a text is shown at reading size, so that the buttons stay in sight
ROWS_PER_PAGE = 50
N_SHOWN = 10  # example texts of a gold set


class Request(HttpRequest):
    """What a view behind `on` gets: its user is somebody."""

    user: User
    htmx: HtmxDetails


# Review

@on(Project, "review")
@require_GET
def review(request: Request, project: Project) -> HttpResponse:
    at = request.GET.get("at", "")
    return _review(request, project, at=int(at) if at.isdecimal() else None)


@on(Project, "review")
@require_POST
def review_decide(request: Request, project: Project) -> HttpResponse:
    form = _valid(DecisionForm(request.POST))
    report = latest_report(project)
    score = report and report.scores.select_related("example__project").filter(pk=form["score"]).first()
    if not score or not report:
        raise UserError("The project has been scored anew since your page was drawn. Reload it and decide there.")
    decision = decide(score.example, verdict=form["verdict"], value=form["value"], reason=form["reason"],
                      by=request.user, report=report, seen=form["seen"])
    following = next_in(review_queue(report, _view_of(request)), score) if score.label_quality is not None else None
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
    return {
        Decision.Verdict.keep: f"Kept “{decision.value}”.",
        Decision.Verdict.relabel: f"Relabelled to “{decision.value}”.",
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
                    "job": _open_job(project, "score")}
    else:
        counts, queue = review_counts(report), review_queue(report, view)
        score = score_to_review(report, at) if at else None
        if score is None and getattr(counts, view):
            score = queue.first()
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
    item = review_item(score, report)
    is_scored = score.label_quality is not None
    previous = previous_in(queue, score) if is_scored else None
    following = next_in(queue, score) if is_scored else queue.first()
    is_asking = request.GET.get("ask") == "discuss"
    return {
        "item": item, "n_copies": score.cluster_size - 1, "is_long": len(score.example.text) > LONG_TEXT,
        "buttons": [LabelButton(label, str(n)) for n, label in enumerate(project.labels[:N_KEYS], start=1)],
        "has_more_labels": len(project.labels) > N_KEYS, "reason_form": ReasonForm() if is_asking else None,
        "decide_url": f"{reverse('curation:decide', args=[project.pk])}?{urlencode({'view': view})}",
        "here_url": _review_url(project, view, score.pk),
        "ask_url": _review_url(project, view, score.pk, ask="discuss"),
        "previous_url": _review_url(project, view, previous.pk) if previous else "",
        "next_url": _review_url(project, view, following.pk) if following else ""}


# Quality

@on(Project, "see_quality")
@require_GET
def quality(request: Request, project: Project) -> HttpResponse:
    report = latest_report(project)
    gold = GoldSet.objects.filter(project=project).first()
    return render(request, "curation/quality.html", {
        "project": project, "report": report, "job": _open_job(project, "score"),
        "has_examples": report is not None or Example.objects.filter(project=project).exists(),
        "quality": read_quality(report) if report else None, "counts": review_counts(report) if report else None,
        "threshold": gold.min_quality if gold and gold.min_quality > 0 else None})


@on(Project, "score")
@require_POST
def quality_score(request: Request, project: Project) -> HttpResponse:
    if not Job.objects.active().filter(project=project, kind="score").exists():  # two clicks are one wish
        start_score(project, by=request.user)
    return redirect("curation:quality", project.pk)


def _open_job(project: Project, kind: str) -> Job | None:
    """The last job of this kind if it waits, runs or has failed; what succeeded shows in what it made."""
    job = Job.objects.filter(project=project, kind=kind).first()
    return job if job is not None and (job.is_active or job.state == Job.State.failed) else None


# Gold set

@on(Project, "edit_gold_set")
def gold_set(request: Request, project: Project) -> HttpResponse:
    stored = gold_set_of(project)
    form = GoldRuleForm(request.POST or None, instance=stored)
    if request.method == "POST" and form.is_valid():
        save_rule(stored, **form.cleaned_data, by=request.user)
        messages.success(request, "The rule is saved.")
        return redirect("curation:gold-set", project.pk)
    return _gold_set_page(request, project, form)


@on(Project, "edit_gold_set")
@require_GET
def gold_set_preview(request: Request, project: Project) -> HttpResponse:
    """What the rule of the form picks. Nothing is saved."""
    form = GoldRuleForm(request.GET, instance=gold_set_of(project))
    context = {"project": project, "is_live": True, **_preview_context(project, form)}
    return render(request, "curation/_gold_preview.html", context)


@on(Project, "edit_gold_set")
@require_GET
def gold_set_held_out(request: Request, project: Project) -> HttpResponse:
    report = latest_report(project)
    if report is None:
        raise UserError("Score the project first: held-out examples are chosen without repeats.")
    found = held_out(project, report)
    splits = [{"name": split, "n": len(found.label_of[split]), "left_out": found.left_out[split]}
              for split in ("dev", "test")]
    return render(request, "curation/_held_out.html", {"project": project, "splits": splits})


@on(Project, "freeze")
@require_POST
def gold_set_freeze(request: Request, project: Project) -> HttpResponse:
    """Freeze what the page shows: the rule comes with the click. Without one, the stored rule is frozen."""
    stored = gold_set_of(project)
    form = GoldRuleForm(request.POST, instance=stored)
    if "size" in request.POST:
        if not form.is_valid():
            return _gold_set_page(request, project, form)
        if form.has_changed():
            save_rule(stored, **form.cleaned_data, by=request.user)
    start_freeze(project, by=request.user)
    return redirect("curation:snapshot-list", project.pk)


def _gold_set_page(request: Request, project: Project, form: GoldRuleForm) -> HttpResponse:
    has_report = latest_report(project) is not None
    return render(request, "curation/gold_set.html", {
        "project": project, "form": form, "has_report": has_report,
        **(_preview_context(project, form) if has_report else {})},
        status=422 if form.is_bound and form.errors else 200)


# What a reason to leave means, and the review view that holds those examples
LEFT_OUT = {
    LeftOut.EXCLUDED: ("Excluded in review", ""),
    LeftOut.NO_LABEL: ("Have no label yet", ""),
    LeftOut.UNDER_DISCUSSION: ("Are being discussed", "discuss"),
    LeftOut.CROSSES_SPLIT: ("Repeat a held-out example: training on them would leak the answers", ""),
    LeftOut.LABEL_ISSUE: ("Look wrong, and nobody has decided", "flagged"),
    LeftOut.LOW_QUALITY: ("Are below the lowest quality", ""),
    LeftOut.DUPLICATE: ("Repeat a better one that stays", ""),
    LeftOut.NOT_DRAWN: ("Were not drawn: there are enough of their label", ""),
}


def _preview_context(project: Project, form: GoldRuleForm) -> dict[str, Any]:
    if form.is_bound and not form.is_valid():
        return {"refusal": "With these values the rule picks nothing: " + " ".join(
            f"{form.fields[name].label}: {errors[0]}" for name, errors in form.errors.items())}
    try:
        picked = preview(project, rule_of(form.instance))
    except UserError as error:
        return {"refusal": str(error)}
    doubtful = sorted(picked.label_of, key=lambda pk: (picked.quality_of[pk] is None, picked.quality_of[pk], pk))
    texts = dict(Example.objects.filter(pk__in=doubtful[:N_SHOWN]).values_list("pk", "text"))
    return {
        "picked": picked, "is_short": picked.n < picked.rule.size,
        "left_out": [(*LEFT_OUT[reason], n) for reason, n in picked.left_out.items()],
        "shown": [{"pk": pk, "text": texts[pk], "label": picked.label_of[pk], "quality": picked.quality_of[pk]}
                  for pk in doubtful[:N_SHOWN]]}


# Snapshots

@on(Project, "see_snapshot")
@require_GET
def snapshot_list(request: Request, project: Project) -> HttpResponse:
    snapshots = Snapshot.objects.filter(project=project).select_related("created_by", "approval__approver")
    return render(request, "curation/snapshot_list.html", {
        "project": project, "snapshots": snapshots, "job": _open_job(project, "freeze"),
        "may_freeze": can(request.user, "freeze", project)})


@on(Snapshot, "see_snapshot")
@require_GET
def snapshot_detail(request: Request, snapshot: Snapshot) -> HttpResponse:
    rows = snapshot.rows.select_related("example", "decision__decided_by")
    split = request.GET.get("split", "")
    if split in ("train", "dev", "test"):
        rows = rows.filter(split=split)
    approval = Approval.objects.filter(snapshot=snapshot).select_related("approver").first()
    checks = check_snapshot(snapshot)
    return render(request, "curation/snapshot_detail.html", {
        "project": snapshot.project, "snapshot": snapshot, "made_by": snapshot.created_by, "approval": approval,
        "checks": checks,
        "n_failed": sum(not check.holds for check in checks),
        "page": Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page")), "split": split,
        "splits": [(name, snapshot.counts[name]) for name in ("train", "dev", "test")],
        "labels": _label_counts(snapshot), "facts": _facts(snapshot),
        "changes": changes_since(snapshot, snapshot.parent) if snapshot.parent else None,
        "obstacle": "" if approval else approval_obstacle(snapshot, request.user),
        "is_own": request.user.pk == snapshot.created_by_id, "form": ApprovalForm(initial={"sha256": snapshot.sha256})})


def _label_counts(snapshot: Snapshot) -> list[dict[str, Any]]:
    of = snapshot.counts["labels"]
    return [{"label": label, **{split: of[split].get(label, 0) for split in ("train", "dev", "test")}}
            for label in of["train"]]


def _facts(snapshot: Snapshot) -> dict[str, Any] | None:
    """What the manifest says, or None if its file is gone or changed; the checks say so, too."""
    try:
        return read_manifest(snapshot)
    except UserError:
        return None


@on(Snapshot, "approve_snapshot")
@require_POST
def snapshot_approve(request: Request, snapshot: Snapshot) -> HttpResponse:
    form = _valid(ApprovalForm(request.POST))
    approval = approve_snapshot(snapshot, sha256=form["sha256"], approver=request.user, comment=form["comment"],
                                decision=form["decision"])
    messages.success(request, f"{snapshot} is {approval.decision}.")
    return redirect("curation:snapshot-detail", snapshot.pk)


@on(Snapshot, "export_snapshot")
@require_GET
def snapshot_export(request: Request, snapshot: Snapshot) -> HttpResponse:
    format = request.GET.get("format", "trl")
    content = export_snapshot(snapshot, format=format)
    name = f"{slugify(snapshot.project.name) or 'project'}-snapshot-{snapshot.number}.{EXPORTS[format]}"
    kind = "text/csv; charset=utf-8" if format == "csv" else "application/jsonl"
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _valid(form: Form) -> dict[str, Any]:
    """The form's values. Raises UserError with the first thing that is wrong."""
    if form.is_valid():
        return form.cleaned_data
    field, errors = next(iter(form.errors.items()))
    raise UserError(errors[0] if field == "__all__" else f"{field.capitalize()}: {errors[0]}")
