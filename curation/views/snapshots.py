from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_POST

from curation.exports import EXPORTS, formats_of
from curation.forms import ApprovalForm
from curation.models import Approval, Snapshot
from curation.services.checks import check_snapshot
from curation.services.gold_sets import STRATA
from curation.services.labels import answers_of
from curation.services.snapshots import (
    approval_obstacle,
    approve_snapshot,
    changes_since,
    export_snapshot,
    left_out_of,
    read_manifest,
)
from curation.views.page import ROWS_PER_PAGE, Request, open_job, valid
from projects.errors import UserError
from projects.models import Project
from projects.rights import can, on

FORMAT_WORDS = {"trl": "JSONL for TRL", "messages": "JSONL of messages", "preference": "JSONL for DPO", "csv": "CSV"}


@on(Project, "see_snapshot")
@require_GET
def snapshot_list(request: Request, project: Project) -> HttpResponse:
    snapshots = Snapshot.objects.filter(project=project).select_related("created_by", "approval__approver")
    return render(request, "curation/snapshot_list.html", {
        "project": project, "snapshots": snapshots, "job": open_job(project, "freeze"),
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
    page = Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    answers = answers_of(snapshot.project)
    return render(request, "curation/snapshot_detail.html", {
        "project": snapshot.project, "snapshot": snapshot, "made_by": snapshot.created_by, "approval": approval,
        "checks": checks,
        "n_failed": sum(not check.holds for check in checks),
        "page": page, "split": split,
        "rows": [(row, answers.show(row.label, source=row.example.text)) for row in page],
        "formats": [(format, FORMAT_WORDS[format]) for format in formats_of(snapshot.project.task_type)],
        "stratum": STRATA[snapshot.project.task_type],
        "is_trainable": snapshot.project.task_type == Project.TaskType.classification,
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
    form = valid(ApprovalForm(request.POST))
    approval = approve_snapshot(snapshot, sha256=form["sha256"], approver=request.user, comment=form["comment"],
                                decision=form["decision"])
    messages.success(request, f"{snapshot} is {approval.decision}.")
    return redirect("curation:snapshot-detail", snapshot.pk)


@on(Snapshot, "export_snapshot")
@require_GET
def snapshot_export(request: Request, snapshot: Snapshot) -> HttpResponse:
    """The rows in a format, or with `what=left-out` the list of what is not in that file."""
    format, name = request.GET.get("format", "trl"), slugify(snapshot.project.name) or "project"
    if request.GET.get("what") == "left-out":
        content, ending = left_out_of(snapshot, format=format), f"{format}-left-out.csv"
    else:
        content, ending = export_snapshot(snapshot, format=format), EXPORTS[format]
        ending = f"{format}.{ending}" if format in ("messages", "preference") else ending
    kind = "text/csv; charset=utf-8" if ending.endswith("csv") else "application/jsonl"
    return HttpResponse(content, content_type=kind, headers={
        "Content-Disposition": f'attachment; filename="{name}-snapshot-{snapshot.number}.{ending}"'})
