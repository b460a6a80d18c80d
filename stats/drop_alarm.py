"""Has the accuracy dropped below a floor? An alarm over weekly labelled samples that may be looked at for ever.

1. Every look (a week, a month, a quarter) brings the scores of a uniform random sample of what people labelled.
2. A gambler bets against “the mean score is at least the floor”. As nobody knows when a drop begins, a new gambler
   starts at every look, and their fortunes are added up: R_t = (1 + R_(t-1)) · L_t, for each of 24 bets; their mean is
   the evidence (an e-detector of the Shiryaev-Roberts kind).
3. The alarm rings where the evidence reaches a threshold: simulated so that it rings falsely in 5 % of years at an
   accuracy of exactly the floor, where scores are right or wrong; looks / alpha where they are anything in [0, 1].

Sources: Shin, Ramdas & Rinaldo 2024, E-detectors: a nonparametric framework for sequential change detection, New
England Journal of Statistics in Data Science 2; Podkopaev & Ramdas 2022, Tracking the risk of a deployed model and
detecting harmful distribution shifts, ICLR.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import scipy

from stats.betting import LARGEST_LOG, bets_against, log_growth, log_mean_exp
from stats.intervals import Interval, wilson

FALSE_ALARMS = 0.05  # a year, at an accuracy of exactly the floor
WARNING = 5.0  # a warning at this part of the alarm's threshold
CADENCES = {52: "week", 12: "month", 4: "quarter"}  # looks a year
THRESHOLDS = Path(__file__).with_name("data") / "alarm_thresholds.json"  # written by bench.calibrate_alarm
N_PATHS = 4000
N_OPTIONS = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500)  # labels a look that are proposed to people


@dataclass(frozen=True)
class AlarmRule:
    """floor: accuracy in (0, 1) below which it is a drop. n_per_look: labels planned for each look.

    threshold: evidence at which the alarm rings; what was labelled at a look may differ from the plan.
    """

    floor: float
    n_per_look: int
    looks_a_year: int
    threshold: float

    @property
    def warning(self) -> float:
        return self.threshold / WARNING

    @property
    def period(self) -> str:
        return CADENCES[self.looks_a_year]


@dataclass(frozen=True)
class Watch:
    """What the looks since the last deployment say.

    evidence: (t,) float >= 0 after each look. accuracy: of each look, with its Wilson interval if scores are right or
    wrong (else the mean with nan bounds). alarm_at, warning_at: the first look, from 0, at which the evidence reached
    the threshold, or a fifth of it; None if it did not. likely_since: the look at which the drop most likely began;
    chosen after the fact, so an interval of the looks from there on flatters the drop.
    """

    evidence: np.ndarray
    accuracy: tuple[Interval, ...]
    alarm_at: int | None
    warning_at: int | None
    likely_since: int | None
    words: str


@dataclass(frozen=True)
class Floor:
    value: float
    words: str


@dataclass(frozen=True)
class Delay:
    """How many looks after a drop begins the alarm rings, counting the first look behind the onset as 1.

    median, p90: looks; None if later than `horizon`. seen: share of drops seen within each number of looks, (horizon,)
    rising floats. accuracy_at_alarm: true accuracy when it rang, the median; nan if it never did.
    false_before: share of histories that rang before the drop began; they are left out of the rest.
    """

    median: int | None
    p90: int | None
    seen: np.ndarray
    accuracy_at_alarm: float
    false_before: float


@dataclass(frozen=True)
class LabelsNeeded:
    """n_per_look: the fewest labels a look of `N_OPTIONS` that are enough; None if none of them is."""

    n_per_look: int | None
    options: tuple[tuple[int, Delay], ...]
    words: str


def floor_for(target: float, n_right: int, n: int) -> Floor:
    """Return the floor that a project starts with: the target, or what was surely measured if that is more.

    target: accuracy in (0, 1). n_right of n: the evaluation of what is deployed, n >= 1; its lower 95 % Wilson bound is
    taken, as the estimate itself is too high in half of all cases.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return floor_from(wilson(n_right, n), target=target)


