from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from curation.models import Snapshot
from jobs.models import Job
from labeling.overlap import FREE_TEXT
from labeling.task_types import task_type
from projects.errors import UserError
from projects.models import Project
from projects.rights import on
from projects.views import Request
from projects.wording import count_words
from stats.intervals import Interval
from training.config import METHODS
from training.findings import curve_findings, why_failed
from training.forms import KNOBS, CapForm, RollBackForm
from training.models import Adapter, Evaluation, Promotion, Run, Verdict
from training.prompts import Prompt, prompt_from_json, prompt_sha256
from training.services.champions import champion_of, former_champion, has_been_champion
from training.services.comparison import flips
from training.services.differences import Sample, differences, samples_of
from training.services.executors import EXECUTORS
from training.services.overview import states_of
from training.services.pairwise import pairwise_obstacle, pairwise_of
from training.services.promotion import roll_back_to_prompt
from training.services.quoting import has_lost_a_quote
from training.services.receipts import receipt_lines
from training.services.runs import live_metrics, log_tail, stopped_at_cap
from training.services.slices import keys_in_slice
from training.slices import KINDS
from training.views.page import may

SNAPSHOTS_PER_PAGE = 10
FLIPS_PER_PAGE = 50
LOG_LINES = 12


@on(Project, "see_runs")
@require_GET
def run_list(request: Request, project: Project) -> HttpResponse:
    snapshots = Snapshot.objects.filter(project=project)
    page = Paginator(snapshots, SNAPSHOTS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "training/run_list.html", {
        "project": project, "page": page, "states": states_of(project, list(page)),
        "champion": champion_of(project)})


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
    return _run_page(request, run)


@on(Run, "promote")
@require_POST
def run_roll_back(request: Request, run: Run) -> HttpResponse:
    form = RollBackForm(request.POST)
    if not form.is_valid():
        return _run_page(request, run, form)
    roll_back_to_prompt(run, by=request.user, reason=form.cleaned_data["reason"])
    messages.success(request, f"{run.title} is the champion again.")
    return redirect("training:run", run.pk)


def _run_page(request: Request, run: Run, back_form: RollBackForm | None = None) -> HttpResponse:
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
        "may": may(request, run.project), "submission": run.submissions.last(),
        "bundle_name": f"goldpan-run-{run.pk}.tar",
        "groups": _samples(test or judged.get("dev")), "split": "test" if test else "dev",
        **_prompt_context(run), **_live_context(run), **_cap_context(run),
        "is_best_prompt": verdict is not None and verdict.best_prompt_id == run.pk,
        "untrained": _interval(test, "untrained"), "against_untrained": _interval(test, "against_untrained"),
        "has_flips": test is not None and verdict is not None and verdict.best_prompt_id != run.pk,
        **(_champion_context(run) if run.is_prompt else {}), "back_form": back_form or RollBackForm()},
        status=422 if back_form else 200)


def _champion_context(run: Run) -> dict[str, Any]:
    """Whether a prompt is the champion, what was it before, and whether an admin can go back to this one."""
    champion = champion_of(run.project)
    is_champion = champion is not None and champion.run.pk == run.pk
    return {"is_champion": is_champion, "champion": champion,
            "former": former_champion(run.project) if is_champion else None,
            "promotion": Promotion.objects.filter(run=run).select_related("by").first() if is_champion else None,
            "was_champion": champion is not None and not is_champion and has_been_champion(run)}


def _interval(judged: Judged | None, name: str) -> Interval | None:
    return judged.evaluation.interval_of(name) if judged and name in judged.evaluation.metrics else None


@on(Run, "see_runs")
@require_GET
def run_live(request: Request, run: Run) -> HttpResponse:
    return render(request, "training/_run_live.html", {"run": run, **_live_context(run)})


def _settings_of(run: Run) -> list[tuple[str, Any]]:
    """What the run depended on beside its snapshot and its prompt, by the names that people see."""
    config = run.config
    if run.is_trained:
        place = EXECUTORS[run.executor].label if run.executor in EXECUTORS else run.executor
        training = config["training"]
        shown = training | {"method": METHODS.get(training.get("method", "lora"), "")}
        known = [(label, shown[name]) for name, (label, _) in KNOBS.items()
                 if name in training and not (name == "learning_rate" and training.get("search_seeds"))]
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
    return [(name, count_words(value) if isinstance(value, int) else value)
            for name, value in named.items() if value is not None]


