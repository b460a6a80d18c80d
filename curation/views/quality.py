from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from curation.models import Flag, GoldSet, ScoreChange
from curation.services.causes import causes_of
from curation.services.labels import answers_of
from curation.services.quality import ReportRow, changed_scores, confused_pairs, read_quality
from curation.services.queue import Filter, names_of
from curation.services.review import review_counts
from curation.services.scoring import latest_report, start_score
from curation.views.page import ROWS_PER_PAGE, Request, open_job
from curation.views.review import review_url
from jobs.models import Job
from labeling.models import Example
from labeling.services.annotators import names_for
from projects.charts import Chart, trend_chart
from projects.errors import UserError
from projects.models import Project
from projects.rights import on
from projects.wording import percent_words


@on(Project, "see_quality")
@require_GET
def quality(request: Request, project: Project) -> HttpResponse:
    report = latest_report(project)
    gold = GoldSet.objects.filter(project=project).first()
    found = read_quality(report, names_for(project, request.user)) if report else None
    return render(request, "curation/quality.html", {
        "project": project, "report": report, "job": open_job(project, "score"),
        "has_examples": report is not None or Example.objects.filter(project=project).exists(),
        "quality": found, "reports_chart": _reports_chart(found.reports) if found else None,
        "counts": review_counts(report) if report else None,
        "causes": causes_of(project), "names": names_of(project),
        "pairs": [(pair, review_url(project, Filter(view="flagged", label=pair.given, predicted=pair.suggested)))
                  for pair in confused_pairs(report)] if report else [],
        "threshold": gold.min_quality if gold and gold.min_quality > 0 else None})


def _reports_chart(reports: list[ReportRow]) -> Chart | None:
    """How the share of doubted labels went, from two reports on."""
    if len(reports) < 2:
        return None
    first, last = reports[0], reports[-1]
    days = [(row, timezone.localtime(row.created_at)) for row in reports]
    return trend_chart([(f"{row.pk}, {day.day} {day:%b}", row.flagged) for row, day in days], title="looked wrong",
                       words=f"Labels that looked wrong: {percent_words(first.flagged.estimate)} in report {first.pk}, "
                             f"{percent_words(last.flagged.estimate)} in report {last.pk}")


@on(Project, "see_quality")
@require_GET
def quality_changes(request: Request, project: Project) -> HttpResponse:
    what, kind = request.GET.get("what", ScoreChange.What.flagged), request.GET.get("kind", "")
    report = latest_report(project)
    if report is None:
        raise UserError("Nothing is scored yet, so nothing has changed. Score the labels first.")
    rows = changed_scores(report, what=what, kind=kind)
    after = request.GET.get("after", "")
    found = list((rows.filter(score__gt=int(after)) if after.isdecimal() else rows)[:ROWS_PER_PAGE + 1])
    answers = answers_of(project)
    return render(request, "curation/quality_changes.html", {
        "project": project, "report": report, "what": what, "kind": kind, "change": ScoreChange.What(what).label,
        "name": Flag.Kind(kind).label if kind else "", "n": report.n_changes.get(f"{what} {kind}".strip(), 0),
        "rows": [(row, *(answers.show(label, source=row.score.example.text) for label in (row.before, row.after)))
                 if what == ScoreChange.What.relabelled else (row, row.before, row.after)
                 for row in found[:ROWS_PER_PAGE]],
        "next": found[ROWS_PER_PAGE - 1].score_id if len(found) > ROWS_PER_PAGE else None})


@on(Project, "score")
@require_POST
def quality_score(request: Request, project: Project) -> HttpResponse:
    if not Job.objects.active().filter(project=project, kind="score").exists():  # two clicks are one wish
        start_score(project, by=request.user)
    return redirect("curation:quality", project.pk)
