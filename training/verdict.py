"""Verdicts in words: is the prompt good enough, was fine-tuning worth it, may the adapter be promoted.

Gates use one-sided 95 % bounds, said as “at least” and “at most”; the intervals on the pages are two-sided.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stats.paired import PairedComparison, PairedScores
from training.metrics import Measured

Outcome = Literal["PROMPT_OK", "FINE_TUNE", "INCONCLUSIVE"]

CHAMPION_MARGIN = 0.01  # an adapter may be worse than prompt and champion by at most this, so that ties can be promoted
UNAFFORDABLE = 5_000  # more labels than this are not proposed to anybody
Z_ONE_SIDED, Z_POWER = 1.6449, 0.8416  # 95 % one-sided, 80 % power
TREND_ONLY = ("ROUGE-L says how alike the wording is, not whether an answer is good: let people compare answers before "
              "you rely on it.")


@dataclass(frozen=True)
class GateResult:
    """Whether the best prompt meets the target; `lower` and `upper` are the one-sided 95 % bounds it was judged by."""

    outcome: Outcome
    lower: float
    upper: float
    words: str
    next_step: str


def gate(prompt: Measured, target: float) -> GateResult:
    """Judge the best prompt's metric on held-out examples against a target in (0, 1).

    PROMPT_OK if the lower bound reaches the target, FINE_TUNE if the upper bound stays below it.
    Raises ValueError if there are no examples or the target is not in (0, 1).
    """
    if prompt.n < 1:
        raise ValueError(f"n must be at least 1, got {prompt.n}")
    _check_target(target)
    lower, upper = prompt.lower, prompt.upper
    share = _share_sentence(prompt)
    goal = f"your target of {_target(target)}"
    trend = f" {TREND_ONLY}" if prompt.metric == "rouge_l" else ""
    if lower >= target:
        return GateResult("PROMPT_OK", lower, upper, f"{share}, at least {_at_least(lower)}: it meets {goal}.{trend}",
                          "Use the prompt. Fine-tuning would cost and has little left to win.")
    if upper < target:
        return GateResult("FINE_TUNE", lower, upper,
                          f"{share} and cannot reach {goal} (at most {_at_most(upper)}).{trend}",
                          "Train a LoRA adapter and compare it with the prompt on the same examples.")
    return GateResult("INCONCLUSIVE", lower, upper,
                      f"{share}. That is at least {_at_least(lower)} and at most {_at_most(upper)}, so it is open "
                      f"whether it meets {goal}.{trend}", _settling_step(prompt, target))


def _share_sentence(prompt: Measured) -> str:
    if prompt.metric == "accuracy":
        return f"The best prompt gets {percent(prompt.value)} of {prompt.n:,} held-out examples right"
    return f"The best prompt has {_named(prompt)} on {prompt.n:,} held-out examples"


def _named(measured: Measured) -> str:
    """“a field F1 of 72.1 %”."""
    return f"a {measured.name} of {percent(measured.value)}"


def examples_to_settle(share: float, target: float) -> float:
    """How many examples tell `share` from `target` by a one-sided 95 % bound in 80 % of cases; infinite if equal.

    Source: the normal sample size of a one-sided test of one proportion, Fleiss, Levin & Paik 2003, chapter 2.
    """
    if share == target:
        return math.inf
    spread = Z_ONE_SIDED * math.sqrt(target * (1 - target)) + Z_POWER * math.sqrt(share * (1 - share))
    return math.ceil((spread / (share - target)) ** 2)


def n_to_settle(measured: Measured, target: float) -> float:
    """How many examples settle whether a metric reaches the target, as `examples_to_settle` counts them.

    For a metric that is no share the spread of its bounds is taken to shrink with the root of the examples' number.
    """
    if measured.n_right is not None:
        return examples_to_settle(measured.value, target)
    if measured.value == target:
        return math.inf
    spread = (measured.upper - measured.lower) / 2 * (1 + Z_POWER / Z_ONE_SIDED)
    return math.ceil(measured.n * (spread / (measured.value - target)) ** 2)


def compare_words(prompt: Measured, adapter: Measured, probe: Measured | None,
                  comparison: PairedComparison | PairedScores, target: float, *,
                  who: str = "The LoRA adapter") -> tuple[str, str]:
    """Headline and paragraph: is the adapter worth it, on the examples that prompt and adapter both answered?

    comparison: the prompt first, the adapter second. who: what the adapter is called.
    The headline says yes or no only where the interval of the difference excludes 0.
    """
    _check_target(target)
    difference = comparison.difference
    sentences = [_prompt_sentence(prompt, target), _adapter_sentence(who, adapter, comparison)]
    if difference.low > 0:
        answer = f"Yes, by {_whole_points(difference.estimate)}."
    elif difference.high < 0:
        answer = f"No, it is worse by {_whole_points(-difference.estimate)}."
    else:
        answer = "Not proven better than the prompt."
    sentences.append(f"The difference is {signed(difference.estimate)} points, between {signed(difference.low)} and "
                     f"{signed(difference.high)} (95 % interval).")
    sentences.append(_target_sentence(adapter, target))
    if probe is not None:
        sentences.append(_probe_sentence(probe, adapter))
    return f"Is fine-tuning worth it? {answer}", " ".join(sentence for sentence in sentences if sentence)


@dataclass(frozen=True)
class Forgetting:
    """How many of n general questions base model and adapter answer right; p_value: one-sided, that none are lost."""

    n: int
    n_base: int
    n_adapter: int
    p_value: float

    @property
    def is_clear(self) -> bool:
        return self.p_value < 0.05

    @property
    def words(self) -> str:
        said = f"Of {self.n} general questions the base model answers {self.n_base} and the adapter {self.n_adapter}"
        return f"{said}: it has clearly forgotten some ({p_words(self.p_value)})." if self.is_clear else \
            f"{said}: no clear loss."


def promotion_gate(rivals: Sequence[tuple[str, float]], *, mine: Measured, target: float,
                   slices: Sequence[str] | None = None, worse: Sequence[str] = (),
                   forgetting: Forgetting | None = None, has_weights: bool = True,
                   win: str = "") -> tuple[bool, list[str]]:
    """Whether an adapter or a prompt may become champion, and every reason for or against it.

    rivals: by name the one-sided 95 % lower bound of the metric's difference, it minus the rival, in [-1, 1]: the best
    prompt and the champion, as far as it is neither itself.
    slices: the critical slices that were looked at, None where nobody looked; worse: sentences on those where it is
    shown to be worse. forgetting: None where it has not been checked. has_weights: no for a prompt, which changes none
    and so can forget nothing. win: how often its answers win against the best prompt's, told where answers are free
    text; "" where too few pairs are judged.
    It may not be worse than a rival by more than a point, not be worse on a critical slice, and not have clearly
    forgotten general answers. The target is told, and does not block.
    """
    holds, reasons = True, []
    for name, bound in rivals:
        holds &= bound > -CHAMPION_MARGIN
        reasons.append(_rival_sentence(name, bound))
    reasons += worse
    if slices is not None and not worse:
        reasons.append(f"On none of the {len(slices)} critical parts of the test rows is it shown to be worse."
                       if slices else "No critical part of the test rows has the 30 rows that it takes to tell whether "
                       "it is worse there.")
    if slices is not None and has_weights:
        reasons.append(forgetting.words if forgetting else "Whether it has forgotten general answers has not been "
                       "checked yet.")
    lower, upper = mine.lower, mine.upper
    if lower >= target:
        reasons.append(f"It reaches the target of {_target(target)}: at least {_at_least(lower)}.")
    else:
        shown = "cannot reach" if upper < target else "is not shown to reach"
        reasons.append(f"It {shown} the target of {_target(target)}: {percent(mine.value)}, at most "
                       f"{_at_most(upper)}. This does not block the promotion.")
    if mine.metric == "rouge_l":
        reasons.append(f"{win} This does not decide: what is above is by ROUGE-L, a trend." if win else TREND_ONLY)
    return holds and not worse and not (forgetting and forgetting.is_clear), reasons


def _rival_sentence(name: str, bound: float) -> str:
    if bound > 0:
        return f"It is better than the {name} by at least {_points(bound)}."
    if bound > -CHAMPION_MARGIN:
        return (f"It is not worse than the {name} by more than {_points(CHAMPION_MARGIN)}, and not shown to be better.")
    return (f"It may be worse than the {name} by {_points(-bound)}, more than the {_points(CHAMPION_MARGIN)} allowed.")


def worse_sentence(title: str, rival: str, n: int, difference: float, p_value: float) -> str:
    """That the adapter is worse than a rival on a slice of n rows: difference in [-1, 0), p-value after Holm."""
    return (f"{title}: it is worse than {rival} by {_points(-difference)} on {n:,} rows ({p_words(p_value)} after "
            "correction for the number of parts).")


def p_words(p: float) -> str:
    """“p < 0.001”, “p = 0.004”, “p = 0.31”."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"


