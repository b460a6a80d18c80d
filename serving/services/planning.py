"""What an A/B test is planned from: how often people give feedback, how good the champion is, how many come."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Avg, FloatField, OuterRef, Subquery
from django.utils import timezone

from projects.models import Project
from projects.wording import counted
from serving.models import Experiment, ExperimentEnd, Feedback, TrafficDay
from serving.services.exchanges import kept_since, traffic_of
from serving.services.live import times_of
from serving.services.outcomes import capped
from stats.experiment import Arm
from stats.intervals import Interval, wilson, wilson_of_share

DAYS = 30  # of feedback and traffic
WEEK = 7
DIFFERENCE = 0.05  # that matters, until somebody says another
SLOW_SECONDS = 5.0  # where no answer has been timed
ROUND = 0.001


@dataclass(frozen=True)
class Facts:
    """What is known about one outcome. None, and 0 a week, where nothing is.

    rate: the share of units that say something. base: the champion's mean. a_week: units, or requests where no test
    has counted units yet. source: in words, where it comes from.
    """

    rate: Interval | None
    base: Interval | None
    a_week: float
    has_units: bool
    slow_seconds: float
    source: str


def facts_for(project: Project, outcome: str, *, cap: float = 1.0, now: datetime | None = None) -> Facts:
    """Measure what a plan needs: in the last test with this outcome if there was one, else on the last 30 days."""
    now = now or timezone.now()
    times = times_of(project, since=now - timedelta(days=WEEK))
    slow = round(max(times.high, 0.1), 2) if times else SLOW_SECONDS
    found = _in_the_last_test(project, outcome, cap)
    if found is not None:
        arm, days, test = found
        return Facts(wilson(arm.n, arm.n_exposed), _of_arm(arm), arm.n_exposed / days * WEEK, True, slow,
                     f"Measured in {test}, on {counted(arm.n_exposed, 'unit')} that the champion answered.")
    traffic = list(TrafficDay.objects.filter(project=project, day__gte=kept_since(DAYS)))
    n_answered = traffic_of(traffic)["n_answered"]
    a_week = traffic_of(day for day in traffic if day.day >= kept_since(WEEK))["n_answered"]
    n, mean = _last_words(project, outcome, cap, now - timedelta(days=DAYS), n_answered)
    base = None if mean is None or not n else Interval(mean, *wilson_of_share(mean, n), n)
    rate = wilson(min(n, n_answered), n_answered) if n_answered else None
    return Facts(rate, base, a_week, False, slow, f"Measured on the {counted(n_answered, 'answer')} of the last "
                 f"{DAYS} days." if n_answered else "Nothing is measured yet: nobody has asked in the last "
                 f"{DAYS} days.")


def _in_the_last_test(project: Project, outcome: str, cap: float) -> tuple[Arm, float, Experiment] | None:
    """The champion's arm in the newest ended test with this outcome and cap, scaled to all units of its days."""
    ends = ExperimentEnd.objects.filter(experiment__project=project, experiment__outcome=outcome).select_related(
        "experiment").order_by("-pk")
    end = ends.filter(experiment__cap=cap).first() if outcome == Experiment.Outcome.value else ends.first()
    if end is None or not end.result["champion"]["n"] or end.result["days"] <= 0:
        return None
    arm = Arm(**end.result["champion"])
    return arm, end.result["days"] * (1 - end.experiment.share), end.experiment


def _of_arm(arm: Arm) -> Interval:
    return Interval(arm.mean, *wilson_of_share(arm.mean, arm.n), arm.n)


def _last_words(project: Project, outcome: str, cap: float, since: datetime,
                n_answered: int) -> tuple[int, float | None]:
    """On how many answers somebody said something, and the mean of what was said last."""
    said = Feedback.objects.filter(project=project, created_at__gte=since)
    if outcome == Experiment.Outcome.correction_free:
        n = said.filter(correction__isnull=False).values("exchange_name").distinct().count()
        return n_answered, (1 - min(n, n_answered) / n_answered) if n_answered else None
    said = said.exclude(thumb="") if outcome == Experiment.Outcome.thumb else said.filter(outcome__isnull=False)
    newest = said.filter(exchange_name=OuterRef("exchange_name")).order_by("-pk").values("pk")[:1]
    last = said.filter(pk=Subquery(newest))
    if outcome == Experiment.Outcome.thumb:
        n = last.count()
        return n, last.filter(thumb="up").count() / n if n else None
    mean: Any = last.aggregate(mean=Avg(capped("outcome", cap), output_field=FloatField()))["mean"]
    return last.count(), None if mean is None else float(np.clip(mean, 0, 1))


def prefilled(facts: Facts) -> dict[str, float]:
    """What the plan's form begins with, shares in per cent: what was measured, and a guess to be replaced elsewhere."""
    base = facts.base.estimate if facts.base else 0.8
    rate = facts.rate.estimate if facts.rate and facts.rate.estimate > 0 else 0.03
    difference = min(DIFFERENCE, (1 - base) / 2) if base > 0.5 else DIFFERENCE
    return {"base": _percent(min(max(base, 0.005), 0.99)), "difference": _percent(max(difference, 0.005)),
            "feedback_rate": _percent(rate), "units_a_week": max(1, round(facts.a_week)),
            "slow_seconds": facts.slow_seconds}


def _percent(share: float) -> float:
    return round(100 * round(share / ROUND) * ROUND, 1) or 0.1
