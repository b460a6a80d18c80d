"""A/B tests on live traffic, from the plan to the end.

1. `start_experiment` writes down what is compared, how large it has to be and what would end it. Nothing of that
   changes any more.
2. The gateway gives each unit its arm (`services.exposures`), feedback is counted per arm (`services.outcomes`).
3. `judge` says what it shows; a look that counts is stored once, and what ends it ends it at once: from then on
   everybody gets the champion. The tick calls it every minute, every page that shows it, too.
4. What an end says is kept with it. To ship is to promote, through the gate.
"""

import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.db.models import Avg
from django.urls import reverse
from django.utils import timezone

from projects.errors import UserError
from projects.models import Project
from projects.services import audit, notify
from serving.models import (
    Deployment,
    Exchange,
    Experiment,
    ExperimentDay,
    ExperimentEnd,
    ExperimentLook,
)
from serving.services.deployments import CHAMPION, Choice, NotServed, choose, prompt_of, serve, serve_choice
from serving.services.outcomes import COST_TIMES, arms_of, harms_of
from stats.assignment import SampleRatio
from stats.experiment import Arm, Look, Size, judge_experiment, size_experiment
from stats.guardrails import Harm
from stats.intervals import Interval
from training.models import Adapter, Promotion, Run
from training.services.promotion import promote, promote_prompt

SAME = "same"  # the challenger of an A/A test
MIN_RATED = 100  # per arm, whatever the size comes to
WAIT_HOURS = 24  # a unit without a correction by then counts as one
DAY = 24 * 3600
JUDGED_EVERY = 60.0  # seconds between two calls of the tick for one test
WEEK = timedelta(days=7)
LARGE = 20_000  # units


# What may be compared

@dataclass(frozen=True)
class Challenger:
    """What may challenge the champion: it was evaluated. name: as it is asked for, "adapter-7" or "run-12"."""

    name: str
    title: str
    choice: Choice


def challengers_of(project: Project) -> list[Challenger]:
    """Evaluated adapters and prompts that do not serve now, newest first; [] where nothing serves."""
    try:
        now = choose(project, CHAMPION)
    except NotServed:
        return []
    slot = Deployment.Slot.named
    found = [Challenger(f"adapter-{one.pk}", str(one), Choice(slot, one.run, one))
             for one in Adapter.objects.filter(project=project, run__evaluations__split="test").select_related(
                 "run__snapshot").order_by("-pk").distinct() if one.can_serve]
    found += [Challenger(f"run-{one.pk}", str(one), Choice(slot, one, None)) for one in Run.objects.filter(
        snapshot__project=project, kind__in=Run.PROMPTS, evaluations__split="test").select_related(
        "snapshot").order_by("-pk").distinct()]
    return [one for one in found if (one.choice.run, one.choice.adapter) != (now.run, now.adapter)]


def running_experiment(project: Project) -> Experiment | None:
    return Experiment.objects.filter(project=project, state=Experiment.State.running).select_related(
        "challenger__adapter", "challenger__run").first()


# The plan

@dataclass(frozen=True)
class Asked:
    """What somebody wants to find out. Shares in [0, 1]; base: of the champion, as is; difference: the smallest that
    matters. feedback_rate: of the units. units_a_week: users or threads. cap: of an outcome.
    """

    outcome: str
    base: float
    difference: float
    feedback_rate: float
    units_a_week: float
    share: float = 0.5
    cap: float = 1.0


def size_of(asked: Asked) -> Size:
    """How large it has to be. Raises UserError in words for numbers that cannot be."""
    if asked.outcome not in Experiment.Outcome.values:
        raise UserError(f"The outcome is one of {', '.join(Experiment.Outcome.values)}; got “{asked.outcome:.40}”.")
    if not asked.cap > 0:
        raise UserError(f"An outcome's cap has to be above 0; got {asked.cap:g}.")
    rate = 1.0 if asked.outcome == Experiment.Outcome.correction_free else asked.feedback_rate
    try:
        return size_experiment(base=asked.base, difference=asked.difference, feedback_rate=rate,
                               units_a_week=asked.units_a_week, challenger_share=asked.share)
    except (ValueError, OverflowError):
        raise UserError(
            f"Between 0 and 100 % have to lie the champion's share ({asked.base:.1%}), that share with the difference "
            f"({asked.base + asked.difference:.1%}), the share that gives feedback ({asked.feedback_rate:.2%}; up to "
            f"100 %) and the challenger's part of the users ({asked.share:.1%}). The difference "
            f"({asked.difference:.1%}) cannot be 0, and somebody has to come in a week ({asked.units_a_week:,.0f} do)."
        ) from None