def floor_from(measured: Interval, *, target: float | None, name: str = "accuracy") -> Floor:
    """The same from a mean score with its interval, for scores of any kind.

    target: in (0, 1); None if it is of a metric that is no mean of scores, so that it cannot be a floor.
    name: what the score is called. The floor is kept within [0.05, 0.99], beyond which nothing can be seen.
    """
    if target is not None and not 0 < target < 1:
        raise ValueError(f"target must be in (0, 1), got {target}")
    if not 0 <= measured.low <= measured.high <= 1:
        raise ValueError(f"the measured interval must be in [0, 1], got {measured.low} to {measured.high}")
    value = min(max(target or 0.0, measured.low, 0.05), 0.99)
    why = f"your target, {target:.1%}" if target is not None and target >= measured.low else \
        f"what is sure about the measured {name} ({measured.estimate:.1%} of {measured.n}, at least {measured.low:.1%})"
    warning = "" if target is None or target <= measured.estimate else \
        f" The measured {name}, {measured.estimate:.1%}, is already below it, so the alarm will ring soon."
    return Floor(value, f"The alarm rings when {name} falls below {why}.{warning}")


def alarm_rule(*, floor: float, n_per_look: int, looks_a_year: int = 52, is_binary: bool = True) -> AlarmRule:
    """Return the rule that rings falsely in at most 5 % of years.

    looks_a_year: 52, 12 or 4. is_binary: every score is right (1) or wrong (0). The threshold then is read off the
    stored simulations (`bench.calibrate_alarm`), between their floors and sizes by interpolation. For other scores in
    [0, 1] and outside of the simulations it is looks / .05, which holds for any scores and rings falsely in about 1 %.
    """
    if not 0 < floor < 1 or n_per_look < 1 or looks_a_year not in CADENCES:
        raise ValueError("floor must be in (0, 1), n_per_look at least 1 and looks_a_year one of 52, 12 and 4, got "
                         f"{floor}, {n_per_look} and {looks_a_year}")
    threshold = _stored_threshold(floor, n_per_look, looks_a_year) if is_binary else None
    return AlarmRule(floor, n_per_look, looks_a_year, threshold or looks_a_year / FALSE_ALARMS)


def calibrated_thresholds(*, floor: float, n_per_look: int, n_paths: int, seed: int,
                          alpha: float = FALSE_ALARMS) -> dict[int, float]:
    """Return, for each cadence (looks a year), the evidence that a share of `alpha` of simulated years reaches.

    Every score is right with a chance of exactly the floor: above it alarms are rarer.
    """
    random = np.random.default_rng(seed)
    highest = np.concatenate([
        np.maximum.accumulate(log_evidence(random.binomial(n_per_look, floor, (size, max(CADENCES))),
                                           np.array(n_per_look), floor), axis=1)
        for size in _blocks(n_paths)])
    return {looks: float(np.exp(np.quantile(highest[:, looks - 1], 1 - alpha))) for looks in CADENCES}


def watch(looks: Sequence[np.ndarray], rule: AlarmRule) -> Watch:
    """Weigh the looks since the last deployment, oldest first.

    looks: of each the (n,) scores in [0, 1], bool or float, of its uniform random sample, in any order; targeted rows
    stay out. A look without labels changes nothing. Rows are taken as independent: one per customer or thread.
    """
    if not looks:
        return Watch(np.empty(0), (), None, None, None, "Nothing has been labelled since the deployment.")
    growth = np.array([log_growth(scores, rule.floor).sum(axis=0) for scores in looks])
    evidence = np.exp(np.minimum(_log_sums(growth, np.array([len(scores) > 0 for scores in looks])), LARGEST_LOG))
    alarm_at, warning_at = (_first(evidence >= level) for level in (rule.threshold, rule.warning))
    end = len(looks) if alarm_at is None else alarm_at + 1
    likely_since = _likely_since(growth[:end]) if warning_at is not None else None
    accuracy = tuple(_accuracy(np.asarray(scores, dtype=float)) for scores in looks)
    return Watch(evidence, accuracy, alarm_at, warning_at, likely_since,
                 _watch_words(looks, evidence, rule, alarm_at, warning_at, likely_since))


def log_evidence(n_right: np.ndarray, n: np.ndarray, floor: float) -> np.ndarray:
    """Return (…, t) logarithms of the evidence after each look, for any number of histories at once.

    n_right: (…, t) right answers of each look. n: (…, t), or what broadcasts to it: the labels of each look.
    """
    n = np.broadcast_to(n, n_right.shape)
    bets = bets_against(floor)
    growth = n_right[..., None] * np.log1p(-bets * (1 - floor)) + (n - n_right)[..., None] * np.log1p(bets * floor)
    return _log_sums(growth, n > 0)


