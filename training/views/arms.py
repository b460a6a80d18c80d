from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from curation.models import Experiment, ExperimentArm
from projects.errors import UserError
from projects.rights import on
from projects.views import Request
from stats.intervals import Interval
from training.forms import ArmsForm
from training.models import ArmTraining, ArmVerdict
from training.services.arms import arms_obstacle, forecast_of, plan_of, start_arms
from training.services.comparison import n_looks
from training.views.page import may


@on(Experiment, "see_runs")
@require_GET
def experiment_arms(request: Request, experiment: Experiment) -> HttpResponse:
    """What the language model made of the arms, beside the probe: the newest training, or the one asked for."""
    trainings = list(ArmTraining.objects.filter(experiment=experiment).select_related("job", "created_by"))
    asked = request.GET.get("training")
    shown = next((one for one in trainings if asked in (None, str(one.pk))), None)
    if asked and shown is None:
        raise Http404(f"{experiment} has no training {asked}")
    verdict = ArmVerdict.objects.filter(training=shown).first()
    return render(request, "training/experiment_arms.html", {
        "project": experiment.project, "nav": "curation:gold-set", "experiment": experiment, "training": shown,
        "others": [one for one in trainings if one != shown], "verdict": verdict, "rows": _arm_rows(shown, verdict),
        "obstacle": arms_obstacle(experiment), "may": may(request, experiment.project),
        "accuracies": [Interval(**one["accuracy"]) for one in verdict.arms] if verdict else []})


def _arm_rows(training: ArmTraining | None, verdict: ArmVerdict | None) -> list[dict[str, Any]]:
    """Per arm the accuracies so far and, once all is judged, the figures."""
    if training is None:
        return []
    said: dict[int, list[float]] = {}
    refused: dict[int, int] = {}
    for result in training.results.order_by("seed"):
        said.setdefault(result.arm_id, []).append(result.n_right / result.n)
        refused[result.arm_id] = max(refused.get(result.arm_id, 0), result.receipt["n_refused"])
    found = {one["position"]: one for one in verdict.arms} if verdict else {}
    return [{"arm": arm, "said": said.get(arm.pk, []), "n_refused": refused.get(arm.pk, 0),
             **_arm_figures(found.get(arm.position))}
            for arm in training.experiment.arms.all() if arm.position in training.positions]


def _arm_figures(one: dict[str, Any] | None) -> dict[str, Any]:
    if one is None:
        return {}
    gap, probe = one["difference"], one["probe"]
    return {"accuracy": Interval(**one["accuracy"]), "difference": Interval(**gap) if gap else None,
            "probe": Interval(**probe["accuracy"]), "steps": one["steps"], "seconds": one["seconds"],
            "probe_difference": Interval(**probe["difference"]) if probe["difference"] else None}


@on(Experiment, "train")
@require_http_methods(["GET", "POST"])
def arms_start(request: Request, experiment: Experiment) -> HttpResponse:
    """Choose the arms and the budget; see how long it takes; start it."""
    arms = list(experiment.arms.all())
    if (obstacle := arms_obstacle(experiment)) or len(arms) < 2:
        raise UserError(obstacle or f"{experiment} has {len(arms)} arms; at least 2 are needed.")
    form = ArmsForm(request.POST or None, arms=arms)
    is_valid = form.is_valid()
    if is_valid and "reckon" not in request.POST:
        start_arms(experiment, plan_of(experiment, **form.cleaned_data), by=request.user)
        return redirect("training:experiment-arms", experiment.pk)
    return render(request, "training/arms_start.html", {
        "project": experiment.project, "nav": "curation:gold-set", "experiment": experiment, "form": form,
        "n_looks": n_looks(experiment.project) if experiment.split == "test" else 0,
        **_reckoned(experiment, arms, form, form.cleaned_data if is_valid else None)},
        status=422 if form.is_bound and not is_valid else 200)


def _reckoned(experiment: Experiment, arms: list[ExperimentArm], form: ArmsForm,
              ordered: dict[str, Any] | None) -> dict[str, Any]:
    """What the plan as it stands takes, arm by arm and in all; of a form with errors, what its defaults would."""
    everything = [arm.position for arm in arms]
    asked = ordered or {"positions": everything, "steps": form.fields["steps"].initial}
    plan = plan_of(experiment, **asked)
    each = forecast_of(experiment, plan_of(experiment, **asked | {"positions": everything}))
    seconds = each.seconds if each else [None] * len(arms)
    rows = [{"box": box, "arm": arm, "steps": plan.steps_of(arm), "passes": plan.passes_of(arm), "seconds": one}
            for box, arm, one in zip(form["arms"], arms, seconds, strict=True)]
    return {"plan": plan, "n": plan.n_trainings, "forecast": forecast_of(experiment, plan), "rows": rows}