def start_experiment(project: Project, *, challenger: str, asked: Asked, by: User, engine: str = "planned looks",
                     is_aa: bool = False, is_cheaper: bool = False, margin: float = 0.01,
                     slow_seconds: float = 10.0) -> Experiment:
    """Begin: from the next request on each unit has an arm.

    challenger: a name of `challengers_of`; of no effect where is_aa, then both arms are the champion.
    Raises NotServed if one of the two does not serve, UserError if a test runs already or the plan cannot be.
    """
    if engine not in Experiment.Engine.values:
        raise UserError(f"What decides is one of {', '.join(Experiment.Engine.values)}; got “{engine:.40}”.")
    if not 0 <= margin < 1 or not slow_seconds > 0:
        raise UserError(f"How much worse a cheaper one may be lies between 0 and 100 % (got {margin:.4g}), and a slow "
                        f"answer takes some seconds (got {slow_seconds:.4g}).")
    size = size_of(asked)
    _, champion = serve(project, CHAMPION)
    against = champion if is_aa else _challenger(project, challenger)
    planned = {name: getattr(asked, name) for name in ("base", "difference", "feedback_rate", "units_a_week")}
    waits = asked.outcome == Experiment.Outcome.correction_free
    try:
        with transaction.atomic():
            experiment = Experiment.objects.create(
                project=project, champion=champion, challenger=against, salt=secrets.token_hex(16), share=asked.share,
                outcome=asked.outcome, cap=asked.cap, wait_hours=WAIT_HOURS if waits else 0, engine=engine,
                n_max=max(MIN_RATED, size.n_rated), size=planned, is_cheaper=is_cheaper and not is_aa, margin=margin,
                is_aa=is_aa, slow_seconds=slow_seconds, cost_cap=_cost_cap(project), started_by=by)
            audit(project, by, "start_ab_test", {
                "test": experiment.pk, "champion": champion.pk, "challenger": against.pk, "share": asked.share,
                "outcome": asked.outcome, "engine": engine, "n_max": experiment.n_max, "is_aa": is_aa})
    except IntegrityError:
        running = Experiment.objects.filter(project=project, state=Experiment.State.running).first()
        if running is None:
            raise
        raise UserError(f"{running} runs already. Its users would be split once more: stop it first, or wait for its "
                        "end.") from None
    return experiment


def _challenger(project: Project, name: str) -> Deployment:
    found = next((one for one in challengers_of(project) if one.name == name), None)
    if found is None:
        raise UserError(f"“{name:.40}” cannot challenge what serves: choose an adapter or a prompt that was evaluated "
                        "and does not serve already.")
    return serve_choice(project, found.choice)[1]


def _cost_cap(project: Project) -> float | None:
    """Costs above it count as it: some times what a request has cost lately; None where nobody knows."""
    mean = Exchange.objects.filter(project=project, at__gte=timezone.now() - WEEK, is_answered=True).aggregate(
        mean=Avg("cost"))["mean"]
    return COST_TIMES * float(mean) if mean else None


# What it shows

@dataclass(frozen=True)
class Judged:
    """How a test stands, or stood at its end. outcome: of stats.experiment, or STOPPED. words: the result first.

    due: the look that counts now and is not stored yet.
    """

    experiment: Experiment
    outcome: str
    words: list[str]
    champion: Arm
    challenger: Arm
    band: Interval | None
    ratio: SampleRatio
    harms: list[Harm]
    looks: list[Look]
    days: float
    end: ExperimentEnd | None = None
    due: Look | None = None

    @property
    def is_over(self) -> bool:
        return self.outcome != "CONTINUE"

    @property
    def interval(self) -> Interval | None:
        """Of the difference, as what decides has it: the last look's, or the band."""
        if self.experiment.engine == Experiment.Engine.planned_looks:
            return self.looks[-1].interval if self.looks else None
        return self.band