def delay_of(rule: AlarmRule, *, before: float, after: float, gradual_looks: int = 0, quiet_looks: int = 26,
             horizon: int = 52, n_paths: int = N_PATHS, seed: int = 0) -> Delay:
    """Simulate how soon a drop from accuracy `before` to `after` is seen under the rule.

    gradual_looks: over how many looks it falls, in equal steps; 0 is at once. quiet_looks: how many come before it.
    Scores are right or wrong, `rule.n_per_look` of them at every look.
    Raises ValueError unless 0 <= after < before <= 1 and there is a look to see it at.
    """
    if not 0 <= after < before <= 1 or gradual_looks < 0 or quiet_looks < 0 or horizon < 1:
        raise ValueError("after must be below before, both in [0, 1], gradual_looks and quiet_looks not negative and "
                         f"horizon at least 1, got {before}, {after}, {gradual_looks}, {quiet_looks} and {horizon}")
    steps = np.minimum(np.arange(1, horizon + 1) / max(gradual_looks, 1), 1)
    accuracy = np.concatenate([np.full(quiet_looks, before), before + (after - before) * steps])
    random = np.random.default_rng(seed)
    rang_at = np.concatenate([
        _first_looks(log_evidence(random.binomial(rule.n_per_look, accuracy, (size, len(accuracy))),
                                  np.array(rule.n_per_look), rule.floor), math.log(rule.threshold))
        for size in _blocks(n_paths)])
    looks = rang_at[rang_at >= quiet_looks] - quiet_looks + 1
    seen = np.cumsum(np.bincount(looks, minlength=horizon + 2)[1:horizon + 1]) / max(len(looks), 1)
    rang = looks[looks <= horizon]
    at_alarm = float(np.median(accuracy[quiet_looks + rang - 1])) if len(rang) else float("nan")
    return Delay(_first(seen >= 0.5, 1), _first(seen >= 0.9, 1), seen, at_alarm,
                 float(np.mean(rang_at < quiet_looks)))


