"""Proposals to train again: why, what is known of whether it pays, and a person's decision.

Approving starts nothing. It leads along the straight path: score, freeze, approve, try the prompt, quote, train;
whether the new model replaces the old one is decided by the gate of promotion and by an A/B test, as always.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.urls import reverse
from django.utils import timezone

from curation.models import GoldSet, LabelForecast, Snapshot
from curation.services.forecasts import forecast_obstacle, start_forecast
from curation.services.gold_sets import gold_set_of
from curation.services.scoring import latest_report, start_score
from jobs.models import Job
from labeling.models import Annotation, BatchItem, Example
from projects.errors import UserError
from projects.models import Project
from projects.services import audit, notify
from projects.wording import duration_words, interval_words, percent_words
from serving.models import Look, LookCount, SignalReading, TrainingProposal
from serving.services.watch_plans import Watched, responsible
from serving.services.weighing import Weighed, n_unscored, weighed_of
from stats.intervals import Interval
from stats.schedule import WORTH, Deployed, RetrainProposal, gain_words, propose_retraining
from training.models import Adapter, Quote, Receipt, Run, Verdict
from training.services.economics import economics_of

State = TrainingProposal.State


def weigh_retraining(watched: Watched, *, today: date) -> RetrainProposal:
    """Whether a training is due by alarm, calendar or a gain; what was decided before counts as a fresh start."""
    deployment, project = watched.deployment, watched.project
    snapshot, decided = deployment.run.snapshot, _decided(watched)
    counts = LookCount.objects.filter(look__in=watched.looks).order_by("look__number")
    rang = counts.filter(level=LookCount.Level.alarm).first()
    is_answered = rang is not None and TrainingProposal.objects.filter(
        project=project, deployment=deployment, is_alarm=True, look__number__gte=rang.look.number).exclude(
        state=State.open).exists()
    last = counts.last()
    warned = SignalReading.objects.filter(look=watched.looks.last(), is_warning=True).values_list("name", flat=True)
    weighed = _weighed_since(watched, decided)
    return propose_retraining(Deployed(
        trained_on=min(_trained_on(watched, decided), today), n_gold=max(1, int(snapshot.counts["train"])),
        n_new=n_newly_labelled(project, snapshot, decided), n_unscored=n_unscored(watched),
        is_alarm=rang is not None and not is_answered,
        is_warning=last is not None and last.level == LookCount.Level.warning, signals=tuple(warned),
        gain=weighed.gain if weighed else None, n_new_gold=weighed.n_new if weighed else 0,
        why_not=weighed.why_not if weighed else "",
        can_weigh=project.task_type == Project.TaskType.classification, has_declined=decided is not None),
        today, weeks=watched.plan.retrain_weeks)


def _decided(watched: Watched) -> TrainingProposal | None:
    """The newest proposal about what serves that somebody approved or declined."""
    return TrainingProposal.objects.filter(
        project=watched.project, deployment=watched.deployment, state__in=(State.approved, State.declined)).first()


def _trained_on(watched: Watched, decided: TrainingProposal | None) -> date:
    """The day from which the calendar counts."""
    deployment = watched.deployment
    made = deployment.adapter.created_at if deployment.adapter else deployment.run.created_at
    days = [made, *([decided.decided_at] if decided is not None and decided.decided_at is not None else [])]
    return max(days).astimezone(UTC).date()


def _weighed_since(watched: Watched, decided: TrainingProposal | None) -> Weighed | None:
    """The newest weighing that nobody knew of who decided. None once a training was approved: it is on its way."""
    weighed = weighed_of(watched.deployment)
    if weighed is None or decided is None:
        return weighed
    is_news = decided.state == State.declined and decided.decided_at is not None and weighed.at > decided.decided_at
    return weighed if is_news else None


def n_newly_labelled(project: Project, snapshot: Snapshot, decided: TrainingProposal | None) -> int:
    """How many pool examples beyond the snapshot's rows got a label since it was frozen, or since the last decision."""
    since = max(snapshot.last_annotation or 0, decided.last_annotation if decided else 0)
    newer = Annotation.objects.current().filter(example=OuterRef("pk"), pk__gt=since)
    return Example.objects.filter(Exists(newer), project=project, split=Example.Split.pool).exclude(
        pk__in=snapshot.rows.values("example")).exclude(text="").count()