def read(experiment: Experiment, *, now: datetime | None = None) -> Judged:
    """What it shows, without writing anything: at its end if that has come, else now."""
    end = ExperimentEnd.objects.filter(experiment=experiment).select_related("by").first()
    looks = looks_of(experiment)
    if end is not None:
        return _as_it_ended(experiment, end, looks)
    now = now or timezone.now()
    champion, challenger = arms_of(experiment, now=now)
    harms = _harms(experiment, champion.n_exposed + challenger.n_exposed, now)
    days = (now - experiment.started_at).total_seconds() / DAY
    verdict = judge_experiment(experiment.plan, champion, challenger, days=days, past=looks, harms=harms)
    return Judged(experiment, verdict.outcome, list(verdict.words), champion, challenger, verdict.band, verdict.ratio,
                  harms, looks, days, due=verdict.look)


def _harms(experiment: Experiment, n_exposed: int, now: datetime) -> list[Harm]:
    """What speaks of harm. With very many units that takes half a second, so it is computed once a minute."""
    if n_exposed < LARGE:
        return harms_of(experiment, now=now)
    found: list[Harm] | None = cache.get(f"harms:{experiment.pk}")
    if found is None:
        found = harms_of(experiment, now=now)
        cache.set(f"harms:{experiment.pk}", found, JUDGED_EVERY)
    return found


def judge(experiment: Experiment, *, now: datetime | None = None) -> Judged:
    """What it shows. A look that is due is stored, and what ends it ends it: of two at once one does that.

    A test whose champion is no longer what the project serves is stopped: nobody is exposed any more.
    """
    if experiment.is_running and _has_other_champion(experiment):
        found = read(experiment, now=now)
        _end(found, outcome=ExperimentEnd.Outcome.stopped,
             reason="Something else became the champion, so there is nothing to compare with any more.")
        experiment.refresh_from_db()
    for _ in range(3):
        found = read(experiment, now=now)
        if found.end is not None or not (found.is_over or found.due):
            return found
        _store(found)
        experiment.refresh_from_db()
    return found


def looks_of(experiment: Experiment) -> list[Look]:
    return [Look(one.number, one.fraction, one.z, one.bound, Interval(**one.interval))
            for one in ExperimentLook.objects.filter(experiment=experiment)]


def _has_other_champion(experiment: Experiment) -> bool:
    """Whether something else serves now, or did in between: then its users have seen more than the two arms."""
    newest = Deployment.objects.filter(project=experiment.project, slot=Deployment.Slot.champion).first()
    if newest is not None and newest.pk != experiment.champion_id:
        return True
    try:
        now, was = choose(experiment.project, CHAMPION), experiment.champion
    except NotServed:
        return False
    return (now.run.pk, now.adapter.pk if now.adapter else None) != (was.run_id, was.adapter_id)


@transaction.atomic
def _store(found: Judged) -> bool:
    """Write the look that is due, and the end if that has come; False if somebody else was faster with either."""
    experiment = Experiment.objects.select_for_update().get(pk=found.experiment.pk)
    if not experiment.is_running or ExperimentLook.objects.filter(experiment=experiment).count() != len(found.looks):
        return False
    if found.due is not None:
        ExperimentLook.objects.create(
            experiment=experiment, number=found.due.number, fraction=found.due.fraction, z=found.due.z,
            bound=found.due.bound, interval=asdict(found.due.interval))
    return not found.is_over or _end(found, outcome=found.outcome)


@transaction.atomic
def _end(found: Judged, *, outcome: str, reason: str = "", by: User | None = None) -> bool:
    """End it, once: what it showed is kept, it is told, and everybody gets the champion from the next request on."""
    experiment, project = found.experiment, found.experiment.project
    if Experiment.objects.filter(pk=experiment.pk, state=Experiment.State.running).update(
            state=Experiment.State.ended) != 1:
        return False
    words = [f"Stopped {f'by {by}' if by else 'by itself'}: “{reason}”", _until_then(found)] if reason else found.words
    result = {"champion": asdict(found.champion), "challenger": asdict(found.challenger),
              "band": asdict(found.band) if found.band else None, "ratio": asdict(found.ratio),
              "harms": [{**asdict(harm), "worse_by": harm.worse_by if harm.n else None} for harm in found.harms],
              "days": found.days}
    end = ExperimentEnd.objects.create(experiment=experiment, outcome=outcome, words=words, result=result,
                                       reason=reason, by=by)
    audit(project, by, "end_ab_test", {"test": experiment.pk, "outcome": outcome, "reason": reason,
                                       "n_champion": found.champion.n, "n_challenger": found.challenger.n})
    notify(project, "experiment.ended", title=f"{experiment} ended: {end.get_outcome_display()}", text=words[0], by=by,
           people=[experiment.started_by], data={"experiment": experiment.pk, "outcome": outcome},
           key=f"experiment.ended:{experiment.pk}", link=reverse("serving:ab-test", args=[experiment.pk]))
    return True