def labels_needed(*, floor: float, before: float, after: float, within: int, looks_a_year: int = 52,
                  gradual_looks: int = 0, chance: float = 0.8, seed: int = 0) -> LabelsNeeded:
    """Return what it takes to see a drop: the fewest labels a look that show it within so many looks.

    within: looks after the drop begins, >= 1; longer delays of the options are told as None. chance: with which it must
    be seen by then, in (0, 1). Tried are the options from the fewest labels up, to the first that is enough.
    Raises ValueError unless after < floor <= before: the drop must go below the floor.
    """
    if not after < floor <= before or within < 1 or not 0 < chance < 1:
        raise ValueError("after must be below the floor and before not, within at least 1 and chance in (0, 1), got "
                         f"{after}, {floor}, {before}, {within} and {chance}")
    options, needed = [], None
    for n in N_OPTIONS:
        rule = alarm_rule(floor=floor, n_per_look=n, looks_a_year=looks_a_year)
        delay = delay_of(rule, before=before, after=after, gradual_looks=gradual_looks, horizon=within,
                         quiet_looks=looks_a_year // 2, n_paths=1000, seed=seed)
        options.append((n, delay))
        if delay.seen[within - 1] >= chance:
            needed = n
            break
    period = CADENCES[looks_a_year]
    how = f"within {_plural(within, period)} with a chance of {chance:.0%}"
    drop = f"a drop from {before:.0%} to {after:.0%}" + (f" over {_plural(gradual_looks, period)}" if gradual_looks
                                                         else " at once")
    if needed is None:
        words = (f"To see {drop} {how}, even {N_OPTIONS[-1]} labels a {period} are not enough. Allow more time, or "
                 "train again by the calendar.")
    else:
        words = f"To see {drop} {how}, label {needed} a {period} at random."
    return LabelsNeeded(needed, tuple(options), words)


def labels_for_proof(*, floor: float, true: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Return how many labels, all at once, show with a chance of `power` on which side of the floor accuracy is.

    floor, true: accuracies in (0, 1) that differ; one-sided at `confidence`, by the normal approximation.
    Source: Fleiss, Levin & Paik 2003, Statistical Methods for Rates and Proportions, section 2.5.
    """
    if not (0 < floor < 1 and 0 < true < 1) or floor == true:
        raise ValueError(f"floor and true must be in (0, 1) and differ, got {floor} and {true}")
    spread = (scipy.stats.norm.ppf(confidence) * math.sqrt(floor * (1 - floor))
              + scipy.stats.norm.ppf(power) * math.sqrt(true * (1 - true)))
    return math.ceil((spread / (floor - true)) ** 2)


@cache
def _table() -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """The stored floors (f,), sizes (s,), and per cadence the logarithms of the thresholds (f, s)."""
    stored = json.loads(THRESHOLDS.read_text())
    return (np.array(stored["floors"]), np.array(stored["labels_per_look"]),
            {int(looks): np.log(values) for looks, values in stored["thresholds"].items()})


def _stored_threshold(floor: float, n_per_look: int, looks_a_year: int) -> float | None:
    floors, sizes, thresholds = _table()
    if not (floors[0] <= floor <= floors[-1] and sizes[0] <= n_per_look <= sizes[-1]):
        return None
    by_floor = [np.interp(math.log(n_per_look), np.log(sizes), row) for row in thresholds[looks_a_year]]
    return float(np.exp(np.interp(floor, floors, by_floor)))


def _log_sums(growth: np.ndarray, is_labelled: np.ndarray) -> np.ndarray:
    """Return (…, t): the evidence's logarithm, from the bets' growth (…, t, N_BETS) at each look."""
    sums = np.full((*growth.shape[:-2], growth.shape[-1]), -np.inf)
    logs = np.full(growth.shape[:-1], -np.inf)
    for t in range(growth.shape[-2]):
        grown = np.logaddexp(0, sums) + growth[..., t, :]
        sums = np.where(is_labelled[..., t, None], grown, sums)
        known = np.isfinite(sums[..., 0])
        logs[..., t] = np.where(known, log_mean_exp(np.where(known[..., None], sums, 0.0)), -np.inf)
    return logs


def _likely_since(growth: np.ndarray) -> int:
    """The look from which on the bets' mean growth is largest; of equal ones the first."""
    behind = np.cumsum(growth[::-1], axis=0)[::-1]
    return int(np.argmax(log_mean_exp(behind)))


def _first(where: np.ndarray, offset: int = 0) -> int | None:
    return int(np.argmax(where)) + offset if where.any() else None


def _first_looks(logs: np.ndarray, level: float) -> np.ndarray:
    """(k,) the first look of each history (k, t) at the level; t if there is none."""
    reached = logs >= level
    return np.where(reached.any(axis=1), reached.argmax(axis=1), logs.shape[1])


def _blocks(n_paths: int, size: int = 2000) -> list[int]:
    return [min(size, n_paths - start) for start in range(0, n_paths, size)]


def _accuracy(scores: np.ndarray) -> Interval:
    if np.all((scores == 0) | (scores == 1)):
        return wilson(int(scores.sum()), len(scores))
    return Interval(float(scores.mean()), float("nan"), float("nan"), len(scores))


def _watch_words(looks: Sequence[np.ndarray], evidence: np.ndarray, rule: AlarmRule, alarm_at: int | None,
                 warning_at: int | None, likely_since: int | None) -> str:
    n = sum(len(scores) for scores in looks)
    said = f"{n} labels of {_plural(len(looks), rule.period)}, floor {rule.floor:.1%}"
    if alarm_at is not None and likely_since is not None:
        since = np.concatenate([np.asarray(scores, dtype=float) for scores in looks[likely_since:alarm_at + 1]])
        return (f"Alarm in {rule.period} {alarm_at + 1}: accuracy is below the floor ({said}). Most likely since "
                f"{rule.period} {likely_since + 1}; of the {len(since)} labels from there on {since.mean():.1%} are "
                "right. Were accuracy at the floor, so strong a sign would come in at most 5 % of years.")
    level = f"evidence {evidence[-1]:.3g} of the {rule.threshold:.0f} that ring the alarm"
    if warning_at is not None and evidence[-1] >= rule.warning:
        return f"Warning: accuracy may be falling below the floor ({said}; {level}). Label more at random to know soon."
    return f"No sign that accuracy is below the floor ({said}; {level})."


def _plural(n: int, period: str) -> str:
    return f"{n} {period}{'' if n == 1 else 's'}"
