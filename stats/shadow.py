"""Two models answer the same requests, only one answer is shown: which is better, and how many requests tell.

This comes before an experiment on people, as it takes far fewer requests: five points more of right answers are seen on
469 requests where 15 % of the answers differ in rightness, but on 906 for each arm where people are split.
"""

import math
from dataclasses import dataclass

import scipy

from stats.intervals import Interval, wilson
from stats.paired import PairedComparison

LEVEL = 0.05


@dataclass(frozen=True)
class Preferences:
    """How often people, shown both answers blind, preferred the champion's, the challenger's, or neither.

    left: how often they preferred the one shown on the left; sides were drawn at random for each request.
    """

    champion: int
    challenger: int
    ties: int
    left: int


@dataclass(frozen=True)
class PreferenceResult:
    """win_rate: of the challenger where somebody preferred one, with its Wilson interval.

    p_value: of the two-sided exact sign test, ties left out. is_side_biased: people preferred a side whatever was on it
    (p < .01), which makes differences smaller, not larger, as sides are drawn.
    """

    win_rate: Interval
    p_value: float
    is_side_biased: bool
    words: str


def weigh_preferences(preferences: Preferences) -> PreferenceResult:
    """Return which answers people prefer.

    Raises ValueError for negative numbers or a `left` above the number of preferences.
    Source: Dixon & Mood 1946, The statistical sign test, JASA 41.
    """
    won, lost = preferences.challenger, preferences.champion
    n = won + lost
    if min(won, lost, preferences.ties, preferences.left) < 0 or preferences.left > n:
        raise ValueError(f"counts must be at least 0 and left at most champion + challenger, got {preferences}")
    rate = wilson(won, n)
    if n == 0:
        return PreferenceResult(rate, 1.0, False, "Nobody has preferred one of the answers yet.")
    p_value = float(scipy.stats.binomtest(won, n).pvalue)
    is_side_biased = float(scipy.stats.binomtest(preferences.left, n).pvalue) < 0.01
    shown = (f"The challenger's answer was preferred in {rate.estimate:.0%} of {n} cases ({rate.low:.0%} to "
             f"{rate.high:.0%}); {preferences.ties} were ties")
    words = (f"{shown}. It is {'better' if won > lost else 'worse'}." if p_value < LEVEL else
             f"{shown}. Not proven better or worse: a rate of {_visible_rate(n):.0%} would have been seen with a "
             "chance of 80 %.")
    if is_side_biased:
        words += (f" People chose the left side in {preferences.left / n:.0%} of cases, whatever stood there: remind "
                  "them to read both.")
    return PreferenceResult(rate, p_value, is_side_biased, words)


def shadow_words(compared: PairedComparison) -> str:
    """Say in a sentence what a comparison on the same requests (`stats.paired.compare_right_wrong`) shows."""
    change = compared.difference
    shown = (f"On {compared.n} requests the challenger is right {change.estimate:+.1%} more often ({change.low:+.1%} "
             f"to {change.high:+.1%}): it won {compared.n_won} and lost {compared.n_lost}")
    if change.low > 0 and compared.p_value < LEVEL:
        return f"{shown}. It is better."
    if change.high < 0 and compared.p_value < LEVEL:
        return f"{shown}. It is worse."
    discordance = (compared.n_won + compared.n_lost) / compared.n
    if discordance < 0.05:
        return f"{shown}. Not proven better or worse: the answers hardly ever differ, so there is little to be won."
    needed = shadow_size(difference=0.05, discordance=discordance)
    return f"{shown}. Not proven better or worse; five points would be seen with a chance of 80 % on {needed} requests."


@dataclass(frozen=True)
class ToJudge:
    """differing: the share of requests that the two answer differently. n_requests: how many show the difference with a
    chance of 80 %, None where it cannot be that large. n_judged: the differing ones among them, for people."""

    differing: Interval
    n_requests: int | None
    n_judged: int | None
    words: str


def to_judge(n: int, n_differing: int, *, difference: float = 0.05) -> ToJudge:
    """Return what a comparison on requests that both answered can show, from how many answers differ.

    Equal answers are right or wrong together, so only differing ones are judged, and neither model can be better by
    more than the share that differs; how many of these only one has right is not known yet, so all are assumed.
    Raises ValueError unless 0 <= n_differing <= n and difference is in (0, 1].
    """
    differing = wilson(n_differing, n)
    if n == 0:
        return ToJudge(differing, None, None, "No request was asked.")
    shown = (f"{n_differing} of {n} requests are answered differently ({differing.estimate:.1%}; {differing.low:.1%} "
             f"to {differing.high:.1%})")
    if differing.high < difference:
        return ToJudge(differing, None, None, f"{shown}. So neither can be better by {difference:.0%} of all requests: "
                       "users would hardly see which of the two answers.")
    needed = shadow_size(difference=difference, discordance=max(differing.estimate, difference))
    n_judged = math.ceil(needed * max(differing.estimate, difference))
    return ToJudge(differing, needed, n_judged, f"{shown}. To see {difference:.0%} with a chance of 80 %, people judge "
                   f"the differing answers of {needed:,} requests, about {n_judged:,}.")


def shadow_size(*, difference: float, discordance: float, power: float = 0.8, alpha: float = LEVEL) -> int:
    """Return how many requests, answered by both, show a difference in accuracy.

    difference: in (0, 1]. discordance: the share of requests that only one of the two answers rightly, at least the
    difference. Two-sided at alpha. Source: Connor 1987, Sample size for testing differences in proportions for the
    paired-sample design, Biometrics 43.
    """
    if not 0 < difference <= discordance <= 1:
        raise ValueError(f"0 < difference <= discordance <= 1 must hold, got {difference} and {discordance}")
    spread = (scipy.stats.norm.isf(alpha / 2) * math.sqrt(discordance)
              + scipy.stats.norm.ppf(power) * math.sqrt(discordance - difference**2))
    return math.ceil((spread / difference) ** 2)


def _visible_rate(n: int) -> float:
    """The rate that the sign test sees with a chance of 80 % on n cases, by the normal approximation."""
    reach = float(scipy.stats.norm.isf(LEVEL / 2)) + float(scipy.stats.norm.ppf(0.8))
    return min(1.0, 0.5 + reach / (2 * math.sqrt(n)))