def _samples(judged: Judged | None) -> list[tuple[str, list[Sample]]]:
    if judged is None:
        return []
    found = samples_of(judged.evaluation)
    return [("Worst", found.worst), ("Best", found.best)]


def _live_context(run: Run) -> dict[str, Any]:
    if not run.is_trained:
        return {}
    metric = ("dev_preferred" if run.kind == Run.Kind.dpo else
              "dev_accuracy" if task_type(run.project.task_type).HAS_LABELS else "dev_score")
    points, training, job = live_metrics(run), run.config["training"], run.job
    said = [why_failed(job.error, training)] if job.state == Job.State.failed else []
    return {"points": points, "dev_metric": metric, "is_live": job.is_active, "log": log_tail(run, LOG_LINES),
            "findings": [] if job.is_active else [*filter(None, said), *curve_findings(points, training)]}


def _cap_context(run: Run) -> dict[str, Any]:
    if not run.is_trained:
        return {}
    cap, stopped = run.caps.select_related("quote__machine").first(), stopped_at_cap(run)
    receipt = run.receipts.select_related("quote").first()
    return {"cap": cap, "stopped": stopped, "receipt": receipt, "receipt_lines": receipt_lines(receipt),
            "cap_form": CapForm(initial={"cap_minutes": round(2 * cap.seconds / 60, 1)}) if stopped and cap else None}


def _prompt_context(run: Run) -> dict[str, Any]:
    if "prompt" not in run.config:
        return {}
    prompt: Prompt = prompt_from_json(run.config["prompt"])
    return {"prompt": prompt, "prompt_sha256": run.config.get("prompt_sha256") or prompt_sha256(prompt),
            "has_lost_a_quote": has_lost_a_quote(run)}


def _other_of(run: Run, request: Request) -> Run | None:
    """The run of the same snapshot that the address names, None if it names none."""
    named = request.GET.get("with", "")
    others = Run.objects.filter(snapshot=run.snapshot).select_related("snapshot__project")
    return get_object_or_404(others, pk=named) if named.isdecimal() else None


@on(Run, "see_runs")
@require_GET
def run_differences(request: Request, run: Run) -> HttpResponse:
    """The run beside another one of its snapshot: settings that differ, and the paired difference on the same rows."""
    other = _other_of(run, request)
    found = differences(other, run, [_settings_of(other), _settings_of(run)]) if other else None
    return render(request, "training/run_differences.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "other": other, "found": found,
        "scored": list(zip((other, run), found.scores, strict=True)) if found and found.scores else [],
        "may": may(request, run.project),
        "pairwise": pairwise_of(run, other) if other and run.project.task_type in FREE_TEXT else None,
        "may_pair": other is not None and not pairwise_obstacle(run, other),
        "others": Run.objects.filter(snapshot=run.snapshot).exclude(pk=run.pk)})


@on(Run, "see_runs")
@require_GET
def run_flips(request: Request, run: Run) -> HttpResponse:
    """The test rows that this run or another answers better: the best prompt, or the run that the address names."""
    verdict = Verdict.objects.filter(snapshot=run.snapshot).select_related("best_prompt").first()
    other = _other_of(run, request) or (verdict.best_prompt if verdict else None)
    tested = {e.run_id: e for e in Evaluation.objects.filter(snapshot=run.snapshot, split="test")}
    if other is None or not {run.pk, other.pk} <= tested.keys():
        raise UserError(f"{run} has not been compared with {other or 'a prompt'} on the test rows yet.")
    if run == other:
        raise UserError(f"{run} is the best prompt, which the other runs are compared with. Open one of those.")
    found = flips(tested[other.pk], tested[run.pk])
    label, part = request.GET.get("label", ""), request.GET.get("part", "")
    kind, _, name = part.partition(":")
    keys = keys_in_slice(tested[run.pk], kind, name) if part else set()
    shown = [flip for flip in found if (not label or label in flip.names) and (not part or flip.key in keys)]
    return render(request, "training/flips.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "prompt_run": other,
        "is_named": "with" in request.GET,
        "n": tested[run.pk].n, "n_won": sum(flip.is_second_better for flip in shown),
        "n_lost": sum(not flip.is_second_better for flip in shown), "label": label,
        "part": f"{KINDS[kind]}: {name}" if part else "",
        "labels": sorted({name for flip in found for name in flip.names}),
        "is_whole": tested[run.pk].n_right is not None, "metric": run.project.get_target_metric_display(),
        "page": Paginator(shown, FLIPS_PER_PAGE).get_page(request.GET.get("page"))})
