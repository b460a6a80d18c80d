from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.models import Experiment, ExperimentArm, Snapshot
from jobs.models import Job
from labeling.models import Example
from labeling.task_types import task_type
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_exists, object_is_sound, object_path, open_object
from projects.rights import MAY, on, role_in
from projects.views import Request
from stats.intervals import Interval
from training.forms import KNOBS, ArmsForm, BaselineForm, PromotionForm, PromptForm, ResultForm, TrainingForm
from training.models import Adapter, ArmTraining, ArmVerdict, Evaluation, PromptVersion, Run, Verdict
from training.prompts import Prompt, prompt_from_json, prompt_sha256
from training.services.arms import arms_obstacle, forecast_of, plan_of, start_arms
from training.services.baseline import NO_PROBE, offered_arms, start_baseline
from training.services.bundles import download, import_result, uploaded
from training.services.cards import base_model_of, card_of, lineage_of
from training.services.comparison import MAX_LOOKS, compare, flips, n_looks
from training.services.executors import EXECUTORS
from training.services.lineage import holdings, stale
from training.services.overview import states_of
from training.services.promotion import promote, standing
from training.services.quoting import has_lost_a_quote
from training.services.runs import forecast, gate_objection, live_metrics, log_tail, start_training
from training.services.suggestions import start_suggest
from training.services.written_prompts import (
    MANY_LOOKS,
    change_prompt,
    compare_versions,
    dev_score,
    n_dev_looks,
    newest_prompts,
    start_try,
    starting_words,
    tries_of,
    trying_obstacle,
    words_of,
    write_prompt,
)

SNAPSHOTS_PER_PAGE = 10
FLIPS_PER_PAGE = 50
LOG_LINES = 12


def _may(request: HttpRequest, project: Project) -> dict[str, bool]:
    """Which of the actions that these pages offer the person has in the project."""
    role = role_in(request.user, project)
    return {action: role in MAY[action] for action in ("run_baseline", "train", "promote", "write_prompts")}


# Runs and the comparison

@on(Project, "see_runs")
@require_GET
def run_list(request: Request, project: Project) -> HttpResponse:
    snapshots = Snapshot.objects.filter(project=project)
    page = Paginator(snapshots, SNAPSHOTS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "training/run_list.html", {
        "project": project, "page": page, "states": states_of(project, list(page)),
        "champion": Adapter.objects.filter(project=project).champion()})


@on(Project, "run_labeling")
@require_POST
def suggest(request: Request, project: Project) -> HttpResponse:
    """Let the best model so far suggest labels for what people will get next."""
    job = start_suggest(project, by=request.user)
    messages.success(request, f"{job.title}. What is on desks already stays as it is.")
    return redirect("labeling:board", project.pk)


@on(Snapshot, "see_runs")
@require_GET
def comparison(request: Request, snapshot: Snapshot) -> HttpResponse:
    project, found = snapshot.project, compare(snapshot)
    adapter = found.lora.adapter if found.lora else None
    return render(request, "training/comparison.html", {
        "project": project, "nav": "training:run-list", "snapshot": snapshot, "comparison": found,
        "state": states_of(project, [snapshot])[0], "may": _may(request, project), "adapter": adapter,
        "standing": standing(adapter) if adapter and adapter.stage != Adapter.Stage.champion else None,
        "arms": [] if found.verdict else offered_arms(snapshot), "has_costs": any(
            rival.cost_per_thousand is not None for rival in found.rivals),
        "target": project.target_value, "max_looks": MAX_LOOKS, "no_probe": NO_PROBE.get(project.task_type, "")})


@on(Snapshot, "run_baseline")
@require_POST
def baseline_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    form = BaselineForm(request.POST, offers=offered_arms(snapshot))
    if not form.is_valid():
        raise UserError("One of the prompts on your page is not offered any more. Reload the page and choose again.")
    start_baseline(snapshot, by=request.user, arms=form.cleaned_data["arms"] if "choice" in request.POST else None)
    return redirect("training:comparison", snapshot.pk)


