"""How a project is watched: its plan, the floor below which it is a drop, and since when evidence is gathered."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction

from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from projects.wording import counted
from serving.models import Deployment, Look, WatchPlan
from stats.drop_alarm import CADENCES, AlarmRule, Floor, LabelsNeeded, alarm_rule, delay_of, floor_from, labels_needed
from stats.intervals import bootstrap_interval
from stats.schedule import LOOKS_A_YEAR, Cadence, evaluation_days
from training.metrics import NAMES, WHOLE
from training.models import Evaluation
from training.services.scoring import read_predictions

MEANS = ("accuracy", "rouge_l")  # metrics that are means of the scores of single rows
BEGINS = "Goldpan began to watch what serves, by the defaults."
DROP = 0.12  # below the floor: the drop that advice is about, as from 90 % to 78 %
FIELDS = ("cadence", "labels", "uniform_share", "floor", "retrain_weeks", "is_on")
OPTIONS = (20, 30, 50, 75, 100, 200)  # labels a look that advice compares


@dataclass(frozen=True)
class Watched:
    """What is watched, how, and since when. days: the period that a look would be about now is [since, until)."""

    project: Project
    deployment: Deployment
    plan: WatchPlan
    began: datetime

    @property
    def began_on(self) -> date:
        return self.began.astimezone(UTC).date()

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """What the deployed prompt or adapter got on the test rows; asked for once."""
        return evaluation_of(self.deployment)

    @property
    def looks(self) -> Any:
        """The regular looks of this watch, oldest first: evidence begins anew with a deployment, floor or cadence."""
        return Look.objects.filter(project=self.project, kind=Look.Kind.regular, deployment=self.deployment,
                                   plan__began_at=self.plan.began_at).order_by("number")

    def period(self, today: date) -> tuple[date, date] | None:
        """The newest period that has ended, from its first day to the first behind it; None in the first one."""
        before, ended = self.began_on, None
        for day in evaluation_days(self.began_on, cadence_of(self.plan)):
            if day == self.began_on:
                continue
            if day > today:
                return ended
            before, ended = day, (before, day)
        raise AssertionError("unreachable: the days have no end")

    def next_end(self, today: date) -> date:
        """The first day behind the period that runs now: the next look is drawn then."""
        return next(day for day in evaluation_days(self.began_on, cadence_of(self.plan)) if day > today)


def cadence_of(plan: WatchPlan) -> Cadence:
    known: dict[str, Cadence] = {"weekly": "weekly", "monthly": "monthly", "quarterly": "quarterly"}
    return known[plan.cadence]


def looks_a_year(plan: WatchPlan) -> int:
    return LOOKS_A_YEAR[cadence_of(plan)]


def n_uniform(plan: WatchPlan) -> int:
    """How many of a look's labels are drawn at random."""
    return math.ceil(plan.labels * plan.uniform_share)


def plan_of(project: Project) -> WatchPlan | None:
    return WatchPlan.objects.filter(project=project).first()


def shown_plan(project: Project, *, now: datetime) -> WatchPlan:
    """The project's plan; one with the defaults that is not stored while nothing has served."""
    return plan_of(project) or WatchPlan(project=project, began_at=now, reason=BEGINS)


def watched_of(project: Project, plan: WatchPlan | None = None) -> Watched | None:
    """What is watched in a project now; None while nothing has served, or no plan was written.

    plan: the newest, by whoever has it already.
    """
    deployment = Deployment.objects.filter(project=project, slot=Deployment.Slot.champion).select_related(
        "run__snapshot__project", "run__created_by", "adapter__run").first()
    plan = plan or plan_of(project)
    if deployment is None or plan is None:
        return None
    return Watched(project, deployment, plan, max(deployment.created_at, plan.began_at))


def responsible(watched: Watched) -> User:
    """In whose name Goldpan asks people: who planned the watch, else who made what serves."""
    return watched.plan.created_by or watched.deployment.run.created_by


def begin_watch(project: Project, *, now: datetime) -> WatchPlan:
    """Return the project's plan; the first one is written here, with the defaults."""
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # of two ticks one writes it
        plan = plan_of(project)
        if plan is None:
            first = Deployment.objects.filter(project=project, slot=Deployment.Slot.champion).first()
            plan = WatchPlan.objects.create(
                project=project, began_at=first.created_at if first else now, reason=BEGINS)
            audit(project, None, "watch", {"plan": plan.pk, "reason": BEGINS})
    return plan


def save_plan(project: Project, values: dict[str, Any], *, reason: str, by: User, now: datetime) -> WatchPlan:
    """Change how a project is watched, with a reason.

    values: of FIELDS. Another floor or cadence, and watching again after a pause, begin the evidence anew: who could
    move the floor under gathered evidence could have any answer. More labels keep what was gathered.
    Raises UserError without a reason or a change.
    """
    if not reason.strip():
        raise UserError("Write down why it is watched otherwise from now on.")
    begin_watch(project, now=now)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        before = plan_of(project)
        assert before is not None, "a plan is never removed"
        changed = [name for name in FIELDS if getattr(before, name) != values[name]]
        if not changed:
            raise UserError("This is how it is watched already: change something, or go back.")
        begins = "floor" in changed or "cadence" in changed or ("is_on" in changed and values["is_on"])
        plan = WatchPlan.objects.create(
            project=project, began_at=now if begins else before.began_at, reason=reason.strip(), created_by=by,
            **{name: values[name] for name in FIELDS})
        audit(project, by, "watch", {"plan": plan.pk, "reason": reason.strip(), "changed": changed,
                                     **{name: values[name] for name in changed}})
    return plan


