from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.answers import Answers
from curation.exports import EXPORTS, formats_of
from curation.forms import ApprovalForm, OverrideForm, SaidForm, SnapshotFileForm
from curation.models import Approval, ApprovalRequest, Snapshot, SnapshotComment, SnapshotRow
from curation.services.approvals import (
    approval_obstacle,
    approve_snapshot,
    comment_on,
    judged_checks,
    override_check,
    request_approval,
)
from curation.services.diffs import KINDS, changes_since, differing
from curation.services.exporting import LARGE_ROWS, export_jobs, exported, open_export, start_export
from curation.services.frozen import read_manifest
from curation.services.gold_sets import STRATA
from curation.services.importing import receive_snapshot
from curation.services.labels import answers_of, ballot_of
from curation.services.snapshots import start_roll_back
from curation.services.staleness import changed_rows, label_now, n_erased
from curation.views.page import ROWS_PER_PAGE, Request, open_job, valid
from jobs.models import Job
from labeling.models import Annotation, Assignment
from labeling.services.annotators import names_for
from projects.errors import UserError
from projects.models import Project
from projects.rights import can, on

SNAPSHOTS_PER_PAGE = 25
SHOWN_CHANGED = 20
SPLITS = ("dev", "test", "train")  # as they follow each other in a snapshot's file
MEND = {  # check → what to do about it, and where
    "leaks": ("Score again, then freeze again", "curation:quality"),
    "groups": ("See the examples", "labeling:example-list"),
    "blind_labels": ("Ask for more labels", "labeling:board"),
    "labels": ("Look at the answers", "curation:review"),
    "balance": ("Change the gold set", "curation:gold-set"),
    "personal_data": ("Exclude them in review", "curation:review"),
    "conflicts": ("Settle them in review", "curation:review"),
    "scoring": ("Score again, then freeze again", "curation:quality"),
    "staleness": ("Freeze again", "curation:gold-set"),
}


@on(Project, "see_snapshot")
@require_GET
def snapshot_list(request: Request, project: Project) -> HttpResponse:
    snapshots = Snapshot.objects.filter(project=project).select_related(
        "created_by", "approval__approver", "request__asked_by", "parent", "same_as")
    page = Paginator(snapshots, SNAPSHOTS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "curation/snapshot_list.html", {
        "project": project, "page": page, "snapshots": list(page),
        "job": open_job(project, "freeze"), "import_job": open_job(project, "import_snapshot"),
        "may_freeze": can(request.user, "freeze", project)})


@on(Snapshot, "see_snapshot")
@require_GET
def snapshot_detail(request: Request, snapshot: Snapshot) -> HttpResponse:
    approval = Approval.objects.filter(snapshot=snapshot).select_related("approver").first()
    changed = changed_rows(snapshot)
    checks = judged_checks(snapshot, changed)
    answers = answers_of(snapshot.project)
    newest = Snapshot.objects.filter(project=snapshot.project_id).first()
    obstacle = "" if approval else approval_obstacle(snapshot, request.user)
    return render(request, "curation/snapshot_detail.html", {
        "project": snapshot.project, "snapshot": snapshot, "made_by": snapshot.created_by, "approval": approval,
        "checks": [(judged, *_mend(snapshot.project, judged.check.name)) for judged in checks],
        "n_checks": len(checks), "n_red": sum(not judged.is_green for judged in checks),
        "n_overridden": sum(judged.override is not None for judged in checks),
        "may_override": not approval and not obstacle,
        "changed": [(row, answers.show(row.label), answers.show(row.label_now)) for row in changed[:SHOWN_CHANGED]],
        "n_changed": len(changed), "n_erased": n_erased(snapshot), "newest": newest,
        "stratum": STRATA[snapshot.project.task_type],
        "labels": _label_counts(snapshot), "facts": _facts(snapshot),
        "changes": changes_since(snapshot, snapshot.parent) if snapshot.parent else None,
        "obstacle": obstacle, "asked": ApprovalRequest.objects.filter(snapshot=snapshot).select_related(
            "asked_by").first(),
        "comments": SnapshotComment.objects.filter(snapshot=snapshot).select_related("author"), "said": SaidForm(),
        "is_own": request.user.pk == snapshot.created_by_id, "form": ApprovalForm(initial={"sha256": snapshot.sha256}),
        **_rows_context(request, snapshot, answers), **_export_context(snapshot)})


def _mend(project: Project, name: str) -> tuple[str, str]:
    """What to do about a check that fails, and the page for it; ("", "") where only a backup helps."""
    words, url = MEND.get(name, ("", ""))
    return words, reverse(url, args=[project.pk]) if url else ""