@on(Snapshot, "train")
@require_http_methods(["GET", "POST"])
def training_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    objection = gate_objection(snapshot)
    form = TrainingForm(request.POST or None, needs_reason=bool(objection))
    if request.method == "POST" and form.is_valid():
        run = start_training(snapshot, by=request.user, **form.cleaned_data)
        return redirect("training:run", run.pk)
    found = compare(snapshot)
    return render(request, "training/train.html", {
        "project": snapshot.project, "nav": "training:run-list", "snapshot": snapshot, "form": form,
        "objection": objection, "verdict": found.verdict, "comparison": found, "target": snapshot.project.target_value,
        "forecast": forecast(snapshot), "is_approved": snapshot.is_approved,
        "labels": snapshot.counts["labels"]["train"].items()}, status=422 if form.is_bound else 200)


# A run

@dataclass(frozen=True)
class Judged:
    """What a run got on a split, as the page shows it."""

    split: str
    evaluation: Evaluation

    @property
    def score(self) -> Interval:
        return self.evaluation.measured.interval


@on(Run, "see_runs")
@require_GET
def run_detail(request: Request, run: Run) -> HttpResponse:
    verdict = Verdict.objects.filter(snapshot=run.snapshot).select_related("best_prompt").first()
    judged = {e.split: Judged(e.split, e) for e in run.evaluations.order_by("-split")}
    test = judged.get("test")
    evaluate_job = Job.objects.filter(project=run.project, kind="evaluate", params__run=run.pk).first()
    return render(request, "training/run_detail.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "job": run.job, "verdict": verdict,
        "adapter": Adapter.objects.filter(run=run).first(), "judged": judged.values(), "test": test,
        "scores": [one.score for one in judged.values()], "target": run.project.target_value,
        "metric": run.project.get_target_metric_display(),
        "evaluate_job": None if test else evaluate_job, "settings_of_run": _settings_of(run),
        "may": _may(request, run.project), "submission": run.submissions.last(),
        **_prompt_context(run), **_live_context(run),
        "is_best_prompt": verdict is not None and verdict.best_prompt_id == run.pk,
        "has_flips": test is not None and verdict is not None and verdict.best_prompt_id != run.pk})


@on(Run, "see_runs")
@require_GET
def run_live(request: Request, run: Run) -> HttpResponse:
    return render(request, "training/_run_live.html", {"run": run, **_live_context(run)})


def _settings_of(run: Run) -> list[tuple[str, Any]]:
    """What the run depended on beside its snapshot and its prompt, by the names that people see."""
    config = run.config
    if run.kind == Run.Kind.lora:
        place = EXECUTORS[run.executor].label if run.executor in EXECUTORS else run.executor
        known = [(label, config["training"][name]) for name, (label, _) in KNOBS.items() if name in config["training"]]
        return [("Where it trains", place), *known]
    usage = config.get("usage", {})
    model, _, digest = config.get("model", "").partition("@sha256:")
    named = {"Model": model or None, "Model's hash": digest[:16] or None,
             "Balance of labels": config.get("calibration", {}).get("kind"),
             "Embeddings": config.get("encoder"), "Inverse regularisation": config.get("inverse_regularisation"),
             "Tokens read on dev": usage.get("prompt_tokens", config.get("prompt_tokens")),
             "Tokens written on dev": usage.get("answer_tokens", config.get("answer_tokens")),
             "Answers known before": usage.get("n_cached"), "Answers whose tokens nobody counted":
                 usage.get("n_uncounted") or None, "Cost on dev, by the price of tokens": usage.get("cost"),
             "Longest answer, in tokens": config.get("max_new_tokens"), "Answers cut off on dev": config.get("n_cut"),
             "Seed": run.seed}
    return [(name, value) for name, value in named.items() if value is not None]


