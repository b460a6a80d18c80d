from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from curation.models import Snapshot
from jobs.models import Job
from projects.errors import UserError
from projects.rights import on
from projects.views import Request
from training.config import METHODS
from training.forms import CapForm, ElsewhereForm, StartForm, TrainingForm
from training.models import Quote, Run
from training.preflight import failed
from training.recipes import BALANCED, recipe_of
from training.services.comparison import compare
from training.services.quotes import checks_of, details_of, is_stale, recipe_lines, start_quote
from training.services.runs import gate_objection, keep_best, raise_cap, start_training


@on(Snapshot, "train")
@require_http_methods(["GET", "POST"])
def training_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    """What a training takes, may bring and what stops it; its start, by the quote that is shown."""
    job = _quote_job(snapshot)  # before its quote: if it ends in between, the page still follows it
    objection, quote = gate_objection(snapshot), _quote_shown(request, snapshot)
    form = StartForm(request.POST if request.method == "POST" else None, needs_reason=bool(objection), quote=quote)
    if request.method == "POST" and form.is_valid():
        run = start_training(snapshot, by=request.user, config=quote.config["training"] if quote else None,
                             **form.asked)
        return redirect("training:run", run.pk)
    return _training_page(request, snapshot, quote, objection, form=form, job=job)


@on(Snapshot, "train")
@require_POST
def training_elsewhere(request: Request, snapshot: Snapshot) -> HttpResponse:
    """The start of a training on another machine, which needs no quote."""
    objection = gate_objection(snapshot)
    form = ElsewhereForm(request.POST, needs_reason=bool(objection))
    if not form.is_valid():
        return _training_page(request, snapshot, _quote_shown(request, snapshot), objection, elsewhere=form)
    return redirect("training:run", start_training(snapshot, by=request.user, **form.cleaned_data).pk)


@on(Snapshot, "train")
@require_POST
def quote_start(request: Request, snapshot: Snapshot) -> HttpResponse:
    knobs = TrainingForm(request.POST, recipes=recipe_lines(snapshot, None))
    if not knobs.is_valid():
        return _training_page(request, snapshot, None, gate_objection(snapshot), knobs=knobs)
    start_quote(snapshot, by=request.user, config=knobs.cleaned_data)
    return redirect("training:train", snapshot.pk)


def _quote_shown(request: Request, snapshot: Snapshot) -> Quote | None:
    """The quote that the address or the form names, else the newest."""
    quotes = Quote.objects.filter(snapshot=snapshot).select_related("machine")
    named = request.POST.get("quote") or request.GET.get("quote") or ""
    return get_object_or_404(quotes, pk=named) if named.isdecimal() else quotes.first()


def _settings_like(request: Request, snapshot: Snapshot) -> dict[str, Any]:
    """The settings of the project's run that the address names by ?like=, for another training of that kind."""
    named = request.GET.get("like", "")
    if not named.isdecimal():
        return {}
    run = get_object_or_404(Run, pk=named, snapshot__project=snapshot.project_id, kind__in=Run.TRAINED)
    return dict(run.config["training"])


def _quote_job(snapshot: Snapshot) -> Job | None:
    return Job.objects.filter(project=snapshot.project, kind="quote", params__snapshot=snapshot.pk).first()


def _training_page(request: Request, snapshot: Snapshot, quote: Quote | None, objection: str, *,
                   form: StartForm | None = None, knobs: TrainingForm | None = None,
                   elsewhere: ElsewhereForm | None = None, job: Job | None = None) -> HttpResponse:
    found, checks = compare(snapshot), checks_of(snapshot, quote)
    job = job or _quote_job(snapshot)
    is_bound = any(one is not None and one.is_bound for one in (form, knobs, elsewhere))
    initial, lines = quote.config["training"] if quote else _settings_like(request, snapshot), recipe_lines(
        snapshot, quote)
    method = initial.get("method", "lora")
    recipe = recipe_of(initial, snapshot.counts["train"]) if initial else None
    chosen = (recipe.name if recipe else TrainingForm.OWN) if initial else BALANCED
    return render(request, "training/train.html", {
        "project": snapshot.project, "nav": "training:run-list", "snapshot": snapshot, "quote": quote,
        "form": form or StartForm(needs_reason=bool(objection), quote=quote),
        "knobs": knobs or TrainingForm(initial={**initial, "recipe": chosen}, recipes=lines),
        "elsewhere": elsewhere or ElsewhereForm(needs_reason=bool(objection),
                                                initial=initial if method == "lora" else {}),  # it trains LoRA only
        "other_method": METHODS[method] if method != "lora" else "",
        "is_stale": quote is not None and is_stale(quote), "details": details_of(quote) if quote else None,
        "recipe": recipe if quote else None, "checks": checks, "has_failed_check": bool(failed(checks)),
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
    messages.success(request, "The best pass so far becomes the adapter.")
    return redirect("training:run", run.pk)
