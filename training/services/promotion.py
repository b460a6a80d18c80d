"""Promotion: an adapter or a prompt becomes the project's champion only with a proof, or with a written reason."""

from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from projects.errors import UserError
from projects.models import Project
from projects.services import audit, notify
from training.models import Adapter, Evaluation, GeneralCheck, Promotion, Run, Verdict
from training.services.champions import Champion, asking_obstacle, champion_of, has_been_champion, serving_run
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
    """Whether the gate lets something be champion, and why or why not, in words.

    slices: parts of the test rows, against the best prompt.
    """

    allowed: bool
    reasons: list[str]
    slices: list[SliceFinding] = field(default_factory=list)


def standing(adapter: Adapter) -> Standing:
    """Hold an adapter against the best prompt of its snapshot and against the champion, on the same test rows."""
    return _standing(adapter.run, forgetting_of(adapter)) if adapter.can_serve else Standing(False, [_never(adapter)])


def standing_of_prompt(run: Run) -> Standing:
    """The same for a prompt without an adapter."""
    return _standing(run, None)


def _standing(run: Run, forgetting: Forgetting | None) -> Standing:
    mine = Evaluation.objects.filter(run=run, split="test").select_related("snapshot__project").first()
    if mine is None:
        return Standing(False, ["It has not been evaluated on the test rows yet."])
    verdict = Verdict.objects.filter(snapshot=run.snapshot).first()
    if verdict is None:
        return Standing(False, ["No prompt has been judged on these test rows to hold it against. Try one first."])
    rivals: list[tuple[str, float, list[SliceFinding]]] = []
    win = None
    if run.pk != verdict.best_prompt_id:
        prompt = Evaluation.objects.select_related("snapshot__project").get(run=verdict.best_prompt, split="test")
        rivals.append(("best prompt", lower_bound(prompt, mine), compare_on_slices(prompt, mine)))
        win = win_of(run, verdict.best_prompt, name="it", rival_name="the best prompt")
    slices = rivals[0][2] if rivals else []
    champion = _held_against(run)
    if champion is not None and champion.run.pk not in (run.pk, verdict.best_prompt_id):
        theirs = Evaluation.objects.select_related("snapshot__project").filter(
            run=champion.run, snapshot=run.snapshot, split="test").first()
        if theirs is None:
            return Standing(False, [f"The champion, {champion.title}, was judged on other test rows. Compare both on "
                                    "one snapshot first, or write down why this one should replace it."], slices)
        rivals.append(("champion", lower_bound(theirs, mine), compare_on_slices(theirs, mine)))
    allowed, reasons = promotion_gate(
        [(name, bound) for name, bound, _ in rivals], mine=mine.measured, target=run.project.target_value,
        slices=[one.title for one in slices if one.is_critical],
        worse=[worse_sentence(one.title, f"the {name}", one.compared.n, one.compared.difference.estimate,
                              one.p_adjusted) for name, _, found in rivals for one in found if one.blocks],
        forgetting=forgetting, has_weights=not run.is_prompt, win=win.words if win else "")
    return Standing(allowed, reasons, slices)


def _held_against(run: Run) -> Champion | None:
    """The champion; of a prompt, while there is none, what serves instead."""
    champion = champion_of(run.project)
    if champion is None and run.is_prompt and (serving := serving_run(run.project)):
        return Champion(serving, None)
    return champion


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
    found, reason = standing(adapter), override_reason.strip()
    _require_proof(str(adapter), found, reason)
    _crown(adapter.project, Champion(adapter.run, adapter), way=_way(found), reason=reason, by=by)
    audit(adapter.project, by, "promote", {"adapter": adapter.pk, "allowed": found.allowed, "override": reason})
    notify(adapter.project, "adapter.promoted", title=f"{adapter} is the champion now", text=override_reason, by=by,
           data={"adapter": adapter.pk, "overridden": not found.allowed},
           link=reverse("training:adapter", args=[adapter.pk]))
    adapter.refresh_from_db()
    return adapter


@transaction.atomic
def promote_prompt(run: Run, project: Project, *, by: User, override_reason: str = "") -> Promotion:
    """Make a prompt the champion, answered by the bare model; an adapter that was it is retired.

    override_reason: why, although the gate says no; audited.
    Raises UserError if it is no prompt of this project, was not evaluated, cannot be asked as it was, the gate says no
    and there is no reason, or somebody was faster.
    """
    _require_prompt(run, project)
    Project.objects.select_for_update().get(pk=project.pk)
    found, reason, title = standing_of_prompt(run), override_reason.strip(), Champion(run, None).title
    _require_proof(title, found, reason)
    promotion = _crown(project, Champion(run, None), way=_way(found), reason=reason, by=by)
    audit(project, by, "promote", {"run": run.pk, "allowed": found.allowed, "override": reason})
    notify(project, "prompt.promoted", title=f"{title} is the champion now", text=override_reason, by=by,
           data={"run": run.pk, "overridden": not found.allowed}, link=reverse("training:run", args=[run.pk]))
    return promotion