def _live_context(run: Run) -> dict[str, Any]:
    if run.kind != Run.Kind.lora:
        return {}
    metric = "dev_accuracy" if task_type(run.project.task_type).HAS_LABELS else "dev_score"
    return {"points": live_metrics(run), "dev_metric": metric, "is_live": run.job.is_active,
            "log": log_tail(run, LOG_LINES)}


def _prompt_context(run: Run) -> dict[str, Any]:
    if "prompt" not in run.config:
        return {}
    prompt: Prompt = prompt_from_json(run.config["prompt"])
    return {"prompt": prompt, "prompt_sha256": run.config.get("prompt_sha256") or prompt_sha256(prompt),
            "has_lost_a_quote": has_lost_a_quote(run)}


@on(Run, "see_runs")
@require_GET
def run_flips(request: Request, run: Run) -> HttpResponse:
    """The test rows that one of the best prompt and this run answers better than the other."""
    verdict = Verdict.objects.filter(snapshot=run.snapshot).select_related("best_prompt").first()
    tested = {e.run_id: e for e in Evaluation.objects.filter(snapshot=run.snapshot, split="test")}
    if verdict is None or run.pk not in tested:
        raise UserError(f"{run} has not been compared with a prompt on the test rows yet.")
    if run == verdict.best_prompt:
        raise UserError(f"{run} is the best prompt, which the other runs are compared with. Open one of those.")
    found = flips(tested[verdict.best_prompt_id], tested[run.pk])
    label = request.GET.get("label", "")
    shown = [flip for flip in found if not label or label in flip.names]
    return render(request, "training/flips.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "prompt_run": verdict.best_prompt,
        "n": tested[run.pk].n, "n_won": sum(flip.is_second_better for flip in shown),
        "n_lost": sum(not flip.is_second_better for flip in shown), "label": label,
        "labels": sorted({name for flip in found for name in flip.names}),
        "is_whole": tested[run.pk].n_right is not None, "metric": run.project.get_target_metric_display(),
        "page": Paginator(shown, FLIPS_PER_PAGE).get_page(request.GET.get("page"))})


# The arms of an experiment, learned by the language model

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
        "obstacle": arms_obstacle(experiment), "may": _may(request, experiment.project),
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


# A run that is trained elsewhere

@on(Run, "train")
@require_POST
def run_bundle(request: Request, run: Run) -> HttpResponse:
    """The run as files, to be carried to another machine; who took them is in the audit log."""
    name, content = download(run, by=request.user)
    return HttpResponse(content, content_type="application/x-tar", headers={
        "Content-Disposition": f'attachment; filename="{name}"'})


@on(Run, "train")
@require_http_methods(["GET", "POST"])
def run_result(request: Request, run: Run) -> HttpResponse:
    """Bring a result in: nothing is taken unless every hash holds and it is this run's."""
    form = ResultForm(request.POST, request.FILES) if request.method == "POST" else ResultForm()
    if request.method == "POST" and form.is_valid():
        try:
            with uploaded((file.name, file) for file in form.cleaned_data["files"]) as folder:
                adapter, _ = import_result(run, folder, by=request.user)
        except UserError as error:
            form.add_error("files", str(error))
        else:
            messages.success(request, f"{adapter} is in. Its evaluation is under way.")
            return redirect("training:run", run.pk)
    return render(request, "training/result.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "form": form,
        "has_result": Adapter.objects.filter(run=run).exists()}, status=422 if request.method == "POST" else 200)


# An example, from its labels to the models

@on(Example, "see_runs")
@require_GET
def example_lineage(request: Request, example: Example) -> HttpResponse:
    """All snapshots, runs and adapters that hold an example, and which of them are stale."""
    found = holdings(example)
    old = [one for one in found if one.has_changed]
    return render(request, "training/example_lineage.html", {
        "project": example.project, "nav": "labeling:example-list", "example": example, "holdings": found,
        "n_stale": len(old), "n_learned": sum(len(one.adapters) for one in old if one.was_learned)})


# An adapter

@dataclass(frozen=True)
class File:
    """A file of an adapter; `size` in bytes, None where the file is gone from the store."""

    name: str
    sha256: str
    size: int | None