def _until_then(found: Judged) -> str:
    """What a test that is stopped had shown, which is no result."""
    if found.band is None:
        return f"Until then {found.champion.n} and {found.challenger.n} outcomes had come in: too few for anything."
    by = "higher" if found.band.estimate >= 0 else "lower"
    return (f"Until then the challenger's outcome was {100 * abs(found.band.estimate):.1f} points {by} "
            f"({100 * found.band.low:+.1f} to {100 * found.band.high:+.1f}, {found.band.n} outcomes per arm). That is "
            "no result: it was not stopped by its plan.")


def _as_it_ended(experiment: Experiment, end: ExperimentEnd, looks: list[Look]) -> Judged:
    kept: Mapping[str, Any] = end.result
    return Judged(experiment, end.outcome, list(end.words), Arm(**kept["champion"]), Arm(**kept["challenger"]),
                  Interval(**kept["band"]) if kept["band"] else None, SampleRatio(**kept["ratio"]),
                  [Harm(**{**harm, "worse_by": harm["worse_by"] if harm["n"] else math.nan})  # JSON has no nan
                   for harm in kept["harms"]], looks, kept["days"], end=end)


# What people do

def stop_experiment(experiment: Experiment, *, reason: str, by: User) -> ExperimentEnd:
    """Stop it before its end. What it showed until then is kept, and decides nothing.

    Raises UserError without a reason, or if it has ended.
    """
    if not reason.strip():
        raise UserError("Write down why the test is stopped: whoever asks later wants to know.")
    if not _end(read(experiment), outcome=ExperimentEnd.Outcome.stopped, reason=reason.strip()[:1000], by=by):
        raise UserError(f"{experiment} has ended already. Reload the page and read its result.")
    return ExperimentEnd.objects.get(experiment=experiment)


@transaction.atomic
def ship(experiment: Experiment, *, reason: str, by: User) -> Promotion:
    """Promote the challenger, an adapter or a prompt, through the gate; where the gate says no, the test's result and
    the reason are the proof.

    Raises UserError without a reason, if the test has not said that it may be shipped, or if the challenger is not
    served any more.
    """
    if not reason.strip():
        raise UserError("Write down why it is shipped: whoever asks later wants to know.")
    end = ExperimentEnd.objects.filter(experiment=experiment).first()
    if end is None or not end.ships:
        raise UserError(f"{experiment} has not shown that its challenger is better. An adapter can be promoted on its "
                        "own page.")
    challenger, proof = experiment.challenger, f"{reason.strip()} {experiment}: {end.words[0]}"
    prompt_of(Choice(Deployment.Slot.champion, challenger.run, challenger.adapter))
    if challenger.adapter is not None:
        promote(challenger.adapter, by=by, override_reason=proof)
        return Promotion.objects.filter(project=experiment.project, run=challenger.run).latest("pk")
    return promote_prompt(challenger.run, experiment.project, by=by, override_reason=proof)


# The tick

_judged_at: dict[int, float] = {}


def poll() -> int:
    """Called by the tick: judge what runs, each about once a minute, and note once a day where it stands."""
    n = 0
    for experiment in Experiment.objects.filter(state=Experiment.State.running).select_related("project"):
        if time.monotonic() - _judged_at.get(experiment.pk, -JUDGED_EVERY) < JUDGED_EVERY:
            continue
        _judged_at[experiment.pk] = time.monotonic()
        note_day(judge(experiment))
        n += 1
    return n


def note_day(found: Judged, *, now: datetime | None = None) -> None:
    """Keep where it stands, once on a day in UTC."""
    if found.band is not None and found.end is None:
        ExperimentDay.objects.get_or_create(
            experiment=found.experiment, day=(now or timezone.now()).astimezone(UTC).date(), defaults={
                "n_exposed": found.champion.n_exposed + found.challenger.n_exposed, "band": asdict(found.band)})