def propose_between_looks(watched: Watched, *, today: date) -> TrainingProposal | None:
    """Propose what needs no look: by the calendar, also while the watch is paused, or since it was weighed to pay.

    Cheap while nothing is due, since the tick asks every few seconds.
    """
    newest = TrainingProposal.objects.filter(project=watched.project, deployment=watched.deployment).exclude(
        state=State.overtaken).first()
    if newest is not None and newest.state == State.open:
        return None
    weighed = _weighed_since(watched, newest)
    pays = weighed is not None and weighed.gain is not None and weighed.gain.low >= WORTH
    if not pays and today < _trained_on(watched, newest) + timedelta(weeks=watched.plan.retrain_weeks):
        return None
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=watched.project.pk)  # of two ticks one proposes
        return propose(watched, look=watched.looks.filter(count__isnull=False).last(), today=today)


def propose(watched: Watched, *, look: Look | None, today: date) -> TrainingProposal | None:
    """Propose a training if one is due, in the caller's transaction; None if none is, or one waits for a decision.

    What waits is overtaken once something else serves, and by an alarm that it did not know of. Where none is due but
    much was labelled, the labels are scored: then it is weighed whether a training pays.
    """
    project = watched.project
    waiting = TrainingProposal.objects.filter(project=project, state=State.open).first()
    found = weigh_retraining(watched, today=today)
    is_alarm = found.is_due and found.is_alarm
    if waiting is not None:
        if waiting.deployment_id == watched.deployment.pk and not (is_alarm and not waiting.is_alarm):
            return None
        TrainingProposal.objects.filter(pk=waiting.pk, state=State.open).update(
            state=State.overtaken, decided_at=timezone.now())
    if not found.is_due:
        if found.scores_now and not Job.objects.active().filter(project=project, kind="score").exists():
            start_score(project, by=responsible(watched))
        return None
    proposal = TrainingProposal.objects.create(
        project=project, deployment=watched.deployment, look=look, is_alarm=is_alarm, reasons=list(found.reasons),
        last_annotation=Annotation.objects.newest_of(project))
    audit(project, None, "propose_training", {"proposal": proposal.pk, "reasons": list(found.reasons)})
    notify(project, "training.proposed", title="A training is proposed", text=" ".join(found.reasons),
           link=reverse("serving:proposal", args=[proposal.pk]), key=f"training.proposed:{proposal.pk}",
           data={"proposal": proposal.pk, "is_alarm": is_alarm})
    if forecast_obstacle(project) == "":
        start_score(project, by=responsible(watched))  # the forecast learns from labels that were scored
    return proposal


def forecast_for(proposal: TrainingProposal) -> LabelForecast | None:
    """The newest label budget since the proposal."""
    return LabelForecast.objects.filter(project=proposal.project, created_at__gte=proposal.created_at).first()


def start_due_forecast(proposal: TrainingProposal) -> Job | None:
    """Queue the forecast of an open proposal once the labels were scored; None if there is one, or none can be."""
    project = proposal.project
    report = latest_report(project)
    if report is None or report.created_at < proposal.created_at or forecast_obstacle(project):
        return None
    if Job.objects.filter(project=project, kind="forecast", created_at__gte=proposal.created_at).exists():
        return None
    return start_forecast(project, by=proposal.deployment.run.created_by)


