"""What came of each arm of an A/B test: sums that the database makes, and what speaks of harm.

The last word on an answer counts, and all answers of a unit make one outcome in [0, 1]: their mean.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Avg, Case, Count, Exists, F, FloatField, OuterRef, QuerySet, Sum, Value, When
from django.db.models.functions import Greatest, Least

from serving.models import ArmName, Experiment, ExposedFeedback, Exposure
from stats.experiment import Arm
from stats.guardrails import Harm, harm_evidence

LOST_AFTER = timedelta(minutes=10)  # a first request that has left no row by then was not answered
ESCALATED_WITHIN = timedelta(hours=24)  # of a unit's first request; it counts when these are over
FAILED_MARGIN, SLOW_MARGIN = 0.01, 0.02  # how many more failed or slow answers are accepted, as a share of all
REFUSED_MARGIN, ESCALATED_MARGIN = 0.01, 0.01
COST_TIMES, COST_MARGIN = 4, 0.25  # costs count up to 4 times the champion's: a quarter more of that is twice as dear
FAILED_ALPHA, OTHER_ALPHA = 0.01, 0.005  # with four others 3 % at most: of stopping a challenger that does no harm


def arms_of(experiment: Experiment, *, now: datetime) -> tuple[Arm, Arm]:
    """Champion and challenger as they stand."""
    sums = {arm: _sums(experiment, arm, now) for arm in ArmName.values}
    exposed = dict(  # counted last: of whoever comes meanwhile the outcome is not among the sums
        Exposure.objects.filter(experiment=experiment).values_list("arm").annotate(n=Count("pk")).order_by())
    champion, challenger = (Arm(arm, exposed.get(arm, 0), *sums[arm]) for arm in ArmName.values)
    return champion, challenger


def _sums(experiment: Experiment, arm: str, now: datetime) -> tuple[int, float, float]:
    """How many units have an outcome, the sum of the outcomes, and that of their squares."""
    units = _corrections(experiment, arm, now) if experiment.outcome == Experiment.Outcome.correction_free else (
        _said(experiment, arm))
    sums: dict[str, Any] = units.aggregate(n=Count("value"), total=Sum("value"), squares=Sum(F("value") * F("value")))
    total = min(float(sums["total"] or 0), sums["n"])
    return sums["n"], total, min(float(sums["squares"] or 0), total)


def _said(experiment: Experiment, arm: str) -> QuerySet[Any]:
    """A row of every unit that said something: the mean of its last words."""
    is_thumb = experiment.outcome == Experiment.Outcome.thumb
    field = "feedback__thumb" if is_thumb else "feedback__outcome"
    told = ExposedFeedback.objects.exclude(**{field: ""}) if is_thumb else ExposedFeedback.objects.filter(
        **{f"{field}__isnull": False})
    later = told.filter(exposure=OuterRef("exposure"), feedback__exchange_name=OuterRef("feedback__exchange_name"),
                        feedback__gt=OuterRef("feedback"))
    value: Any = (Case(When(feedback__thumb="up", then=1.0), default=0.0, output_field=FloatField()) if is_thumb else
                  capped(field, experiment.cap))
    return told.filter(~Exists(later), exposure__experiment=experiment, exposure__arm=arm).values("exposure").annotate(
        value=Avg(value, output_field=FloatField())).order_by()


def capped(field: str, cap: float) -> Any:
    """A field's value as a share of the cap, in [0, 1], as the database computes it."""
    return Greatest(Least(F(field), Value(cap)), Value(0.0)) / Value(cap)


def _corrections(experiment: Experiment, arm: str, now: datetime) -> QuerySet[Any]:
    """A row of every unit that has had its time: 1 if nobody corrected an answer in it."""
    wait = timedelta(hours=experiment.wait_hours)
    corrected = ExposedFeedback.objects.filter(
        exposure=OuterRef("pk"), feedback__correction__isnull=False,
        feedback__created_at__lte=OuterRef("created_at") + wait)
    return Exposure.objects.filter(experiment=experiment, arm=arm, created_at__lte=now - wait).annotate(
        value=Case(When(Exists(corrected), then=0.0), default=1.0, output_field=FloatField()))


def harms_of(experiment: Experiment, *, now: datetime) -> list[Harm]:
    """Evidence of harm from the first request of every unit, in the order in which they came.

    Escalations count by unit: one within a day of its first request, whichever answer it names.
    """
    champion, challenger = _first_requests(experiment, now)
    found = [harm_evidence(name, champion[:, column], challenger[:, column], margin=margin, alpha=alpha)
             for column, (name, margin, alpha) in enumerate([
                 ("Failed requests", FAILED_MARGIN, FAILED_ALPHA),
                 ("Refused, empty or unreadable answers", REFUSED_MARGIN, OTHER_ALPHA),
                 (f"Answers that took longer than {experiment.slow_seconds:.2g} s", SLOW_MARGIN, OTHER_ALPHA)])]
    found.append(harm_evidence("Handed over to a person", *_escalations(experiment, now), margin=ESCALATED_MARGIN,
                               alpha=OTHER_ALPHA))
    if experiment.cost_cap is not None:
        found.append(harm_evidence(f"Cost of a request, of {experiment.cost_cap:.2g}", champion[:, 3], challenger[:, 3],
                                   margin=COST_MARGIN, alpha=OTHER_ALPHA))
    return found


def _escalations(experiment: Experiment, now: datetime) -> tuple[np.ndarray, np.ndarray]:
    """(n,) of each arm: whether a unit was handed over to a person within a day, of units whose day is over."""
    escalated = set(ExposedFeedback.objects.filter(
        exposure__experiment=experiment, feedback__is_escalated=True,
        feedback__created_at__lte=F("exposure__created_at") + ESCALATED_WITHIN).values_list("exposure", flat=True))
    sides: dict[str, list[bool]] = {arm: [] for arm in ArmName.values}
    rows = Exposure.objects.filter(experiment=experiment).order_by("pk").values_list("pk", "arm", "created_at")
    for pk, arm, at in rows.iterator(5000):
        if at > now - ESCALATED_WITHIN:
            break
        sides[arm].append(pk in escalated)
    champion, challenger = (np.array(sides[arm], dtype=float) for arm in ArmName.values)
    return champion, challenger


def _first_requests(experiment: Experiment, now: datetime) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) of each arm: whether it failed, said nothing, was slow, what it cost of the cap.

    The rows come behind the answers. They are read up to the first that may still come, so that none changes its place.
    """
    sides: dict[str, list[Sequence[float]]] = {arm: [] for arm in ArmName.values}
    answers_it = {ArmName.champion.value: experiment.champion_id, ArmName.challenger.value: experiment.challenger_id}
    rows = Exposure.objects.filter(experiment=experiment).order_by("pk").values_list(
        "arm", "created_at", "first__deployment", "first__is_answered", "first__is_readable", "first__seconds",
        "first__cost")
    for arm, at, deployment, is_answered, is_readable, seconds, cost in rows.iterator(5000):
        if deployment is None and at > now - LOST_AFTER:
            break
        failed = deployment != answers_it[arm] or not is_answered
        sides[arm].append((failed, not failed and not is_readable, (seconds or 0.0) > experiment.slow_seconds,
                           min((cost or 0.0) / (experiment.cost_cap or 1.0), 1.0)))
    champion, challenger = (np.array(sides[arm], dtype=float).reshape(-1, 4) for arm in ArmName.values)
    return champion, challenger
