"""Promotion: an adapter becomes the project's champion only with a proof, or with a written reason."""

from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse

from projects.errors import UserError
from projects.models import AuditEvent, Project
from projects.services import audit, notify
from training.models import Adapter, Evaluation, GeneralCheck, Verdict
from training.services.comparison import lower_bound
from training.services.pairwise import win_of
from training.services.slices import compare_on_slices
from training.slices import SliceFinding
from training.verdict import Forgetting, promotion_gate, worse_sentence

ONLY_COMPARED = ("All weights were trained, to compare LoRA with it. It is not promoted: what serves, suggests and is "
                 "exported here are adapters. Promote the LoRA run if that is better.")
ONLY_PREFERS = ("It has learned to write what people prefer, and was judged by which of two answers it finds likelier. "
                "This project serves which of two answers is better, which it was never asked. Load its files where "
                "answers are written, and have those judged.")


@dataclass(frozen=True)
class Standing:
    """Whether the gate lets an adapter be champion, and why or why not, in words.

    slices: parts of the test rows, the adapter against the best prompt.
    """

    allowed: bool
    reasons: list[str]
    slices: list[SliceFinding] = field(default_factory=list)


def standing(adapter: Adapter) -> Standing:
    """Hold an adapter against the best prompt of its snapshot and against the champion, on the same test rows."""
    if not adapter.can_serve:
        return Standing(False, [_never(adapter)])
    mine = Evaluation.objects.filter(run=adapter.run, split="test").select_related("snapshot__project").first()
    if mine is None:
        return Standing(False, ["It has not been evaluated on the test rows yet."])
    verdict = Verdict.objects.filter(snapshot=adapter.run.snapshot).first()
    if verdict is None:
        return Standing(False, ["No prompt has been judged on these test rows to hold it against. Try one first."])
    prompt = Evaluation.objects.select_related("snapshot__project").get(run=verdict.best_prompt, split="test")
    slices = compare_on_slices(prompt, mine)
    champion = Adapter.objects.filter(project=adapter.project).champion()
    against_champion, weighed = None, [("the best prompt", slices)]
    if champion is not None and champion.pk != adapter.pk:
        theirs = Evaluation.objects.select_related("snapshot__project").filter(
            run=champion.run, snapshot=adapter.run.snapshot, split="test").first()
        if theirs is None:
            return Standing(False, [f"The champion, {champion}, was judged on other test rows. Compare both on one "
                                    "snapshot first, or write down why this one should replace it."], slices)
        against_champion = lower_bound(theirs, mine)
        weighed.append(("the champion", compare_on_slices(theirs, mine)))
    win = win_of(adapter.run, verdict.best_prompt, name="it", rival_name="the best prompt")
    allowed, reasons = promotion_gate(
        lower_bound(prompt, mine), adapter=mine.measured, target=adapter.project.target_value,
        against_champion=against_champion, slices=[one.title for one in slices if one.is_critical],
        worse=[worse_sentence(one.title, rival, one.compared.n, one.compared.difference.estimate, one.p_adjusted)
               for rival, found in weighed for one in found if one.blocks],
        forgetting=forgetting_of(adapter), win=win.words if win else "")
    return Standing(allowed, reasons, slices)


def _never(adapter: Adapter) -> str:
    return ONLY_COMPARED if adapter.is_whole_model else ONLY_PREFERS


def forgetting_of(adapter: Adapter) -> Forgetting | None:
    """How many general questions it still answers, None while that has not been checked."""
    check = GeneralCheck.objects.filter(adapter=adapter).first()
    return Forgetting(check.n, check.n_base, check.n_adapter, check.p_value) if check else None


@transaction.atomic
def promote(adapter: Adapter, *, by: User, override_reason: str = "") -> Adapter:
    """Make an adapter the champion; the former one is retired.

    override_reason: why, although the gate says no; audited.
    Raises UserError if the gate says no and there is no reason, it cannot serve, or somebody was faster.
    """
    if not adapter.can_serve:
        raise UserError(f"{adapter} is not promoted. {_never(adapter)}")
    Project.objects.select_for_update().get(pk=adapter.project_id)  # the champion stays who it is while this decides
    found = standing(adapter)
    if not found.allowed and not override_reason.strip():
        raise UserError(f"{adapter} is not promoted. {' '.join(found.reasons)} Write down a reason to promote it all "
                        "the same.")
    Adapter.objects.filter(project=adapter.project, stage=Adapter.Stage.champion).exclude(pk=adapter.pk).update(
        stage=Adapter.Stage.retired)
    changed = Adapter.objects.filter(pk=adapter.pk).exclude(stage=Adapter.Stage.champion).update(
        stage=Adapter.Stage.champion)
    if changed != 1:
        raise UserError(f"{adapter} is the champion already.")
    audit(adapter.project, by, "promote", {"adapter": adapter.pk, "allowed": found.allowed,
                                           "override": override_reason.strip()})
    notify(adapter.project, "adapter.promoted", title=f"{adapter} is the champion now", text=override_reason, by=by,
           data={"adapter": adapter.pk, "overridden": not found.allowed},
           link=reverse("training:adapter", args=[adapter.pk]))
    adapter.refresh_from_db()
    return adapter


def former_champion(adapter: Adapter) -> Adapter | None:
    """The retired adapter that was champion last before this one, None for an adapter that is no champion."""
    if adapter.stage != Adapter.Stage.champion:
        return None
    retired = {one.pk: one for one in Adapter.objects.filter(project=adapter.project_id, stage=Adapter.Stage.retired)}
    told = AuditEvent.objects.filter(project=adapter.project_id, what__in=("promote", "roll_back")).order_by("-pk")
    return next((retired[event.detail["adapter"]] for event in told if event.detail["adapter"] in retired), None)


@transaction.atomic
def roll_back(adapter: Adapter, *, by: User, reason: str) -> Adapter:
    """Make an earlier champion the champion again; the present one is retired. The gate is not asked: it was before.

    reason: why, audited.
    Raises UserError without a reason, and if the adapter was not champion before or somebody was faster.
    """
    if not reason.strip():
        raise UserError("Write down why the earlier champion should be back.")
    Project.objects.select_for_update().get(pk=adapter.project_id)
    present = Adapter.objects.filter(project=adapter.project).champion()
    if present is None or adapter.stage != Adapter.Stage.retired:
        raise UserError(f"{adapter} is no earlier champion: only one that has been replaced can come back.")
    Adapter.objects.filter(pk=present.pk).update(stage=Adapter.Stage.retired)
    if Adapter.objects.filter(pk=adapter.pk, stage=Adapter.Stage.retired).update(stage=Adapter.Stage.champion) != 1:
        raise UserError(f"{adapter} is the champion already.")
    audit(adapter.project, by, "roll_back", {"adapter": adapter.pk, "from": present.pk, "reason": reason.strip()})
    notify(adapter.project, "adapter.rolled_back", title=f"{adapter} is the champion again", text=reason, by=by,
           data={"adapter": adapter.pk, "instead_of": present.pk}, link=reverse("training:adapter", args=[adapter.pk]))
    adapter.refresh_from_db()
    return adapter