@transaction.atomic
def decide(proposal: TrainingProposal, *, approves: bool, reason: str, by: User,
           now: datetime | None = None) -> TrainingProposal:
    """Approve or decline a proposal; the first decision stands. Nothing is started.

    Raises UserError if it is declined without a reason, or decided already.
    """
    if not approves and not reason.strip():
        raise UserError("Write down why not: in some months somebody will ask.")
    state = State.approved if approves else State.declined
    changed = TrainingProposal.objects.filter(pk=proposal.pk, state=State.open).update(
        state=state, decided_by=by, decided_at=now or timezone.now(), decision_reason=reason.strip(),
        last_annotation=Annotation.objects.newest_of(proposal.project))
    if changed != 1:
        raise UserError("This proposal has been decided already. Reload the page to see how.")
    audit(proposal.project, by, "decide_training", {"proposal": proposal.pk, "state": state.value,
                                                    "reason": reason.strip()})
    proposal.refresh_from_db()
    return proposal


@dataclass(frozen=True)
class Favoured:
    """Of which batches, by their numbers, the gold set should hold more, and of its places the share for them."""

    batches: list[int]
    share: float


def favoured_by(proposal: TrainingProposal) -> Favoured | None:
    """What makes the gold set's rule take what is new; None where no alarm asked for it, or nothing was labelled.

    The batches of the looks since the drop most likely began, and of the extra look, get as many places as they have
    labelled pool examples, in steps of a twentieth, at most half, and no more than the rule's other shares leave.
    """
    extra = Look.objects.filter(project=proposal.project, deployment=proposal.deployment, kind=Look.Kind.extra,
                                because__isnull=False).first() if proposal.is_alarm else None
    if extra is None:
        return None
    looks = Look.objects.filter(project=proposal.project, deployment=proposal.deployment, until__gt=extra.since,
                                batch__isnull=False)
    is_asked = BatchItem.objects.filter(batch__in=looks.values("batch"), example=OuterRef("pk"))
    n = Example.objects.filter(Exists(is_asked), Exists(Annotation.objects.current().filter(example=OuterRef("pk"))),
                               project=proposal.project, split=Example.Split.pool).exclude(text="").count()
    gold_set = gold_set_of(proposal.project)
    share = min(0.5, math.ceil(20 * n / gold_set.size) / 20, 1 - gold_set.uncertain_share - gold_set.audit_share)
    return Favoured(list(looks.order_by("batch__number").values_list("batch__number", flat=True)), share) \
        if share > 0 else None


def gold_query(proposal: TrainingProposal) -> str:
    """What follows the gold set's address so that its form is filled in with what should be favoured; "" if nothing."""
    found = favoured_by(proposal)
    return "" if found is None else "?" + urlencode({
        "favoured_batches": ", ".join(map(str, found.batches)), "favoured_share": f"{found.share:g}",
        "method": GoldSet.Method.spread})


@dataclass(frozen=True)
class Step:
    """One step of the way to a new model. state: “done”, “now” or “later”; url: "" where there is nothing to open."""

    title: str
    words: str
    state: str
    url: str