def evaluation_of(deployment: Deployment) -> Evaluation | None:
    """What the deployed prompt or adapter got on the test rows."""
    return Evaluation.objects.filter(run=deployment.run_id, split="test").select_related("snapshot__project").first()


def floor_of(watched: Watched) -> Floor:
    """The floor in force: of this watch's first look if there was one, else the plan's, else by the evaluation."""
    first = watched.looks.first()
    if first is not None:
        return Floor(first.floor, first.floor_words)
    if watched.plan.floor is not None:
        who = watched.plan.created_by.username if watched.plan.created_by else "Goldpan"
        return Floor(watched.plan.floor, f"The alarm rings when {score_name(watched.project)} falls below "
                                         f"{watched.plan.floor:.1%}, which {who} chose: “{watched.plan.reason}”")
    return default_floor(watched)


def default_floor(watched: Watched) -> Floor:
    """The target or what was surely measured, whichever is more, in the mean score of single rows."""
    project, evaluation = watched.project, watched.evaluation
    target = project.target_value if project.target_metric in MEANS and 0 < project.target_value < 1 else None
    if evaluation is None:
        value = min(max(target or 0.5, 0.05), 0.99)
        return Floor(value, f"What serves was not evaluated, so the floor is {value:.1%}.")
    return floor_from(_measured(evaluation), target=target, name=score_name(project))


def score_name(project: Project) -> str:
    """What the mean of the scores of single rows is called."""
    if project.task_type in WHOLE:
        return "accuracy"
    return f"the mean {NAMES.get(project.target_metric, 'score')}"


def _measured(evaluation: Evaluation) -> Any:
    if evaluation.n_right is not None:
        return evaluation.measured.interval
    rows = read_predictions(evaluation)
    scores = np.array([row.row_score for row in rows])
    groups = np.unique([row.group for row in rows], return_inverse=True)[1]
    return bootstrap_interval(lambda chosen: float(scores[chosen].mean()), groups)


def is_binary(project: Project) -> bool:
    """Whether every score is right or wrong, so that the alarm's simulated threshold holds."""
    return project.task_type in WHOLE


def rule_of(watched: Watched, floor: float) -> AlarmRule:
    """The alarm's rule: the strictest of the numbers of labels that this watch was planned with."""
    plans = WatchPlan.objects.filter(project=watched.project, began_at=watched.plan.began_at)
    rules = [alarm_rule(floor=floor, n_per_look=n_uniform(plan), looks_a_year=looks_a_year(plan),
                        is_binary=is_binary(watched.project)) for plan in plans]
    return max(rules, key=lambda rule: rule.threshold)


@dataclass(frozen=True)
class DelayLine:
    """What so many labels a look bring: after how many looks half, and nine tenths, of such drops are seen."""

    labels: int
    n_uniform: int
    median: int | None
    p90: int | None
    is_planned: bool


@dataclass(frozen=True)
class Advice:
    """How soon a drop from `before` to `after` is seen. lines: by labels a look. needed: the fewest for a month."""

    before: float
    after: float
    floor: float
    period: str
    lines: list[DelayLine]
    needed: str
    words: str


def advice_of(*, floor: float, measured: float | None, labels: int, uniform_share: float, cadence: str,
              after: float | None = None) -> Advice | None:
    """Simulate how soon a drop would be seen; None where there is nothing that falls through the floor.

    measured: accuracy at the evaluation, None if unknown. after: accuracy after the drop, DROP below the floor if None.
    """
    looks = LOOKS_A_YEAR[cadence]  # type: ignore[index]
    before = round(max(measured or 0.0, floor), 3)
    after = round(max(floor - DROP, 0.01) if after is None else after, 3)
    if not 0 < after < floor <= before < 1:
        return None
    lines = []
    for n in sorted({*OPTIONS, labels}):
        n_random = math.ceil(n * uniform_share)
        median, p90 = _delay(round(floor, 3), n_random, looks, before, after)
        lines.append(DelayLine(n, n_random, median, p90, n == labels))
    mine = next(line for line in lines if line.is_planned)
    period = CADENCES[looks]
    within = {52: 4, 12: 2, 4: 1}[looks]
    needed = _needed(round(floor, 3), before, after, within, looks)
    words = (f"With {labels} labels a {period}, {mine.n_uniform} of them at random, " + (
        f"half of all drops from {before:.0%} to {after:.0%} are seen within {counted(mine.median, period)}"
        if mine.median else f"fewer than half of all drops from {before:.0%} to {after:.0%} are seen within a year")
        + (f", nine in ten within {counted(mine.p90, period)}." if mine.p90 else "."))
    at_random = needed.n_per_look
    share = "" if at_random is None or uniform_share >= 1 else (
        f" At {uniform_share:.0%} at random that is {math.ceil(at_random / uniform_share)} labels in all.")
    return Advice(before, after, floor, period, lines, needed.words + share, words)


@lru_cache(maxsize=512)
def _delay(floor: float, n: int, looks: int, before: float, after: float) -> tuple[int | None, int | None]:
    rule = alarm_rule(floor=floor, n_per_look=n, looks_a_year=looks)
    found = delay_of(rule, before=before, after=after, horizon=looks, quiet_looks=looks // 2, n_paths=500)
    return found.median, found.p90


@lru_cache(maxsize=128)
def _needed(floor: float, before: float, after: float, within: int, looks: int) -> LabelsNeeded:
    return labels_needed(floor=floor, before=before, after=after, within=within, looks_a_year=looks)
