from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from curation.answers import MODELLED
from curation.forms import GoldRuleForm
from curation.selection import LeftOut
from curation.services.gold_sets import STRATA, gold_set_of, preview, rule_of, save_rule
from curation.services.labels import answers_of
from curation.services.scoring import latest_report
from curation.services.snapshots import held_out, start_freeze
from curation.views.page import Request
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project
from projects.rights import on

N_SHOWN = 10  # example texts of a gold set


@on(Project, "edit_gold_set")
def gold_set(request: Request, project: Project) -> HttpResponse:
    stored = gold_set_of(project)
    form = GoldRuleForm(request.POST or None, instance=stored, stratum=STRATA[project.task_type])
    if request.method == "POST" and form.is_valid():
        save_rule(stored, **form.cleaned_data, by=request.user)
        messages.success(request, "The rule is saved.")
        return redirect("curation:gold-set", project.pk)
    return _gold_set_page(request, project, form)


@on(Project, "edit_gold_set")
@require_GET
def gold_set_preview(request: Request, project: Project) -> HttpResponse:
    """What the rule of the form picks. Nothing is saved."""
    form = GoldRuleForm(request.GET, instance=gold_set_of(project), stratum=STRATA[project.task_type])
    context = {"project": project, "is_live": True, **_preview_context(project, form)}
    return render(request, "curation/_gold_preview.html", context)


@on(Project, "edit_gold_set")
@require_GET
def gold_set_held_out(request: Request, project: Project) -> HttpResponse:
    report = latest_report(project)
    if report is None:
        raise UserError("Score the project first: held-out examples are chosen without repeats.")
    found = held_out(project, report, only_count=True)
    splits = [{"name": split, "n": len(found.label_of[split]), "left_out": found.left_out[split]}
              for split in ("dev", "test")]
    return render(request, "curation/_held_out.html", {
        "project": project, "splits": splits, "answers": answers_of(project)})


@on(Project, "freeze")
@require_POST
def gold_set_freeze(request: Request, project: Project) -> HttpResponse:
    """Freeze what the page shows: the rule comes with the click. Without one, the stored rule is frozen."""
    stored = gold_set_of(project)
    form = GoldRuleForm(request.POST, instance=stored, stratum=STRATA[project.task_type])
    if "size" in request.POST:
        if not form.is_valid():
            return _gold_set_page(request, project, form)
        if form.has_changed():
            save_rule(stored, **form.cleaned_data, by=request.user)
    start_freeze(project, by=request.user)
    return redirect("curation:snapshot-list", project.pk)


def _gold_set_page(request: Request, project: Project, form: GoldRuleForm) -> HttpResponse:
    has_report = latest_report(project) is not None
    return render(request, "curation/gold_set.html", {
        "project": project, "form": form, "has_report": has_report, "stratum": STRATA[project.task_type],
        **(_preview_context(project, form) if has_report else {})},
        status=422 if form.is_bound and form.errors else 200)


# What a reason to leave means, and the review view that holds those examples
LEFT_OUT = {
    LeftOut.EXCLUDED: ("Excluded in review", ""),
    LeftOut.NO_LABEL: ("Have no label yet", ""),
    LeftOut.UNDER_DISCUSSION: ("Are being discussed", "discuss"),
    LeftOut.CROSSES_SPLIT: ("Repeat a held-out example: training on them would leak the answers", ""),
    LeftOut.LABEL_ISSUE: ("Look wrong, and nobody has decided", "flagged"),
    LeftOut.LOW_QUALITY: ("Are below the lowest quality", ""),
    LeftOut.DUPLICATE: ("Repeat a better one that stays", ""),
    LeftOut.NOT_DRAWN: ("Were not drawn: there are enough of their kind", ""),
}


def _preview_context(project: Project, form: GoldRuleForm) -> dict[str, Any]:
    if form.is_bound and not form.is_valid():
        return {"refusal": "With these values the rule picks nothing: " + " ".join(
            f"{form.fields[name].label}: {errors[0]}" for name, errors in form.errors.items())}
    try:
        picked = preview(project, rule_of(form.instance))
    except UserError as error:
        return {"refusal": str(error)}
    doubtful = sorted(picked.label_of, key=lambda pk: (picked.quality_of[pk] is None, picked.quality_of[pk], pk))
    texts = dict(Example.objects.filter(pk__in=doubtful[:N_SHOWN]).values_list("pk", "text"))
    answers = answers_of(project)
    return {
        "picked": picked, "is_modelled": project.task_type in MODELLED, "is_short": picked.n < picked.rule.size,
        "left_out": [(*LEFT_OUT[reason], n) for reason, n in picked.left_out.items()],
        "shown": [{"pk": pk, "text": texts[pk], "label": answers.show(picked.label_of[pk], source=texts[pk]),
                   "quality": picked.quality_of[pk]}
                  for pk in doubtful[:N_SHOWN]]}
