from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_POST

from jobs.models import Job
from projects.errors import UserError
from projects.objects import object_exists, object_is_sound, object_path, open_object
from projects.rights import on
from projects.views import Request
from training.forms import PromotionForm, RollBackForm
from training.models import Adapter, GeneralCheck, MergedExport
from training.services.cards import base_model_of, card_of, lineage_of
from training.services.champions import champion_of, former_champion
from training.services.exports import serving_commands, start_merge
from training.services.general import queue_general_check
from training.services.lineage import stale
from training.services.promotion import promote, roll_back, standing
from training.services.slices import critical_kinds
from training.slices import KINDS
from training.views.page import may


@dataclass(frozen=True)
class File:
    """A file of an adapter; `size` in bytes, None where the file is gone from the store."""

    name: str
    sha256: str
    size: int | None


@on(Adapter, "see_runs")
@require_GET
def adapter_detail(request: Request, adapter: Adapter) -> HttpResponse:
    return _adapter_page(request, adapter)


def _adapter_page(request: Request, adapter: Adapter, form: PromotionForm | None = None,
                  back_form: RollBackForm | None = None) -> HttpResponse:
    lineage, store = lineage_of(adapter), settings.GOLDPAN_OBJECTS
    jobs = {job.kind: job for job in Job.objects.filter(
        project=adapter.project, kind__in=["general_check", "merge"], params__adapter=adapter.pk)}
    merged = MergedExport.objects.filter(adapter=adapter).first()
    found = standing(adapter)
    return render(request, "training/adapter_detail.html", {
        "project": adapter.project, "nav": "training:run-list", "adapter": adapter, "run": adapter.run,
        "snapshot": adapter.run.snapshot,
        "lineage": lineage, "stale": stale([adapter.run.snapshot]), "standing": found, "form": form or PromotionForm(),
        "back_form": back_form or RollBackForm(), "slices": found.slices, "lora_run": adapter.run, "merged": merged,
        "check": GeneralCheck.objects.filter(adapter=adapter).first(), "check_job": jobs.get("general_check"),
        "merge_job": None if merged else jobs.get("merge"), "commands": serving_commands(adapter),
        "merged_name": _merged_name(adapter), "critical": [KINDS[kind] for kind in critical_kinds(adapter.project)],
        "card": card_of(adapter, lineage), "base": base_model_of(adapter), "target": adapter.project.target_value,
        "champion": champion_of(adapter.project),
        "former": former_champion(adapter.project) if adapter.stage == Adapter.Stage.champion else None,
        "may": may(request, adapter.project), "files": [
            File(name, sha256, object_path(store, sha256).stat().st_size if object_exists(store, sha256) else None)
            for name, sha256 in adapter.files.items()]}, status=422 if form or back_form else 200)


@on(Adapter, "promote")
@require_POST
def adapter_promote(request: Request, adapter: Adapter) -> HttpResponse:
    form = PromotionForm(request.POST)
    if "override_reason" in request.POST and not form.is_valid():
        return _adapter_page(request, adapter, form)
    promote(adapter, by=request.user, override_reason=request.POST.get("override_reason", ""))
    messages.success(request, f"{adapter} is the champion now.")
    return redirect("training:adapter", adapter.pk)


@on(Adapter, "promote")
@require_POST
def adapter_roll_back(request: Request, adapter: Adapter) -> HttpResponse:
    form = RollBackForm(request.POST)
    if not form.is_valid():
        return _adapter_page(request, adapter, back_form=form)
    roll_back(adapter, by=request.user, reason=form.cleaned_data["reason"])
    messages.success(request, f"{adapter} is the champion again.")
    return redirect("training:adapter", adapter.pk)


@on(Adapter, "train")
@require_POST
def adapter_questions(request: Request, adapter: Adapter) -> HttpResponse:
    queue_general_check(adapter, by=request.user)
    return redirect("training:adapter", adapter.pk)


@on(Adapter, "train")
@require_POST
def adapter_merge(request: Request, adapter: Adapter) -> HttpResponse:
    start_merge(adapter, by=request.user)
    return redirect("training:adapter", adapter.pk)


@on(Adapter, "see_runs")
@require_GET
def adapter_merged(request: Request, adapter: Adapter) -> FileResponse:
    """The merged model as a tar."""
    merged = MergedExport.objects.filter(adapter=adapter).first()
    if merged is None:
        raise Http404(f"{adapter} has not been merged")
    if not object_exists(settings.GOLDPAN_OBJECTS, merged.sha256):
        raise UserError(f"{merged} is missing on the disk. Restore it from a backup.")
    return FileResponse(open_object(settings.GOLDPAN_OBJECTS, merged.sha256), as_attachment=True,
                        filename=f"{_merged_name(adapter)}.tar", content_type="application/x-tar",
                        headers={"X-Content-Type-Options": "nosniff"})


def _merged_name(adapter: Adapter) -> str:
    return f"adapter-{adapter.pk}-merged"


@on(Adapter, "see_runs")
@require_GET
def adapter_card(request: Request, adapter: Adapter) -> HttpResponse:
    name = f"{slugify(adapter.project.name) or 'project'}-adapter-{adapter.pk}.md"
    return HttpResponse(card_of(adapter, lineage_of(adapter)), content_type="text/markdown; charset=utf-8",
                        headers={"Content-Disposition": f'attachment; filename="{name}"'})


@on(Adapter, "see_runs")
@require_GET
def adapter_file(request: Request, adapter: Adapter, name: str) -> FileResponse:
    """One of the adapter's own files, hashed before it leaves; the browser never looks into it."""
    if name not in adapter.files:
        raise Http404(f"{adapter} has no file {name}")
    if not object_is_sound(settings.GOLDPAN_OBJECTS, adapter.files[name]):
        raise UserError(f"{name} of {adapter} is missing or has changed on the disk. Restore it from a backup.")
    return FileResponse(open_object(settings.GOLDPAN_OBJECTS, adapter.files[name]), as_attachment=True, filename=name,
                        content_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"})
