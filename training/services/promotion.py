"""Promotion: an adapter becomes the project's champion only with a proof, or with a written reason."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from training.models import Adapter, Evaluation, Verdict
from training.services.comparison import lower_bound
from training.verdict import promotion_gate


@dataclass(frozen=True)
class Standing:
    """Whether the gate lets an adapter be champion, and why or why not, in words."""

    allowed: bool
    reasons: list[str]


def standing(adapter: Adapter) -> Standing:
    """Hold an adapter against the best prompt of its snapshot and against the champion, on the same test rows."""
    mine = Evaluation.objects.filter(run=adapter.run, split="test").first()
    if mine is None:
        return Standing(False, ["It has not been evaluated on the test rows yet."])
    verdict = Verdict.objects.filter(snapshot=adapter.run.snapshot).first()
    if verdict is None:
        return Standing(False, ["There is no prompt baseline on these test rows to compare it with. Run the baseline."])
    prompt = Evaluation.objects.get(run=verdict.best_prompt, split="test")
    champion = Adapter.objects.filter(project=adapter.project).champion()
    against_champion = None
    if champion is not None and champion.pk != adapter.pk:
        theirs = Evaluation.objects.filter(run=champion.run, snapshot=adapter.run.snapshot, split="test").first()
        if theirs is None:
            return Standing(False, [f"The champion, {champion}, was judged on other test rows. Compare both on one "
                                    "snapshot first, or write down why this one should replace it."])
        against_champion = lower_bound(theirs, mine)
    allowed, reasons = promotion_gate(
        lower_bound(prompt, mine), adapter=mine.measured, target=adapter.project.target_value,
        against_champion=against_champion)
    return Standing(allowed, reasons)


@transaction.atomic
def promote(adapter: Adapter, *, by: User, override_reason: str = "") -> Adapter:
    """Make an adapter the champion; the former one is retired.

    override_reason: why, although the gate says no; audited.
    Raises UserError if the gate says no and there is no reason, or somebody was faster.
    """
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
    adapter.refresh_from_db()
    return adapter