@on(Adapter, "see_runs")
@require_GET
def adapter_detail(request: Request, adapter: Adapter) -> HttpResponse:
    return _adapter_page(request, adapter, PromotionForm())


def _adapter_page(request: Request, adapter: Adapter, form: PromotionForm) -> HttpResponse:
    lineage, store = lineage_of(adapter), settings.GOLDPAN_OBJECTS
    return render(request, "training/adapter_detail.html", {
        "project": adapter.project, "nav": "training:run-list", "adapter": adapter, "run": adapter.run,
        "snapshot": adapter.run.snapshot,
        "lineage": lineage, "stale": stale([adapter.run.snapshot]), "standing": standing(adapter), "form": form,
        "card": card_of(adapter, lineage), "base": base_model_of(adapter), "target": adapter.project.target_value,
        "champion": Adapter.objects.filter(project=adapter.project).champion(),
        "may": _may(request, adapter.project), "files": [
            File(name, sha256, object_path(store, sha256).stat().st_size if object_exists(store, sha256) else None)
            for name, sha256 in adapter.files.items()]}, status=422 if form.is_bound else 200)


@on(Adapter, "promote")
@require_POST
def adapter_promote(request: Request, adapter: Adapter) -> HttpResponse:
    form = PromotionForm(request.POST)
    if "override_reason" in request.POST and not form.is_valid():
        return _adapter_page(request, adapter, form)
    promote(adapter, by=request.user, override_reason=request.POST.get("override_reason", ""))
    messages.success(request, f"{adapter} is the champion now.")
    return redirect("training:adapter", adapter.pk)


@on(Adapter, "see_runs")
@require_GET
def adapter_card(request: Request, adapter: Adapter) -> HttpResponse:
    name = f"{slugify(adapter.project.name) or 'project'}-adapter-{adapter.pk}.md"
    return HttpResponse(card_of(adapter, lineage_of(adapter)), content_type="text/markdown; charset=utf-8",
                        headers={"Content-Disposition": f'attachment; filename="{name}"'})


