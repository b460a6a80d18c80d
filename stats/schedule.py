"""When to look again, and when to train again: proposals with their reasons, by calendar and by what happened."""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from typing import Literal

Cadence = Literal["weekly", "monthly", "quarterly"]
LOOKS_A_YEAR: dict[Cadence, int] = {"weekly": 52, "monthly": 12, "quarterly": 4}
RETRAIN_WEEKS = 13  # for slow decay the calendar is about as fast as the alarm
NEW_GOLD = 0.25  # of the gold rows that the model was trained on


@dataclass(frozen=True)
class Deployed:
    """What is known of the deployed model.

    n_gold: rows it was trained on. n_new_gold: gold rows settled since. is_alarm, is_warning: of `stats.drop_alarm`.
    signals: names of the signals of `stats.shift` that warn.
    """

    trained_on: date
    n_gold: int
    n_new_gold: int
    is_alarm: bool = False
    is_warning: bool = False
    signals: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetrainProposal:
    """is_due: whether a training is proposed now. due_on: when the calendar proposes the next one.

    reasons: sentences; why now, or why not yet. is_alarm: whether the alarm is among them. It is a proposal: the
    forecast says whether it pays, a person approves.
    """

    is_due: bool
    due_on: date
    reasons: tuple[str, ...]
    is_alarm: bool = False


def propose_retraining(deployed: Deployed, today: date, *, weeks: int = RETRAIN_WEEKS) -> RetrainProposal:
    """Propose a training on an alarm, after `weeks` weeks, or when a quarter as much gold as it learned from is new.

    Warnings alone propose labels, never a training. Source of the calendar: Vela et al. 2022, Temporal quality
    degradation in AI models, Scientific Reports 12 (91 % of 128 models got worse with time).
    Raises ValueError if today is before the training or a number is out of range.
    """
    if today < deployed.trained_on or weeks < 1 or deployed.n_gold < 1 or deployed.n_new_gold < 0:
        raise ValueError("today must not be before trained_on, weeks and n_gold at least 1 and n_new_gold at least 0, "
                         f"got {today}, {deployed.trained_on}, {weeks}, {deployed.n_gold} and {deployed.n_new_gold}")
    due_on = deployed.trained_on + timedelta(weeks=weeks)
    age = (today - deployed.trained_on).days // 7
    reasons = []
    if deployed.is_alarm:
        reasons.append("The alarm rang: accuracy is below the floor.")
    if today >= due_on:
        reasons.append(f"The model was trained {age} weeks ago; the schedule is {weeks}. Slow decay is found by the "
                       "calendar about as soon as by the alarm.")
    if deployed.n_new_gold >= NEW_GOLD * deployed.n_gold:
        reasons.append(f"{deployed.n_new_gold} gold examples are new, {deployed.n_new_gold / deployed.n_gold:.0%} of "
                       f"the {deployed.n_gold} the model learned from.")
    if reasons:
        return RetrainProposal(True, due_on, tuple(reasons), deployed.is_alarm)
    still = [f"No alarm, {deployed.n_new_gold} new gold examples of the {_quarter(deployed.n_gold)} that would be "
             f"enough, and the schedule's day is {due_on:%d %B %Y}."]
    if deployed.is_warning or deployed.signals:
        what = ["accuracy may be falling"] * deployed.is_warning + [f"a change in {name}" for name in deployed.signals]
        still.append(f"Warnings ({', '.join(what)}) ask for labels, not for a training: label the proposed rows.")
    return RetrainProposal(False, due_on, tuple(still))


def evaluation_days(first: date, cadence: Cadence) -> Iterator[date]:
    """Yield the days of the looks without end, `first` being one: every 7 days, or each month's or quarter's same day.

    Where a month is too short it is the month's last day; later months keep the first look's day.
    """
    if cadence == "weekly":
        yield from (first + timedelta(weeks=n) for n in count())
    months = {"monthly": 1, "quarterly": 3}[cadence]
    for n in count():
        year, month = divmod(first.year * 12 + first.month - 1 + n * months, 12)
        yield date(year, month + 1, min(first.day, calendar.monthrange(year, month + 1)[1]))


def _quarter(n_gold: int) -> int:
    return -int(-NEW_GOLD * n_gold // 1)