def percent(share: float) -> str:
    """A share with one decimal, as the pages write it: 0.796 is “79.6 %”."""
    return f"{100 * share:.1f} %"


def _target(target: float) -> str:
    return f"{round(100 * target, 1):g} %"


def _at_least(bound: float) -> str:
    """Rounded down, so that no rounding makes a bound reach what it does not."""
    return percent(math.floor(1000 * bound + 1e-9) / 1000)


def _at_most(bound: float) -> str:
    return percent(math.ceil(1000 * bound - 1e-9) / 1000)


def _points(difference: float) -> str:
    """A difference in points with one decimal, rounded down."""
    return _plural(f"{math.floor(1000 * difference + 1e-9) / 10:g}")


def _whole_points(difference: float) -> str:
    points = 100 * difference
    return _plural(f"{math.floor(points + 0.5)}" if points >= 1.5 else f"{points:.1f}".removesuffix(".0"))


def _plural(number: str) -> str:
    return f"{number} point" if number == "1" else f"{number} points"


def signed(difference: float) -> str:
    """A difference in points with its sign and one decimal: “+4.0”, “−12.5”."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def _settling_step(prompt: Measured, target: float) -> str:
    needed = n_to_settle(prompt, target) - prompt.n
    if needed > UNAFFORDABLE:
        return "It is too close to the target for more labels to tell. Decide by what an answer costs."
    return f"Label about {_rounded(needed):,} more held-out examples; that would probably settle it."


def _rounded(n_labels: float) -> int:
    return max(50, math.ceil(n_labels / 10) * 10)


def _prompt_sentence(prompt: Measured, target: float) -> str:
    said = f"The best prompt gets {percent(prompt.value)} right" if prompt.metric == "accuracy" else \
        f"The best prompt has {_named(prompt)}"
    if prompt.lower >= target:
        return f"{said} and meets your target of {_target(target)} already (at least {_at_least(prompt.lower)})."
    if prompt.upper < target:
        return f"{said} and cannot reach your target of {_target(target)} (at most {_at_most(prompt.upper)})."
    return f"{said}; whether it meets your target of {_target(target)} is open."


def _adapter_sentence(who: str, adapter: Measured, comparison: PairedComparison | PairedScores) -> str:
    if isinstance(comparison, PairedComparison):
        return (f"{who} gets {percent(adapter.value)}; it is right on {comparison.n_won:,} examples "
                f"where the prompt is wrong, and wrong on {comparison.n_lost:,} where the prompt is right.")
    return (f"{who} has {percent(adapter.value)}; its answer is better on {comparison.n_won:,} examples "
            f"and worse on {comparison.n_lost:,}.")


def _target_sentence(adapter: Measured, target: float) -> str:
    trend = f" {TREND_ONLY}" if adapter.metric == "rouge_l" else ""
    if adapter.lower >= target:
        return f"It reaches {_target(target)} (at least {_at_least(adapter.lower)}).{trend}"
    if adapter.upper < target:
        return (f"It does not reach {_target(target)} (at most {_at_most(adapter.upper)}): better labels, more of them "
                f"or a larger base model have to bring the rest.{trend}")
    more = n_to_settle(adapter, target) - adapter.n
    if more > UNAFFORDABLE:
        return f"It is too close to {_target(target)} for more labels to tell whether it reaches it.{trend}"
    return (f"It is not yet shown to reach {_target(target)}: about {_rounded(more):,} more held-out labels would "
            f"probably settle that.{trend}")


def _probe_sentence(probe: Measured, adapter: Measured) -> str:
    said = f"The linear probe on embeddings, which needs no language model, gets {percent(probe.value)}"
    if probe.value >= adapter.value:
        return f"{said}: it does as well or better for next to nothing, so serve the probe unless you need the model."
    if probe.value >= adapter.interval.low:
        return f"{said}: chance alone could explain that it is behind, and it costs next to nothing."
    return f"{said}."


def _check_target(target: float) -> None:
    if not 0 < target < 1:
        raise ValueError(f"target must be in (0, 1), got {target}")
