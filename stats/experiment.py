"""A/B tests on people: how large, when to look, when to stop, and the result in words.

1. `size_experiment` says before the start how many requests it takes, from the share of requests that get feedback.
2. Units are assigned by `stats.assignment.arm_of`; exposures and outcomes are counted per arm.
3. `judge_experiment` may be asked at any time. First: did the units come as planned, and is anybody harmed? Then by the
   engine that was chosen before the start: planned looks (most power), or always-valid bands for those who stop when
   they please. The other engine's numbers may be shown, but do not decide.

Outcomes are in [0, 1], one per unit: a thumb, a rating over its maximum, a value over its cap.
Sources: `stats.group_sequential`; Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Time-uniform central limit theory
and asymptotic confidence sequences, Annals of Statistics 52; Jennison & Turnbull 1989, Interim analyses: the repeated
confidence interval approach, JRSS B 51; Jennison & Turnbull 2000, Group Sequential Methods, 4.4 (Student's t at each
look); Fleiss, Levin & Paik 2003, Statistical Methods for Rates and Proportions (size).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import scipy

from stats.assignment import SampleRatio, sample_ratio
from stats.group_sequential import bounds, inflation
from stats.guardrails import Harm
from stats.intervals import Interval

Engine = Literal["planned looks", "always valid"]
Outcome = Literal["INVALID", "HARM", "CONTINUE", "SHIP", "SHIP_AS_GOOD", "KEEP", "NOT_PROVEN", "AA_PASSED", "AA_FAILED"]

MIN_UNITS = 50  # in each arm, before any band or look
MIN_DAYS, MAX_DAYS = 7, 56
MIN_STEP = 0.01  # of the information between two looks
RESPONSE_LEVEL = 0.001


@dataclass(frozen=True)
class Arm:
    """What came of one arm, as sums that a database makes.

    n_exposed: units that were shown this arm, of which n have an outcome in [0, 1]; total and total_of_squares: the
    sums of the outcomes and of their squares (equal where outcomes are 0 or 1).
    """

    name: str
    n_exposed: int
    n: int
    total: float
    total_of_squares: float

    def __post_init__(self) -> None:
        if not (0 <= self.total_of_squares <= self.total + 1e-9 <= self.n + 2e-9 and self.n <= self.n_exposed):
            raise ValueError("0 <= total_of_squares <= total <= n <= n_exposed must hold (outcomes in [0, 1]), got "
                             f"{self.total_of_squares}, {self.total}, {self.n} and {self.n_exposed}")

    @property
    def mean(self) -> float:
        return self.total / self.n if self.n else float("nan")

    @property
    def variance(self) -> float:
        """Of one outcome, with one outcome of 0 and one of 1 that were never seen: else rare events look certain."""
        n, total, squares = self.n + 2, self.total + 1, self.total_of_squares + 1
        return max(squares - total**2 / n, 0.0) / (n - 1)


@dataclass(frozen=True)
class Plan:
    """What was decided before the start, never to be changed after it.

    n_max: units with an outcome per arm at which it ends; with unequal arms the harmonic mean of both counts.
    challenger_share: of the units, in (0, 1). margin: by how much worse a cheaper challenger may be. is_aa: both arms
    are the same, to try the machinery. engine: what decides.
    """

    n_max: int
    challenger_share: float = 0.5
    engine: Engine = "planned looks"
    n_looks: int = 5
    alpha: float = 0.05
    margin: float = 0.01
    is_cheaper: bool = False
    is_aa: bool = False
    min_days: int = MIN_DAYS
    max_days: int = MAX_DAYS

    def __post_init__(self) -> None:
        if self.n_max < 2 * MIN_UNITS or not 1 <= self.n_looks <= 20:
            raise ValueError(f"n_max must be at least {2 * MIN_UNITS} and n_looks 1 to 20, got {self.n_max} and "
                             f"{self.n_looks}")
        if not (0 < self.challenger_share < 1 and 0 < self.alpha < 1 and 0 <= self.margin < 1):
            raise ValueError("challenger_share and alpha must be in (0, 1) and margin in [0, 1), got "
                             f"{self.challenger_share}, {self.alpha} and {self.margin}")
        if not 0 <= self.min_days <= self.max_days:
            raise ValueError(f"min_days must be at most max_days, got {self.min_days} and {self.max_days}")


@dataclass(frozen=True)
class Look:
    """A look that counts: store it when `judge_experiment` returns it, and hand all of them in the next time.

    fraction: of the planned information, above 0. z: of the difference; it crosses at |z| >= bound. interval: the
    difference, challenger minus champion, with its repeated confidence interval: right at all looks together.
    """

    number: int
    fraction: float
    z: float
    bound: float
    interval: Interval

    @property
    def size(self) -> float:
        return abs(self.z)

    @property
    def is_crossed(self) -> bool:
        return self.size >= self.bound


@dataclass(frozen=True)
class Verdict:
    """outcome: what to do. look: to be stored if it is not None. band: the always-valid interval of the difference,
    None before there are enough units; shown at any time, it decides only where the plan says so."""

    outcome: Outcome
    words: tuple[str, ...]
    look: Look | None
    band: Interval | None
    ratio: SampleRatio


@dataclass(frozen=True)
class Need:
    """With `n` outcomes per arm (harmonic mean) a difference of at least `difference`, either way, decides."""

    n: float
    difference: float


@dataclass(frozen=True)
class Size:
    """n_rated: units with an outcome per arm at the end, with `n_looks` planned looks. n_units: units in all, in both
    arms, rated or not. weeks: until they have come. fits: whether that is within 8 weeks."""

    n_rated: int
    n_units: int
    weeks: float
    fits: bool
    words: str


def size_experiment(*, base: float, difference: float, feedback_rate: float, units_a_week: float,
                    challenger_share: float = 0.5, power: float = 0.8, alpha: float = 0.05, n_looks: int = 5) -> Size:
    """Return how large an experiment has to be to see a difference in a share.

    base: the champion's share of good outcomes, in (0, 1). difference: the smallest that matters, not 0; base +
    difference in (0, 1). feedback_rate: in (0, 1], the share of units that give an outcome at all; it is asked, as with
    thumbs it is a few per cent and decides everything. units_a_week: users or threads, above 0.
    """
    goal = base + difference
    if not (0 < base < 1 and 0 < goal < 1) or goal == base:
        raise ValueError(f"base and base + difference must be in (0, 1) and differ, got {base} and {goal}")
    if not (0 < feedback_rate <= 1 and units_a_week > 0 and 0 < challenger_share < 1 and 0 < power < 1):
        raise ValueError("feedback_rate must be in (0, 1], units_a_week above 0, challenger_share and power in (0, 1), "
                         f"got {feedback_rate}, {units_a_week}, {challenger_share} and {power}")
    n_rated = math.ceil(_one_look(base, goal, power, alpha) * inflation(power, n_looks, alpha))
    share_used = 2 * challenger_share * (1 - challenger_share)  # harmonic mean per arm over all units; 1/2 if equal
    n_units = math.ceil(n_rated / share_used / feedback_rate)
    weeks = n_units / units_a_week
    fits = weeks <= MAX_DAYS / 7
    words = (f"To see {base:.0%} become {goal:.0%} with a chance of {power:.0%}: {n_rated:,} outcomes in each arm. As "
             f"{feedback_rate:.1%} of units give one, that is {n_units:,} units in all, {weeks:.1f} weeks.")
    if challenger_share != 0.5:
        words += " With unequal arms the outcomes are their harmonic mean."
    if not fits:
        words += (" That is more than 8 weeks, and people and texts change meanwhile. Compare both on the same "
                  "requests first (a shadow takes hundreds of answers), ask more people for feedback, or look for a "
                  "larger difference.")
    return Size(n_rated, n_units, weeks, fits, words)


def always_valid_interval(champion: Arm, challenger: Arm, *, n_max: int, alpha: float = 0.05) -> Interval | None:
    """Return the difference of the means with a band that may be looked at any time; None below 50 units in an arm.

    The chance that the band ever leaves the truth out, from 50 units an arm on, is about alpha: it is asymptotic, so
    measured (bench.live), not proven. It is narrowest near a third of n_max. `n` is the harmonic mean of the arms.
    """
    if min(champion.n, challenger.n) < MIN_UNITS:
        return None
    difference, error, n = _difference(champion, challenger)
    width = _band_width(n, n_max, alpha)
    return Interval(difference, max(-1.0, difference - width * error), min(1.0, difference + width * error), round(n),
                    1 - alpha)


def differences_needed(plan: Plan, champion: Arm, challenger: Arm, *, past: Sequence[Look] = ()) -> tuple[Need, ...]:
    """Return which difference would decide, look by look or along the band, by rising n; () below 50 units in an arm.

    For a picture of what is still open: past looks are as they were, later ones are foretold from the outcomes' present
    spread, at the planned fractions.
    """
    if min(champion.n, challenger.n) < MIN_UNITS:
        return ()
    _, error, n_now = _difference(champion, challenger)
    spread = error * math.sqrt(n_now)
    if plan.engine == "always valid":
        sizes = [MIN_UNITS * (max(plan.n_max, n_now) / MIN_UNITS) ** (k / 40) for k in range(41)]
        return tuple(Need(n, min(1.0, _band_width(n, plan.n_max, plan.alpha) * spread / math.sqrt(n))) for n in sizes)
    fractions = [look.fraction for look in past]
    while not fractions or fractions[-1] < 1 - 1e-9:
        before = fractions[-1] if fractions else 0.0
        fractions.append(max(_next_fraction(plan, before), before + MIN_STEP))
    levels = [_in_student(level, fraction * plan.n_max)
              for level, fraction in zip(bounds(fractions, alpha=plan.alpha), fractions, strict=True)]
    levels[:len(past)] = [look.bound for look in past]
    errors = [abs(look.interval.estimate / look.z) if look.z else spread / math.sqrt(look.fraction * plan.n_max)
              for look in past]
    errors += [spread / math.sqrt(fraction * plan.n_max) for fraction in fractions[len(past):]]
    return tuple(Need(fraction * plan.n_max, min(1.0, level * error))
                 for fraction, level, error in zip(fractions, levels, errors, strict=True))


def judge_experiment(plan: Plan, champion: Arm, challenger: Arm, *, days: float, past: Sequence[Look] = (),
                     harms: Sequence[Harm] = ()) -> Verdict:
    """Say what an experiment shows after so many days.

    past: the looks that earlier calls returned, in order; none of them may have ended the experiment. harms: the
    guardrails' evidence so far. Whoever asks more often than looks are due is told to wait, which costs nothing.
    Raises ValueError if a past look has crossed or was the last, or both arms have one name.
    """
    if champion.name == challenger.name:
        raise ValueError(f"the arms need two names, both are {champion.name}")
    if any(look.is_crossed or look.fraction >= 1 for look in past):
        raise ValueError(f"the experiment ended at look {past[-1].number}; start a new one instead of looking on")
    shares = {champion.name: 1 - plan.challenger_share, challenger.name: plan.challenger_share}
    ratio = sample_ratio({arm.name: arm.n_exposed for arm in (champion, challenger)}, shares)
    band = always_valid_interval(champion, challenger, n_max=plan.n_max, alpha=plan.alpha)
    if ratio.is_wrong:
        return Verdict("INVALID", (ratio.words,), None, band, ratio)
    harmful = tuple(harm.words for harm in harms if harm.is_harm)
    if harmful:
        return Verdict("HARM", harmful, None, band, ratio)
    notes = _response_note(champion, challenger)
    is_over = days >= plan.max_days
    if days < plan.min_days or band is None:
        missing = (f"nothing is decided before day {plan.min_days}" if days < plan.min_days else
                   f"there are {champion.n} and {challenger.n} outcomes, at least {MIN_UNITS} in each arm are needed")
        outcome: Outcome = "NOT_PROVEN" if is_over else "CONTINUE"
        return Verdict(outcome, (f"{'Ended' if is_over else 'Go on'}: {missing}.", *notes), None, band, ratio)
    if plan.engine == "always valid":
        return _verdict(plan, band, is_over or band.n >= plan.n_max, None, band, ratio, notes,
                        f"at {band.n} of {plan.n_max} outcomes per arm")
    look = _due_look(plan, champion, challenger, past, is_over)
    if look is None and is_over:
        words = f"Ended after {days:.0f} days; hardly an outcome came since look {len(past)}. Not proven either way."
        return Verdict("NOT_PROVEN", (words, *notes), None, band, ratio)
    if look is None:
        due = _next_fraction(plan, past[-1].fraction if past else 0.0) * plan.n_max
        words = (f"Go on: {len(past)} of {plan.n_looks} planned looks are done, the next is due at {due:.0f} outcomes "
                 f"per arm; there are {band.n}.")
        return Verdict("CONTINUE", (words, *notes), None, band, ratio)
    return _verdict(plan, look.interval, look.fraction >= 1 or is_over, look, band, ratio, notes,
                    f"look {look.number}, at {look.interval.n} outcomes per arm")


def _verdict(plan: Plan, interval: Interval, is_end: bool, look: Look | None, band: Interval, ratio: SampleRatio,
             notes: tuple[str, ...], basis: str) -> Verdict:
    by = "higher" if interval.estimate >= 0 else "lower"
    shown = (f"The challenger's outcome is {100 * abs(interval.estimate):.1f} points {by} ({100 * interval.low:+.1f} "
             f"to {100 * interval.high:+.1f}; {basis})")
    if plan.is_aa:
        outcome, said = _aa_result(interval, is_end)
    elif interval.low > 0:
        outcome, said = "SHIP", "It is better: ship it."
    elif interval.high < 0:
        outcome, said = "KEEP", "It is worse: keep the champion."
    elif not is_end:
        outcome, said = "CONTINUE", "Open so far: go on."
    elif plan.is_cheaper and interval.low > -plan.margin:
        outcome, said = "SHIP_AS_GOOD", f"It is at most {plan.margin:.1%} worse and cheaper: ship it."
    else:
        outcome, said = "NOT_PROVEN", "Not proven better or worse: keep the champion."
    return Verdict(outcome, (f"{shown}. {said}", *notes), look, band, ratio)


def _aa_result(interval: Interval, is_end: bool) -> tuple[Outcome, str]:
    if interval.low > 0 or interval.high < 0:
        return "AA_FAILED", ("Both arms are the same, so the machinery finds what is not there: look at how outcomes "
                             "are logged before comparing anything.")
    if is_end:
        return "AA_PASSED", "No difference was found, as it should be: the machinery may be trusted."
    return "CONTINUE", "No difference yet, as it should be: go on."


def _due_look(plan: Plan, champion: Arm, challenger: Arm, past: Sequence[Look], is_over: bool) -> Look | None:
    difference, error, n = _difference(champion, challenger)
    fraction, before = n / plan.n_max, past[-1].fraction if past else 0.0
    if fraction < before + MIN_STEP or not (is_over or fraction >= _next_fraction(plan, before) - 1e-9):
        return None
    fractions = [*(look.fraction for look in past), fraction]
    bound = _in_student(bounds(fractions, alpha=plan.alpha, is_last=is_over)[-1], n)
    z = difference / error
    interval = Interval(difference, max(-1.0, difference - bound * error), min(1.0, difference + bound * error),
                        round(n), 1 - plan.alpha)
    return Look(len(past) + 1, fraction, z, bound, interval)


def _in_student(bound: float, n: float) -> float:
    """The bound on |z| with as much beyond it, where the spread was estimated from n outcomes in each arm."""
    return float(scipy.stats.t.isf(scipy.stats.norm.sf(bound), 2 * n - 2))


def _next_fraction(plan: Plan, before: float) -> float:
    """The first planned fraction above that of the last look, 0 where there was none."""
    return min(1.0, (math.floor(before * plan.n_looks + 1e-9) + 1) / plan.n_looks)


def _difference(champion: Arm, challenger: Arm) -> tuple[float, float, float]:
    """The difference of the means, its standard error, and the harmonic mean of the arms' sizes."""
    error = math.sqrt(champion.variance / champion.n + challenger.variance / challenger.n)
    return challenger.mean - champion.mean, error, 2 / (1 / champion.n + 1 / challenger.n)


