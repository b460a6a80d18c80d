"""When to look again, and when to train again: proposals with their reasons, by calendar and by what happened."""

import calendar
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from typing import Literal

from stats.intervals import Interval

Cadence = Literal["weekly", "monthly", "quarterly"]
LOOKS_A_YEAR: dict[Cadence, int] = {"weekly": 52, "monthly": 12, "quarterly": 4}
RETRAIN_WEEKS = 13  # for slow decay the calendar is about as fast as the alarm
MUCH_NEW = 0.25  # of the rows that the model learned from: with as many new labels it is weighed whether training pays
WORTH = 0.01  # of accuracy: within a point two models count as equally good at the gate of promotion


@dataclass(frozen=True)
class Deployed:
    """What is known of the deployed model.

    n_gold: rows it was trained on. n_new: examples labelled since, or since a training was last declined. n_unscored:
    labelled examples that no scoring has seen. is_alarm, is_warning: of `stats.drop_alarm`. signals: names of the
    signals of `stats.shift` that warn. gain: in accuracy, by learning today's gold set instead of what was learned
    then; None where that was not weighed. n_new_gold: rows of that gold set that are new. can_weigh: whether it can be.
    why_not: why it could not be. has_declined: whether somebody declined a training since.
    """

    trained_on: date
    n_gold: int
    n_new: int
    n_unscored: int = 0
    is_alarm: bool = False
    is_warning: bool = False
    signals: tuple[str, ...] = ()
    gain: Interval | None = None
    n_new_gold: int = 0
    can_weigh: bool = True
    why_not: str = ""
    has_declined: bool = False

    @property
    def much(self) -> int:
        """From how many new labels on labels are scored, and it is weighed whether a training pays."""
        return math.ceil(MUCH_NEW * self.n_gold)

    @property
    def pays(self) -> bool:
        """Whether the gain is shown to be worth a training; after a refusal much has to be new, too."""
        return (self.gain is not None and self.gain.low >= WORTH
                and not (self.has_declined and self.n_new < self.much))


@dataclass(frozen=True)
class RetrainProposal:
    """is_due: whether a training is proposed now. due_on: when the calendar proposes the next one.

    reasons: sentences; why now, or why not yet. is_alarm: whether the alarm is among them. scores_now: whether so much
    is new that labels are scored, after which it is weighed whether a training pays. A person decides.
    """

    is_due: bool
    due_on: date
    reasons: tuple[str, ...]
    is_alarm: bool = False
    scores_now: bool = False


def propose_retraining(deployed: Deployed, today: date, *, weeks: int = RETRAIN_WEEKS) -> RetrainProposal:
    """Propose a training on an alarm, after `weeks` weeks, or where it is shown to gain at least a point of accuracy.

    Warnings alone propose labels, never a training; nor does a number of labels: it leads to a weighing. Source of the
    calendar: Vela et al. 2022, Temporal quality degradation in AI models, Scientific Reports 12 (91 % of 128 models got
    worse with time).
    Raises ValueError if today is before the training or a number is out of range.
    """
    if today < deployed.trained_on or weeks < 1 or deployed.n_gold < 1 or min(deployed.n_new, deployed.n_unscored) < 0:
        raise ValueError("today must not be before trained_on, weeks and n_gold at least 1 and n_new and n_unscored at "
                         f"least 0, got {today}, {deployed.trained_on}, {weeks}, {deployed.n_gold}, {deployed.n_new} "
                         f"and {deployed.n_unscored}")
    due_on = deployed.trained_on + timedelta(weeks=weeks)
    reasons = []
    if deployed.is_alarm:
        reasons.append("The alarm rang: accuracy is below the floor.")
    if today >= due_on:
        reasons.append(_calendar_words(deployed, (today - deployed.trained_on).days // 7, weeks))
    if deployed.pays and deployed.gain is not None:
        reasons.append(f"A training is likely to pay. {gain_words(deployed.gain, deployed.n_new_gold)}")
    scores_now = deployed.can_weigh and deployed.n_unscored >= deployed.much
    if reasons:
        return RetrainProposal(True, due_on, tuple(reasons), deployed.is_alarm, scores_now)
    still = [f"No alarm, and the schedule's day is {due_on:%d %B %Y}."]
    if deployed.gain is not None:
        still.append(f"{'That a training pays is not shown.' if deployed.gain.low < WORTH else 'It was declined.'} "
                     f"{gain_words(deployed.gain, deployed.n_new_gold)}")
    elif deployed.why_not:
        still.append(f"Whether a training pays could not be weighed: {deployed.why_not}")
    still.append(f"{deployed.n_unscored} examples were labelled since the last scoring; with {deployed.much} they are "
                 "scored by themselves, and after every scoring it is weighed whether a training pays."
                 if deployed.can_weigh else "Whether a training pays is weighed for one label per text only; here alarm"
                 f" and schedule propose. {deployed.n_new} examples were labelled since.")
    if deployed.is_warning or deployed.signals:
        what = ["accuracy may be falling"] * deployed.is_warning + [f"a change in {name}" for name in deployed.signals]
        still.append(f"Warnings ({', '.join(what)}) ask for labels, not for a training: label the proposed rows.")
    return RetrainProposal(False, due_on, tuple(still), scores_now=scores_now)


def _calendar_words(deployed: Deployed, age: int, weeks: int) -> str:
    new = (f"{deployed.n_new} examples were labelled since." if deployed.n_new else
           "But no example was labelled since, so a training would learn the same again: have requests labelled first.")
    return (f"The model was trained, or a training was last decided on, {age} weeks ago; the schedule is {weeks}. Slow "
            f"decay is found by the calendar about as soon as by the alarm. {new}")


def gain_words(gain: Interval, n_new: int) -> str:
    """What a quick model gains by learning today's gold set, n_new rows of which are new."""
    return (f"A quick model that learns today's gold set ({n_new} rows of it are new) gains "
            f"{100 * gain.estimate:+.1f} points on {gain.n} dev rows over one that learns the rows of then "
            f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f}); {100 * WORTH:.0f} point is asked for.")


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
