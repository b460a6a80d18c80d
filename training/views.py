from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.models import Snapshot
from jobs.models import Job
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_exists, object_is_sound, object_path, open_object
from projects.rights import MAY, on, role_in
from projects.views import Request
from stats.intervals import Interval
from training.forms import KNOBS, CapForm, EconomicsForm, PriceForm, PromotionForm, StartForm, TrainingForm
from training.models import Adapter, Evaluation, Price, Quote, Run, Verdict
from training.prompts import Prompt, prompt_from_json, prompt_sha256
from training.services.baseline import start_baseline
from training.services.cards import base_model_of, card_of, lineage_of
from training.services.comparison import MAX_LOOKS, compare, flips
from training.services.economics import economics_of, save_economics, worth_lines
from training.services.lineage import holdings, stale
from training.services.overview import states_of
from training.services.prices import add_price, prices, withdraw_price
from training.services.promotion import promote, standing
from training.services.quotes import details_of, is_stale, receipt_lines, start_quote
from training.services.runs import (
    gate_objection,
    keep_best,
    live_metrics,
    log_tail,
    raise_cap,
    start_training,
    stopped_at_cap,
)
from training.services.scoring import CALIBRATIONS
from training.services.suggestions import start_suggest

SNAPSHOTS_PER_PAGE = 10
FLIPS_PER_PAGE = 50
LOG_LINES = 12


def _may(request: HttpRequest, project: Project) -> dict[str, bool]:
    """Which of the actions that these pages offer the person has in the project."""
    role = role_in(request.user, project)
    return {action: role in MAY[action] for action in ("run_baseline", "train", "promote")}


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
        "target": project.target_value, "calibrations": CALIBRATIONS, "max_looks": MAX_LOOKS})


@on(Snapshot, "run_baseline")
@require_POST
def baseline_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    start_baseline(snapshot, by=request.user)
    return redirect("training:comparison", snapshot.pk)


# A quote, and the training that it stands for

@on(Snapshot, "train")
@require_http_methods(["GET", "POST"])
def training_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    """What a training takes, may bring and what stops it; its start, by the quote that is shown."""
    objection, quote = gate_objection(snapshot), _quote_shown(request, snapshot)
    form = StartForm(request.POST if request.method == "POST" else None, needs_reason=bool(objection), quote=quote)
    if request.method == "POST" and form.is_valid():
        run = start_training(snapshot, by=request.user, config=quote.config["training"] if quote else None,
                             **form.asked)
        return redirect("training:run", run.pk)
    return _training_page(request, snapshot, quote, objection, form=form)


@on(Snapshot, "train")
@require_POST
def quote_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    knobs = TrainingForm(request.POST)
    if not knobs.is_valid():
        return _training_page(request, snapshot, None, gate_objection(snapshot), knobs=knobs)
    start_quote(snapshot, by=request.user, config=knobs.cleaned_data)
    return redirect("training:train", snapshot.pk)


def _quote_shown(request: Request, snapshot: Snapshot) -> Quote | None:
    """The quote that the address or the form names, else the newest."""
    quotes = Quote.objects.filter(snapshot=snapshot).select_related("machine")
    named = request.POST.get("quote") or request.GET.get("quote") or ""
    return get_object_or_404(quotes, pk=named) if named.isdecimal() else quotes.first()


def _training_page(request: Request, snapshot: Snapshot, quote: Quote | None, objection: str, *,
                   form: StartForm | None = None, knobs: TrainingForm | None = None) -> HttpResponse:
    found = compare(snapshot)
    job = Job.objects.filter(project=snapshot.project, kind="quote", params__snapshot=snapshot.pk).first()
    is_bound = any(one is not None and one.is_bound for one in (form, knobs))
    return render(request, "training/train.html", {
        "project": snapshot.project, "nav": "training:run-list", "snapshot": snapshot, "quote": quote,
        "form": form or StartForm(needs_reason=bool(objection), quote=quote),
        "knobs": knobs or TrainingForm(initial=quote.config["training"] if quote else None),
        "is_stale": quote is not None and is_stale(quote), "details": details_of(quote) if quote else None,
        "weighing": found.verdict.weighing if found.verdict else None, "objection": objection,
        "verdict": found.verdict, "comparison": found, "target": snapshot.project.target_value,
        "is_approved": snapshot.is_approved, "labels": snapshot.counts["labels"]["train"].items(),
        "job": job if job is not None and (job.is_active or job.state == Job.State.failed) else None},
        status=422 if is_bound else 200)


@on(Run, "train")
@require_POST
def run_raise_cap(request: Request, run: Run) -> HttpResponse:
    form = CapForm(request.POST)
    if not form.is_valid():
        raise UserError("Say the new cap in minutes, such as 30.")
    raise_cap(run, by=request.user, seconds=form.seconds)
    messages.success(request, "It goes on from its last checkpoint.")
    return redirect("training:run", run.pk)


@on(Run, "train")
@require_POST
def run_keep_best(request: Request, run: Run) -> HttpResponse:
    keep_best(run, by=request.user)
    messages.success(request, "The best epoch so far becomes the adapter.")
    return redirect("training:run", run.pk)


# What answers are worth, and the price table

@on(Project, "say_economics")
@require_http_methods(["GET", "POST"])
def economics(request: Request, project: Project) -> HttpResponse:
    said = economics_of(project)
    form = EconomicsForm(request.POST if request.method == "POST" else None, instance=said)
    if request.method == "POST" and form.is_valid():
        save_economics(project, form.cleaned_data, by=request.user)
        messages.success(request, "Written down, and the verdicts are weighed with it.")
        return redirect("training:economics", project.pk)
    verdict = Verdict.objects.filter(snapshot__project=project).select_related("snapshot").order_by("-pk").first()
    return render(request, "training/economics.html", {
        "project": project, "nav": "training:run-list", "form": form, "said": economics_of(project),
        "verdict": verdict, "weighing": verdict.weighing if verdict else None,
        "worth": worth_lines(verdict.weighing) if verdict else [], "may_edit_prices":
        role_in(request.user, project) in MAY["edit_prices"]}, status=422 if form.is_bound and form.errors else 200)