def way_of(proposal: TrainingProposal) -> list[Step]:
    """The way from a proposal to what serves next, with the first open step as the next thing to do."""
    project = proposal.project
    report, forecast = latest_report(project), forecast_for(proposal)
    is_scored = report is not None and report.created_at >= proposal.created_at
    is_approved = proposal.state == State.approved
    snapshot = Snapshot.objects.filter(project=project, created_at__gte=proposal.decided_at).first() \
        if is_approved and proposal.decided_at else None
    verdict = Verdict.objects.filter(snapshot=snapshot).first() if snapshot else None
    quote = Quote.objects.filter(snapshot=snapshot).first() if snapshot else None
    run = Run.objects.filter(snapshot=snapshot, kind__in=Run.ADAPTERS).first() if snapshot else None
    adapter = Adapter.objects.filter(run=run).first() if run else None
    like = f"?like={proposal.deployment.run_id}" if proposal.deployment.adapter_id else ""
    obstacle = forecast_obstacle(project)
    steps = [
        ("Score", "the new labels, so that wrong ones are found", is_scored, reverse(
            "curation:quality", args=[project.pk])),
        ("Forecast", obstacle or "what more labels bring", forecast is not None or bool(obstacle and is_scored),
         reverse("curation:forecasts", args=[project.pk])),
        ("Decide", "an admin approves or declines", is_approved, ""),
        ("Freeze", "the gold set with the new labels as a snapshot", snapshot is not None,
         reverse("curation:gold-set", args=[project.pk]) + gold_query(proposal)),
        ("Approve", "the snapshot, by somebody who did not make it", snapshot is not None and snapshot.is_approved,
         reverse("curation:snapshot-detail", args=[snapshot.pk]) if snapshot else ""),
        ("Prompt", "tried on it first", verdict is not None,
         reverse("training:comparison", args=[snapshot.pk]) if snapshot else ""),
        ("Quote", "time and money, with the settings of what serves", quote is not None or run is not None,
         reverse("training:train", args=[snapshot.pk]) + like if snapshot else ""),
        ("Train", "by that quote; the evaluation follows", adapter is not None and _is_evaluated(adapter),
         reverse("training:run", args=[run.pk]) if run else ""),
        ("Promote", "by the gate, or try it in an A/B test first",
         adapter is not None and adapter.stage == Adapter.Stage.champion,
         reverse("training:adapter", args=[adapter.pk]) if adapter else ""),
    ]
    first_open = next((n for n, step in enumerate(steps) if not step[2]), len(steps))
    return [Step(title, words, "done" if n < first_open or is_done else "now" if n == first_open else "later",
                 url if n <= first_open else "") for n, (title, words, is_done, url) in enumerate(steps)]


def _is_evaluated(adapter: Adapter) -> bool:
    return adapter.run.evaluations.filter(split="test").exists()


def pays_words(proposal: TrainingProposal, live: Interval | None) -> list[str]:
    """Whether a training is likely to pay, as far as anything is known before its quote.

    live: what the labels of the looks say of what serves.
    """
    project, forecast, said = proposal.project, forecast_for(proposal), []
    weighed = weighed_of(proposal.deployment)
    if weighed is not None and weighed.at >= proposal.created_at:
        said.append(gain_words(weighed.gain, weighed.n_new) if weighed.gain else f"Not weighed: {weighed.why_not}")
    if obstacle := forecast_obstacle(project):
        said.append(f"No forecast: {obstacle[0].lower()}{obstacle[1:]}")
    elif forecast is None:
        said.append("The forecast comes once the new labels are scored.")
    else:
        quick = 1 - float(np.mean(forecast.errors[-1]))
        now = (f"; what serves is at {percent_words(live.estimate)} ({interval_words(live)}) on the labels of the last "
               "looks" if live else "")
        said.append(f"A quick model that learns from the {forecast.n_train:,} labels there are now is at "
                    f"{percent_words(quick)} on {forecast.n_dev:,} dev rows{now}.")
        if live is not None:
            said.append("A training is likely to pay: even the quick model does better than what serves does now."
                        if quick > live.high else
                        "That a training pays is not shown by this: the quick model is not clearly better. Dev rows "
                        "are mostly from before, so label more of what is new, and ask again.")
        said.append(forecast.words[0])
    said.append(cost_words(proposal))
    return said


def cost_words(proposal: TrainingProposal) -> str:
    """What a training took last time; the next one is quoted before it starts."""
    receipt = Receipt.objects.filter(run__snapshot__project=proposal.project, is_whole=True).order_by("-pk").first()
    if receipt is None:
        return "No training was run here yet: what it takes is quoted once there is a snapshot."
    money = "" if receipt.money is None else f" and cost {receipt.money:,.2f} {economics_of(proposal.project).currency}"
    return (f"The last training took {duration_words(receipt.seconds)}{money}. This one is quoted with its own "
            "snapshot before anything starts, and stops at its cap.")