def _band_width(n: float, n_max: int, alpha: float) -> float:
    """Half of the always-valid band, in standard errors."""
    log_term = -2 * math.log(alpha)
    rho2 = (log_term + math.log(1 + log_term)) / max(n_max / 3, 1)
    return math.sqrt(2 * (n * rho2 + 1) / (n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))


def _response_note(champion: Arm, challenger: Arm) -> tuple[str, ...]:
    table = [[arm.n, arm.n_exposed - arm.n] for arm in (champion, challenger)]
    if any(sum(counts) == 0 for counts in (*table, *zip(*table, strict=True))):
        return ()
    if float(scipy.stats.chi2_contingency(table, correction=False).pvalue) >= RESPONSE_LEVEL:
        return ()
    return (f"People answer more often in one arm ({champion.n / champion.n_exposed:.1%} of the champion's units, "
            f"{challenger.n / challenger.n_exposed:.1%} of the challenger's): those who answer may not be alike, so "
            "take the difference with care.",)


def _one_look(base: float, goal: float, power: float, alpha: float) -> float:
    """Units per arm of two equal arms for one two-sided test at the end, not rounded."""
    middle = (base + goal) / 2
    spread = (scipy.stats.norm.isf(alpha / 2) * math.sqrt(2 * middle * (1 - middle))
              + scipy.stats.norm.ppf(power) * math.sqrt(base * (1 - base) + goal * (1 - goal)))
    return float((spread / (goal - base)) ** 2)
