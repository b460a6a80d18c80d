from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from curation.models import Experiment, LabelForecast
from curation.services.experiments import SEEDS, experiment_obstacle, start_experiment
from curation.services.forecasts import Price, forecast_obstacle, start_forecast
from curation.services.labels import answers_of
from curation.services.queue import Filter
from curation.views.page import Request, open_job
from curation.views.review import review_url
from jobs.models import Job
from labeling.models import Example
from projects.charts import Chart, interval_chart, learning_chart
from projects.models import Project
from projects.rights import on
from projects.wording import percent_words, point_words
from stats.intervals import Interval

NAV = "curation:gold-set"
N_LISTED = 20


@on(Project, "experiment")
@require_http_methods(["GET", "POST"])
def experiments(request: Request, project: Project) -> HttpResponse:
    """What was tried, and the two questions that can be asked."""
    if request.method == "POST":
        if not Job.objects.active().filter(project=project, kind="experiment").exists():  # two clicks are one wish
            start_experiment(project, kind=request.POST.get("kind", Experiment.Kind.arms), by=request.user,
                             split="test" if "look_at_test" in request.POST else "dev")
        return redirect("curation:experiments", project.pk)
    found = Experiment.objects.filter(project=project).select_related("created_by")[:N_LISTED]
    return render(request, "curation/experiments.html", {
        "project": project, "nav": NAV, "experiments": found, "obstacle": experiment_obstacle(project),
        "job": open_job(project, "experiment"), "n_seeds": len(SEEDS)})


@on(Experiment, "experiment")
@require_GET
def experiment_detail(request: Request, experiment: Experiment) -> HttpResponse:
    arms = list(experiment.arms.all())
    rows = [{"arm": arm, "accuracy": Interval(**arm.accuracy), "n_draws": len(arm.accuracies),
             "difference": Interval(**arm.difference) if arm.difference else None} for arm in arms]
    groups = _groups(experiment)
    return render(request, "curation/experiment_detail.html", {
        "experiment": experiment, "project": experiment.project, "nav": NAV, "rows": rows, "groups": groups,
        "accuracies": [row["accuracy"] for row in rows],
        "gaps_chart": _differences("Against the first", [
            (arm.name, Interval(**arm.difference)) for arm in arms if arm.difference]),
        "gains_chart": _differences("May bring", [
            (f"{group['given']} → {group['suggested']}", group["gain"]) for group in groups])})


def _differences(what: str, rows: list[tuple[str, Interval]]) -> Chart | None:
    """Two differences or more as a chart: one alone is said as well by its figure."""
    if len(rows) < 2:
        return None
    return interval_chart(rows, words=f"{what}: " + "; ".join(
        f"{name} {point_words(gap.estimate)}, {point_words(gap.low)} to {point_words(gap.high)}" for name, gap in rows))


def _groups(experiment: Experiment) -> list[dict[str, Any]]:
    """The groups of flagged rows with their gain and a few texts."""
    wanted = [pk for group in experiment.groups for pk in group["examples"]]
    texts = dict(Example.objects.filter(pk__in=wanted).values_list("pk", "text"))
    project, show = experiment.project, answers_of(experiment.project).show
    return [{"given": show(group["given"]), "suggested": show(group["suggested"]), "n": group["n"],
             "url": review_url(project, Filter(view="flagged", label=group["given"], predicted=group["suggested"])),
             "gain": Interval(**group["gain"]), "examples": [(pk, texts[pk]) for pk in group["examples"]]}
            for group in experiment.groups]


@on(Project, "experiment")
@require_http_methods(["GET", "POST"])
def forecasts(request: Request, project: Project) -> HttpResponse:
    """The newest forecast of how many labels the target may take, and the earlier ones."""
    if request.method == "POST":
        if not Job.objects.active().filter(project=project, kind="forecast").exists():
            start_forecast(project, by=request.user)
        return redirect("curation:forecasts", project.pk)
    made = list(LabelForecast.objects.filter(project=project)[:N_LISTED])
    newest = made[0] if made else None
    return render(request, "curation/forecasts.html", {
        "project": project, "nav": NAV, "forecast": newest, "earlier": made[1:], "job": open_job(project, "forecast"),
        "obstacle": forecast_obstacle(project), **(_drawn(newest) if newest else {})})


def _drawn(made: LabelForecast) -> dict[str, Any]:
    """The curve as a chart, and as a table of sizes for those who rather read."""
    band, price = made.found["band"], Price(**made.found["price"])
    parts = [[1 - error for error in errors] for errors in made.errors]
    means = [(size, sum(shares) / len(shares)) for size, shares in zip(made.sizes, parts, strict=True)]
    chart = learning_chart(
        made.sizes, parts, band=[(size, 1 - error, 1 - high, 1 - low) for size, error, low, high in band],
        target=made.target_value,
        words=f"{percent_words(means[-1][1])} with {made.n_train:,} labels; by the curve "
              f"{percent_words(1 - band[-1][1])} with {band[-1][0]:,}, target {percent_words(made.target_value)}")
    later = [row for row in band if row[0] > made.n_train]
    return {"chart": chart, "means": means, "price": price,
            "later": [(size, Interval(1 - error, 1 - high, 1 - low, made.n_dev), size - made.n_train,
                       price.hours(size - made.n_train), price.money(size - made.n_train))
                      for size, error, low, high in [*later[::max(1, len(later) // 4)][1:4], *later[-1:]]]}