def _rows_context(request: Request, snapshot: Snapshot, answers: Answers) -> dict[str, Any]:
    """A page of rows. They are numbered from 0 and sorted by split, so a page is a range and needs no counting."""
    split = request.GET.get("split", "")
    split = split if split in SPLITS else ""
    n_of = {name: snapshot.counts[name] for name in SPLITS}
    start = sum(n_of[name] for name in SPLITS[:SPLITS.index(split)]) if split else 0
    n = n_of[split] if split else sum(n_of.values())
    page = Paginator(range(start, start + n), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    first = page.object_list[0] if page.object_list else start
    rows = snapshot.rows.filter(position__gte=first, position__lt=first + len(page.object_list)).select_related(
        "example", "decision__decided_by").order_by("position")
    return {"page": page, "split": split, "rows": [(row, answers.show(row.label, source=row.example.text))
                                                   for row in rows],
            "splits": [(name, n_of[name]) for name in ("train", "dev", "test")]}


def _export_context(snapshot: Snapshot) -> dict[str, Any]:
    is_large = sum(snapshot.counts[name] for name in SPLITS) >= LARGE_ROWS
    return {"formats": [(name, EXPORTS[name]) for name in formats_of(snapshot.project.task_type)],
            "is_large": is_large, "export_jobs": [
                (job, EXPORTS[job.params["format"]].words) for job in export_jobs(snapshot)] if is_large else []}


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


# Deciding

@on(Snapshot, "approve_snapshot")
@require_POST
def snapshot_approve(request: Request, snapshot: Snapshot) -> HttpResponse:
    form = valid(ApprovalForm(request.POST))
    approval = approve_snapshot(snapshot, sha256=form["sha256"], approver=request.user, comment=form["comment"],
                                decision=form["decision"])
    messages.success(request, f"{snapshot} is {approval.decision}.")
    return redirect("curation:snapshot-detail", snapshot.pk)


@on(Snapshot, "approve_snapshot")
@require_POST
def snapshot_override(request: Request, snapshot: Snapshot) -> HttpResponse:
    form = valid(OverrideForm(request.POST))
    override_check(snapshot, name=form["name"], n=form["n"], reason=form["reason"], by=request.user)
    messages.success(request, "Overridden; your reason stays with the snapshot.")
    return redirect("curation:snapshot-detail", snapshot.pk)


@on(Snapshot, "freeze")
@require_POST
def snapshot_request(request: Request, snapshot: Snapshot) -> HttpResponse:
    request_approval(snapshot, by=request.user, note=request.POST.get("note", ""))
    messages.success(request, "Asked: the admins read it on their home page.")
    return redirect("curation:snapshot-detail", snapshot.pk)


@on(Snapshot, "see_snapshot")
@require_POST
def snapshot_comment(request: Request, snapshot: Snapshot) -> HttpResponse:
    comment_on(snapshot, text=valid(SaidForm(request.POST))["text"], by=request.user)
    return redirect(reverse("curation:snapshot-detail", args=[snapshot.pk]) + "#thread")


@on(Snapshot, "freeze")
@require_POST
def snapshot_again(request: Request, snapshot: Snapshot) -> HttpResponse:
    """Go back to this snapshot: its rows become the project's newest snapshot."""
    start_roll_back(snapshot, by=request.user)
    return redirect("curation:snapshot-list", snapshot.project_id)


# Reading

@on(Snapshot, "see_snapshot")
@require_GET
def snapshot_changes(request: Request, snapshot: Snapshot) -> HttpResponse:
    """What this snapshot holds differently from another one of the project, its parent unless one is named."""
    others = Snapshot.objects.filter(project=snapshot.project_id).exclude(pk=snapshot.pk)
    asked = request.GET.get("from", "")
    earlier = others.filter(pk=asked).first() if asked.isdecimal() else snapshot.parent
    if earlier is None:
        raise UserError(f"{snapshot} is the first, so there is nothing to compare it with.")
    changes = changes_since(snapshot, earlier)
    n_of = {kind: getattr(changes, f"n_{kind}") for kind in KINDS}
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else next((name for name, n in n_of.items() if n), "added")
    page = _CountedPages(differing(snapshot, earlier, kind).select_related("example"), ROWS_PER_PAGE,
                         n=n_of[kind]).get_page(request.GET.get("page"))
    answers = answers_of(snapshot.project)
    return render(request, "curation/snapshot_changes.html", {
        "project": snapshot.project, "nav": "curation:snapshot-list", "snapshot": snapshot, "earlier": earlier,
        "others": others, "changes": changes, "kind": kind, "page": page, "kind_words": KINDS[kind],
        "kinds": [(name, words, n_of[name]) for name, words in KINDS.items()],
        "rows": [(row, answers.show(row.label, source=row.example.text),
                  answers.show(getattr(row, "before", "") or "", source=row.example.text)) for row in page]})


class _CountedPages(Paginator):
    """A paginator that knows how many rows there are: counting them compares the snapshots once more."""

    def __init__(self, rows: QuerySet[SnapshotRow], per_page: int, *, n: int) -> None:
        super().__init__(rows, per_page)
        self.count = n


@on(Snapshot, "see_snapshot")
@require_GET
def snapshot_row(request: Request, snapshot: Snapshot, position: int) -> HttpResponse:
    """Where one row came from: file, answers, report, decision; and what it would be today."""
    row = get_object_or_404(SnapshotRow.objects.select_related("example__upload", "example__erasure__erased_by"),
                            snapshot=snapshot, position=position)
    example, answers = row.example, answers_of(snapshot.project)
    example.project = snapshot.project
    erasure = getattr(example, "erasure", None)
    # Whoever still has to answer it themself does not see what others said
    is_blind = Assignment.objects.open().filter(example=example, annotator__user=request.user).exists()
    said = list(Annotation.objects.filter(pk__in=row.annotation_ids).order_by("pk")) if not is_blind else []
    later = list(Annotation.objects.filter(example=example, pk__gt=snapshot.last_annotation or 0).exclude(
        pk__in=row.annotation_ids).order_by("pk")) if not is_blind and snapshot.last_annotation is not None else []
    decisions = list(example.decisions.select_related("decided_by").order_by("pk"))
    now = "" if erasure else label_now(row.label, row.split, ballot_of(example), answers)
    return render(request, "curation/snapshot_row.html", {
        "project": snapshot.project, "nav": "curation:snapshot-list", "snapshot": snapshot, "row": row,
        "example": example, "erasure": erasure, "is_blind": is_blind,
        "label": answers.show(row.label, source=example.text), "has_changed": not erasure and now != row.label,
        "label_now": answers.show(now, source=example.text),
        **_answers_context(request, snapshot, said, later, answers, example.text),
        "decisions": [(decision, answers.show(decision.value, source=example.text)) for decision in decisions],
        "may_erase": can(request.user, "erase", snapshot.project), "score": snapshot.report.scores.filter(
            example=example).first() if snapshot.report else None,
        "previous": position - 1 if position else None,
        "next": position + 1 if position + 1 < sum(snapshot.counts[name] for name in SPLITS) else None})


def _answers_context(request: Request, snapshot: Snapshot, said: Sequence[Annotation], later: Sequence[Annotation],
                     answers: Answers, text: str) -> dict[str, Any]:
    names = names_for(snapshot.project, request.user) if said or later else {}

    def shown(annotation: Annotation) -> tuple[Annotation, str, str]:
        value = "" if annotation.value is None else answers.kind.show(annotation.value, source=text)
        return annotation, names.get(annotation.annotator_id, "somebody"), value

    return {"said": [shown(one) for one in said], "later": [shown(one) for one in later]}


# Files out and in

@on(Snapshot, "export_snapshot")
@require_GET
def snapshot_export(request: Request, snapshot: Snapshot) -> FileResponse:
    """The data in a format, or with `what=folder` all that stands beside it, too, as one file."""
    format = request.GET.get("format", "trl")
    if sum(snapshot.counts[name] for name in SPLITS) >= LARGE_ROWS:
        raise UserError(f"A snapshot of {LARGE_ROWS:,} rows and more is exported by a job. Start it on its page.")
    with exported(snapshot, format, whole=request.GET.get("what") == "folder") as (path, name):
        return FileResponse(path.open("rb"), as_attachment=True, filename=name,
                            content_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"})


@on(Snapshot, "export_snapshot")
@require_POST
def snapshot_export_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    job = start_export(snapshot, request.POST.get("format", "trl"), by=request.user)
    if job.state == Job.State.succeeded:
        return redirect("curation:export-file", job.pk)
    return redirect(reverse("curation:snapshot-detail", args=[snapshot.pk]) + "#export")


@on(Job, "export_snapshot")
@require_GET
def export_file(request: Request, job: Job) -> FileResponse:
    if job.kind != "export":
        raise Http404("This job is no export.")
    file, name = open_export(job)
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/octet-stream",
                        headers={"X-Content-Type-Options": "nosniff"})


@on(Project, "import_examples")
@require_http_methods(["GET", "POST"])
def snapshot_import(request: Request, project: Project) -> HttpResponse:
    form = SnapshotFileForm(request.POST, request.FILES) if request.method == "POST" else SnapshotFileForm()
    if form.is_bound and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            receive_snapshot(project, file, name=file.name, by=request.user)
        except UserError as error:
            form.add_error("file", str(error))
        else:
            return redirect("curation:snapshot-list", project.pk)
    return render(request, "curation/snapshot_import.html", {
        "project": project, "nav": "curation:snapshot-list", "form": form},
        status=422 if form.is_bound and not form.is_valid() else 200)
