import json
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from curation.answers import MODELLED
from curation.forms import GoldRuleForm
from curation.selection import GoldRule, LeftOut, Method, Taken
from curation.services.gold_sets import (
    MIN_CHECKED,
    STRATA,
    gold_set_of,
    look,
    picks_of,
    rule_of,
    save_rule,
    select_to_check,
)
from curation.services.held_out import held_out
from curation.services.labels import answers_of
from curation.services.queue import Filter
from curation.services.scoring import latest_report
from curation.services.snapshots import start_freeze
from curation.views.page import Request
from curation.views.review import review_url
from labeling.models import Example
from projects.charts import MAX_SHARES, Chart, share_chart
from projects.errors import UserError
from projects.models import Project
from projects.rights import on
from stats.intervals import Interval

N_TO_CHECK = 5  # examples of the check by hand that a page names


@on(Project, "edit_gold_set")
def gold_set(request: Request, project: Project) -> HttpResponse:
    stored = gold_set_of(project)
    is_link = request.method == "GET" and any(name in request.GET for name in GoldRuleForm.KEPT)
    form = GoldRuleForm(request.GET if is_link else request.POST or None, instance=stored, is_link=is_link,
                        stratum=STRATA[project.task_type])
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
    context = {"project": project, "is_live": True, **_preview_context(request, project, form)}
    return render(request, "curation/_gold_preview.html", context)


@on(Project, "edit_gold_set")
@require_GET
def gold_set_arms(request: Request, project: Project) -> HttpResponse:
    """The rows that the stored rule picks and the random ones it has to beat, as JSON Lines to train on."""
    picks = picks_of(project, rule_of(gold_set_of(project)))
    arms = [("gold", picks["gold"]), *((f"random {number}", arm) for number, arm in enumerate(picks["arms"], 1))]
    shown = dict(Example.objects.filter(pk__in={row["example"] for _, arm in arms for row in arm})
                 .values_list("pk", "key"))
    texts = dict(Example.objects.filter(pk__in=shown).values_list("pk", "text"))
    lines = [json.dumps({"arm": name, "key": shown[row["example"]], "text": texts[row["example"]],
                         "label": row["label"], "why": row.get("why", Taken.DRAWN), "gain": row.get("gain")},
                        ensure_ascii=False) for name, arm in arms for row in arm]
    return HttpResponse("\n".join([*lines, ""]), content_type="application/jsonl", headers={
        "Content-Disposition": 'attachment; filename="gold-and-random-arms.jsonl"'})


@on(Project, "edit_gold_set")
@require_POST
def gold_set_check(request: Request, project: Project) -> HttpResponse:
    """The labels that the form's rule, else the stored one, draws for a check by hand, as a filter of the queue."""
    stored = gold_set_of(project)
    form = GoldRuleForm(request.POST, instance=stored, stratum=STRATA[project.task_type])
    if "size" in request.POST and not form.is_valid():
        return _gold_set_page(request, project, form)
    selection = select_to_check(project, rule_of(stored), by=request.user)
    return redirect(review_url(project, Filter(view="all", selection=selection.pk, order="came")))


@on(Project, "edit_gold_set")
@require_GET
def gold_set_held_out(request: Request, project: Project) -> HttpResponse:
    """How many dev and test rows come along: with a large project counted by the job that makes the rule's pick."""
    report = latest_report(project)
    if report is None:
        raise UserError("Score the project first: held-out examples are chosen without repeats.")
    found = look(project, rule_of(gold_set_of(project)), by=request.user)
    splits = found.facts and found.facts.get("held_out")
    if found.facts and splits is None:
        splits = held_out(project, report, only_count=True).facts
    return render(request, "curation/_held_out.html", {
        "project": project, "splits": splits, "answers": answers_of(project), "job": found.job})


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
        "is_suggested": request.method == "GET" and form.is_bound and form.is_valid(),
        **(_preview_context(request, project, form) if has_report else {})},
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
    LeftOut.COVERED: ("Are stood for by others that add more", ""),
}
TAKEN = {
    Taken.SPREAD: "stand for the others of their label",
    Taken.FAVOURED: "are of the batches that are favoured",
    Taken.UNCERTAIN: "were hard, and a person has settled them",
    Taken.AUDIT: "are drawn at random, to be checked by hand",
    Taken.DRAWN: "are drawn at random within their label",
}


def _preview_context(request: Request, project: Project, form: GoldRuleForm) -> dict[str, Any]:
    if form.is_bound and not form.is_valid():
        return {"refusal": "With these values the rule picks nothing: " + " ".join(
            f"{form.fields[name].label}: {errors[0]}" for name, errors in form.errors.items())}
    try:
        rule = rule_of(form.instance)
        found = look(project, rule, by=request.user)
    except UserError as error:
        return {"refusal": str(error)}
    if found.facts is None:
        has_failed = found.job is not None and not found.job.is_active
        return {"pick_job": found.job, "rule_query": "" if has_failed else _query(rule)}
    facts = found.facts
    rows = facts["shown"]
    unchecked = facts["audit"]["rows"][facts["audit"]["n_checked"]:]
    to_check = unchecked[:N_TO_CHECK]
    texts = dict(Example.objects.filter(pk__in=[*(row["pk"] for row in rows), *to_check]).values_list("pk", "text"))
    answers = answers_of(project)
    wrong, agreement = facts["audit"]["error"], facts["agreement"]
    return {
        "picked": facts, "is_modelled": project.task_type in MODELLED, "is_short": facts["n"] < facts["size"],
        "shares_chart": _shares_chart(facts), "max_shares": MAX_SHARES,
        "is_spread": facts["method"] == Method.SPREAD, "min_checked": MIN_CHECKED,
        "left_out": [(*LEFT_OUT[LeftOut(reason)], n) for reason, n in facts["left_out"].items()],
        "taken": [(TAKEN[Taken(why)], n) for why, n in facts["taken"].items()],
        "error": Interval(**wrong) if wrong else None, "agreement": Interval(**agreement) if agreement else None,
        "to_check": [{"pk": pk, "text": texts[pk]} for pk in to_check], "n_unchecked": len(unchecked),
        "shown": [{**row, "text": texts[row["pk"]], "label": answers.show(row["label"], source=texts[row["pk"]])}
                  for row in rows]}


def _shares_chart(facts: dict[str, Any]) -> Chart | None:
    """Each label's share of the labelled examples and of the pick; None with one label or nothing picked."""
    rows = [(row["label"], row["n_candidates"], row["n_selected"]) for row in facts["table"]]
    return share_chart(rows, whole="labelled", part="picked") if len(rows) > 1 and facts["n"] else None


def _query(rule: GoldRule) -> str:
    """The form's fields that lead to this rule again."""
    said = asdict(rule) | {"favoured_batches": ", ".join(map(str, rule.favoured_batches))}
    return urlencode({name: value for name, value in said.items() if name != "allow_flagged"}
                     | ({"allow_flagged": "on"} if rule.allow_flagged else {}))