@on(Adapter, "see_runs")  # type: ignore[arg-type]  # a FileResponse is a response, too
@require_GET
def adapter_file(request: Request, adapter: Adapter, name: str) -> FileResponse:
    """One of the adapter's own files, hashed before it leaves; the browser never looks into it."""
    if name not in adapter.files:
        raise Http404(f"{adapter} has no file {name}")
    if not object_is_sound(settings.GOLDPAN_OBJECTS, adapter.files[name]):
        raise UserError(f"{name} of {adapter} is missing or has changed on the disk. Restore it from a backup.")
    return FileResponse(open_object(settings.GOLDPAN_OBJECTS, adapter.files[name]), as_attachment=True, filename=name,
                        content_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"})


# Prompts in somebody's own words

@dataclass(frozen=True)
class VersionLine:
    """A version of a prompt in a list, with its newest figure on dev, None where it was never tried."""

    version: PromptVersion
    tried: Evaluation | None

    @property
    def score(self) -> Interval | None:
        return dev_score(self.tried) if self.tried else None


@on(Project, "see_runs")
@require_GET
def prompt_list(request: Request, project: Project) -> HttpResponse:
    """Every prompt that somebody wrote, and beside them what the baseline of the newest snapshot tried on dev."""
    snapshot = Snapshot.objects.filter(project=project).first()
    newest = newest_prompts(project)
    tries = tries_of(newest)
    lines = [VersionLine(version, next(iter(tries[version.pk]), None)) for version in newest]
    automatic = [(e.run, dev_score(e)) for e in Evaluation.objects.filter(
        snapshot=snapshot, split="dev", run__kind__in=[kind for kind in Run.PROMPTS if kind != Run.Kind.by_hand])
        .select_related("run__snapshot").order_by("pk")] if snapshot else []
    return render(request, "training/prompt_list.html", {
        "project": project, "nav": "training:run-list", "snapshot": snapshot, "lines": lines, "automatic": automatic,
        "scores": [line.score for line in lines if line.score] + [score for _, score in automatic],
        "target": project.target_value, "metric": project.get_target_metric_display(),
        "n_looks": n_dev_looks(snapshot) if snapshot else 0, "many_looks": MANY_LOOKS, "may": _may(request, project)})


@on(Project, "write_prompts")
@require_http_methods(["GET", "POST"])
def prompt_new(request: Request, project: Project) -> HttpResponse:
    words = starting_words(project)
    form = PromptForm(request.POST or None, is_new=True, initial=vars(words))
    if request.method == "POST" and form.is_valid():
        try:
            version = write_prompt(project, name=form.cleaned_data["name"], words=form.words, note="", by=request.user)
        except UserError as error:
            form.add_error(None, str(error))  # what was written stays in the form
        else:
            return redirect("training:prompt", version.pk)
    return render(request, "training/prompt_edit.html", {
        "project": project, "nav": "training:run-list", "form": form}, status=422 if form.is_bound else 200)


@on(PromptVersion, "see_runs")
@require_GET
def prompt_detail(request: Request, version: PromptVersion) -> HttpResponse:
    project = version.project
    versions = list(PromptVersion.objects.filter(project=project, name=version.name).select_related("created_by"))
    tries = tries_of(versions)
    lines = [VersionLine(one, next(iter(tries[one.pk]), None)) for one in versions]
    snapshot = Snapshot.objects.filter(project=project).first()
    job = Job.objects.filter(project=project, kind="try_prompt", params__prompt_version=version.pk).first()
    return render(request, "training/prompt_detail.html", {
        "project": project, "nav": "training:run-list", "version": version, "newest": versions[0], "lines": lines,
        "tries": [(one, dev_score(one)) for one in tries[version.pk]], "snapshot": snapshot,
        "scores": [dev_score(one) for one in tries[version.pk]], "obstacle": trying_obstacle(version),
        "target": project.target_value, "metric": project.get_target_metric_display(),
        "job": job if job and (job.is_active or job.state == Job.State.failed) else None,
        "n_looks": n_dev_looks(snapshot) if snapshot else 0, "many_looks": MANY_LOOKS, "may": _may(request, project)})


@on(PromptVersion, "write_prompts")
@require_http_methods(["GET", "POST"])
def prompt_change(request: Request, version: PromptVersion) -> HttpResponse:
    form = PromptForm(request.POST or None, is_new=False, initial=vars(words_of(version)))
    if request.method == "POST" and form.is_valid():
        try:
            changed = change_prompt(version, words=form.words, note=form.cleaned_data["note"], by=request.user)
        except UserError as error:
            form.add_error(None, str(error))
        else:
            return redirect("training:prompt", changed.pk)
    return render(request, "training/prompt_edit.html", {
        "project": version.project, "nav": "training:run-list", "form": form, "version": version},
        status=422 if form.is_bound else 200)


@on(PromptVersion, "see_runs")
@require_GET
def prompt_differences(request: Request, version: PromptVersion) -> HttpResponse:
    """What this version says differently from another, by default the one before, and what that did on dev."""
    versions = list(PromptVersion.objects.filter(project=version.project_id).order_by("name", "-version"))
    asked = request.GET.get("from", "")
    before = next((one for one in versions if asked and str(one.pk) == asked), None)
    if asked and before is None:
        raise Http404(f"there is no prompt {asked} in this project")
    if before is None:
        before = next((one for one in versions if one.name == version.name and one.version < version.version), version)
    return render(request, "training/prompt_differences.html", {
        "project": version.project, "nav": "training:run-list", "before": before, "after": version,
        "versions": versions, "found": (found := compare_versions(before, version)),
        "tried": [(one, dev_score(one)) for one in (found.before, found.after) if one]})


@on(PromptVersion, "run_baseline")
@require_POST
def prompt_try(request: Request, version: PromptVersion) -> HttpResponse:
    start_try(version, by=request.user)
    return redirect("training:prompt", version.pk)
