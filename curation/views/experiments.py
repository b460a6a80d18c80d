from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import mark_safe
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
from projects.drawing import Series, line_svg
from projects.models import Project
from projects.rights import on
from projects.wording import percent_words
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
    return render(request, "curation/experiment_detail.html", {
        "experiment": experiment, "project": experiment.project, "nav": NAV, "rows": rows,
        "accuracies": [row["accuracy"] for row in rows], "groups": _groups(experiment),
        "gaps": [row["difference"] for row in rows if row["difference"]]})


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
    means = [(size, 1 - sum(errors) / len(errors)) for size, errors in zip(made.sizes, made.errors, strict=True)]
    series = [Series("at best", [(size, 1 - low) for size, _, low, _ in band]),
              Series("curve", [(size, 1 - error) for size, error, _, _ in band]),
              Series("at worst", [(size, 1 - high) for size, _, _, high in band]),
              Series("measured", means)]
    words = (f"{percent_words(means[-1][1])} with {made.n_train:,} labels; by the curve "
             f"{percent_words(1 - band[-1][1])} with {band[-1][0]:,}")
    chart = line_svg(series, label=words, x_name="labelled examples", y_text=lambda v: percent_words(v, 0),
                     value_text=percent_words)
    later = [row for row in band if row[0] > made.n_train]
    return {"chart": mark_safe(chart), "means": means, "price": price,  # noqa: S308 - line_svg escapes its words
            "later": [(size, Interval(1 - error, 1 - high, 1 - low, made.n_dev), size - made.n_train,
                       price.hours(size - made.n_train), price.money(size - made.n_train))
                      for size, error, low, high in [*later[::max(1, len(later) // 4)][1:4], *later[-1:]]]}