def _require_prompt(run: Run, project: Project) -> None:
    if not run.is_prompt or run.project.pk != project.pk:
        raise UserError(f"{run} is no prompt of “{project}”, so it cannot be its champion.")
    if not Evaluation.objects.filter(run=run, split="test").exists():
        raise UserError(f"{run} has not been evaluated on the test rows, so nobody knows how it answers. Only the best "
                        "prompt of a baseline is.")
    if obstacle := asking_obstacle(run):
        raise UserError(obstacle)


def _require_proof(title: str, found: Standing, reason: str) -> None:
    if not found.allowed and not reason:
        raise UserError(f"{title} is not promoted. {' '.join(found.reasons)} Write down a reason to promote it all the "
                        "same.")


def _way(found: Standing) -> str:
    return Promotion.Way.proven if found.allowed else Promotion.Way.overridden


def _crown(project: Project, new: Champion, *, way: str, reason: str, by: User,
           stage: Adapter.Stage | None = None) -> Promotion:
    """Write who is the champion now, in the caller's transaction, which holds the project's row.

    stage: that an adapter has to come from; None: any. Raises UserError if it is the champion already.
    """
    present = champion_of(project)
    before = present.run if present else serving_run(project)
    Adapter.objects.filter(project=project, stage=Adapter.Stage.champion).exclude(run=new.run).update(
        stage=Adapter.Stage.retired)
    mine = Adapter.objects.filter(run=new.run).exclude(stage=Adapter.Stage.champion)
    changed = (mine.filter(stage=stage) if stage else mine).update(stage=Adapter.Stage.champion)
    if changed != (new.adapter is not None) or (present is not None and present.run.pk == new.run.pk):
        raise UserError(f"{new.title} is the champion already.")
    return Promotion.objects.create(project=project, run=new.run, instead_of=before, way=way, reason=reason, by=by,
                                    created_at=timezone.now())


@transaction.atomic
def roll_back(adapter: Adapter, *, by: User, reason: str) -> Adapter:
    """Make an earlier champion the champion again; the present one is retired. The gate is not asked: it was before.

    reason: why, audited.
    Raises UserError without a reason, and if the adapter was not champion before or somebody was faster.
    """
    present = _present(adapter.project, reason)
    adapter.refresh_from_db(fields=["stage"])
    if present is None or adapter.stage != Adapter.Stage.retired:
        raise UserError(f"{adapter} is no earlier champion: only one that has been replaced can come back.")
    _crown(adapter.project, Champion(adapter.run, adapter), way=Promotion.Way.rolled_back, reason=reason.strip(), by=by,
           stage=Adapter.Stage.retired)
    audit(adapter.project, by, "roll_back", {"adapter": adapter.pk, **_from(present), "reason": reason.strip()})
    notify(adapter.project, "adapter.rolled_back", title=f"{adapter} is the champion again", text=reason, by=by,
           data={"adapter": adapter.pk, "instead_of": present.adapter.pk if present.adapter else None},
           link=reverse("training:adapter", args=[adapter.pk]))
    adapter.refresh_from_db()
    return adapter


@transaction.atomic
def roll_back_to_prompt(run: Run, *, by: User, reason: str) -> Promotion:
    """Make a prompt that has served before the champion, in place of what is it now.

    reason: why, audited.
    Raises UserError without a reason, and if it has not served before, cannot be asked any more or somebody was faster.
    """
    project, title = run.project, Champion(run, None).title
    present = _present(project, reason)
    if present is None or not run.is_prompt or not has_been_champion(run):
        raise UserError(f"{title} is no earlier champion: only one that has been replaced can come back.")
    _require_prompt(run, project)
    promotion = _crown(project, Champion(run, None), way=Promotion.Way.rolled_back, reason=reason.strip(), by=by)
    audit(project, by, "roll_back", {"run": run.pk, **_from(present), "reason": reason.strip()})
    notify(project, "prompt.rolled_back", title=f"{title} is the champion again", text=reason, by=by,
           data={"run": run.pk, "instead_of": present.run.pk}, link=reverse("training:run", args=[run.pk]))
    return promotion


def _present(project: Project, reason: str) -> Champion | None:
    """The champion, which stays it until the caller's transaction ends. Raises UserError without a reason."""
    if not reason.strip():
        raise UserError("Write down why the earlier champion should be back.")
    Project.objects.select_for_update().get(pk=project.pk)
    return champion_of(project)


def _from(present: Champion) -> dict[str, int]:
    return {"from": present.adapter.pk} if present.adapter else {"from_run": present.run.pk}