@on(Project, "edit_prices")
@require_http_methods(["GET", "POST"])
def price_table(request: Request, project: Project) -> HttpResponse:
    form = PriceForm(request.POST or None, initial={"currency": economics_of(project).currency})
    if request.method == "POST" and form.is_valid():
        price = add_price(form.cleaned_data, by=request.user)
        messages.success(request, f"“{price}” is in the table.")
        return redirect("training:prices", project.pk)
    return render(request, "training/prices.html", {
        "project": project, "nav": "training:run-list", "form": form, "machines": prices(Price.Kind.machine),
        "models": prices(Price.Kind.tokens)}, status=422 if form.is_bound and form.errors else 200)


@on(Project, "edit_prices")
@require_POST
def price_withdraw(request: Request, project: Project) -> HttpResponse:
    price = next((row for row in prices() if str(row.pk) == request.POST.get("price")), None)
    if price is None:
        raise UserError("This price is not in the table any more. Reload the page.")
    withdraw_price(price, by=request.user)
    messages.success(request, f"“{price}” is out of the table. What was quoted with it keeps it.")
    return redirect("training:prices", project.pk)


# A run

@dataclass(frozen=True)
class Judged:
    """What a run got on a split, as the page shows it."""

    split: str
    evaluation: Evaluation
    accuracy: Interval
    macro_f1: Interval


@on(Run, "see_runs")
@require_GET
def run_detail(request: Request, run: Run) -> HttpResponse:
    verdict = Verdict.objects.filter(snapshot=run.snapshot).select_related("best_prompt").first()
    judged = {e.split: Judged(e.split, e, Interval(**e.metrics["accuracy"]), Interval(**e.metrics["macro_f1"]))
              for e in run.evaluations.order_by("-split")}
    test = judged.get("test")
    evaluate_job = Job.objects.filter(project=run.project, kind="evaluate", params__run=run.pk).first()
    return render(request, "training/run_detail.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "job": run.job, "verdict": verdict,
        "adapter": Adapter.objects.filter(run=run).first(), "judged": judged.values(), "test": test,
        "accuracies": [one.accuracy for one in judged.values()], "target": run.project.target_value,
        "evaluate_job": None if test else evaluate_job, "settings_of_run": _settings_of(run),
        **_prompt_context(run), **_live_context(run), **_cap_context(request, run),
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
        return [(label, config["training"][name]) for name, (label, _) in KNOBS.items()]
    model, _, digest = config.get("model", "").partition("@sha256:")
    named = {"Model": model or None, "Model's hash": digest[:16] or None,
             "Balance of labels": config.get("calibration", {}).get("kind"),
             "Embeddings": config.get("encoder"), "Inverse regularisation": config.get("inverse_regularisation"),
             "Tokens read on dev": config.get("prompt_tokens"), "Seed": run.seed}
    return [(name, value) for name, value in named.items() if value is not None]


def _live_context(run: Run) -> dict[str, Any]:
    if run.kind != Run.Kind.lora:
        return {}
    return {"points": live_metrics(run), "is_live": run.job.is_active, "log": log_tail(run, LOG_LINES)}


def _cap_context(request: Request, run: Run) -> dict[str, Any]:
    if run.kind != Run.Kind.lora:
        return {}
    cap, stopped = run.caps.select_related("quote__machine").first(), stopped_at_cap(run)
    receipt = run.receipts.select_related("quote").first()
    return {"cap": cap, "stopped": stopped, "receipt": receipt, "receipt_lines": receipt_lines(receipt),
            "cap_form": CapForm(initial={"cap_minutes": round(2 * cap.seconds / 60, 1)}) if stopped and cap else None,
            "may": _may(request, run.project)}


def _prompt_context(run: Run) -> dict[str, Any]:
    if "prompt" not in run.config:
        return {}
    prompt: Prompt = prompt_from_json(run.config["prompt"])
    return {"prompt": prompt, "prompt_sha256": prompt_sha256(prompt)}


@on(Run, "see_runs")
@require_GET
def run_flips(request: Request, run: Run) -> HttpResponse:
    """The test rows on which exactly one of the best prompt and this run is right."""
    verdict = Verdict.objects.filter(snapshot=run.snapshot).select_related("best_prompt").first()
    tested = {e.run_id: e for e in Evaluation.objects.filter(snapshot=run.snapshot, split="test")}
    if verdict is None or run.pk not in tested:
        raise UserError(f"{run} has not been compared with a prompt on the test rows yet.")
    if run == verdict.best_prompt:
        raise UserError(f"{run} is the best prompt, which the other runs are compared with. Open one of those.")
    found = flips(tested[verdict.best_prompt_id], tested[run.pk])
    label = request.GET.get("label", "")
    shown = [flip for flip in found if not label or flip.gold == label]
    return render(request, "training/flips.html", {
        "project": run.project, "nav": "training:run-list", "run": run, "prompt_run": verdict.best_prompt,
        "n": tested[run.pk].n, "n_won": sum(flip.is_second_right for flip in shown),
        "n_lost": sum(not flip.is_second_right for flip in shown), "label": label,
        "labels": sorted({flip.gold for flip in found}),
        "page": Paginator(shown, FLIPS_PER_PAGE).get_page(request.GET.get("page"))})


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
