"""How fast people label, and when what is left will be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

AWAY_SECONDS = 3600.0  # a longer answer means that somebody was away from it
TRIMMED = 0.05  # of the times at either end are left out
MIN_TIMES = 10
MIN_DAYS = 3  # with answers, before a day is foretold
MAX_DAYS = 730
N_FUTURES = 400


def typical_seconds(seconds: Sequence[float]) -> float | None:
    """Return the median of the times, the shortest and longest twentieth left out; None from fewer than 10."""
    known = sorted(one for one in seconds if 0 < one <= AWAY_SECONDS)
    if len(known) < MIN_TIMES:
        return None
    cut = int(TRIMMED * len(known))
    return float(median(known[cut:len(known) - cut]))


@dataclass(frozen=True)
class Forecast:
    """In how many days, counted from now, all is done: the median and 10 to 90 % of what could come; ≤ MAX_DAYS."""

    days: int
    low: int
    high: int

    @property
    def is_beyond(self) -> bool:
        """Whether the end is further away than anybody can tell."""
        return self.high >= MAX_DAYS


def forecast(daily: Sequence[int], n_left: int, *, seed: int = 0) -> Forecast | None:
    """Return when n_left more answers will be there if days go on as they did; None where too few days tell.

    daily: answers of past whole days in a row, days off as 0; at least MIN_DAYS of them must have answers.
    Futures are made of past days drawn with replacement, so days off and slow days are in the range; a change of
    how many people label is not.
    """
    past = np.asarray(daily, dtype=float)
    if n_left <= 0 or np.count_nonzero(past) < MIN_DAYS:
        return None
    random = np.random.default_rng(seed)
    horizon = int(min(MAX_DAYS, 4 * n_left / past.mean() + 14))
    done = np.cumsum(random.choice(past, size=(N_FUTURES, horizon)), axis=1)
    days = np.where(done[:, -1] >= n_left, np.argmax(done >= n_left, axis=1) + 1, MAX_DAYS)
    low, middle, high = np.quantile(days, [0.1, 0.5, 0.9], method="inverted_cdf")
    return Forecast(int(middle), int(low), int(high))


def too_fast(seconds: Sequence[float], typical_of_others: float | None) -> tuple[int, float] | None:
    """Return how many answers came faster than anybody can read, and the seconds below which that is; None if unknown.

    typical_of_others: the median seconds of the others; a fifth of it, and at least half a second, is the limit.
    """
    if typical_of_others is None or not seconds:
        return None
    limit = max(0.5, typical_of_others / 5)
    return sum(one < limit for one in seconds), limit
