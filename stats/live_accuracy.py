"""A judge reads all traffic, people a sample of it: the accuracy from both, where that is sound.

People's labels alone give an unbiased share with a wide interval; the judge alone a narrow one around the wrong value.
The share of people's labels is moved by what the judge says of all traffic beyond what it says of the labelled rows:
`stats.prediction_powered`. Source: Angelopoulos et al. 2023, Prediction-powered inference, Science 382.
"""

from dataclasses import dataclass

import numpy as np

from stats.intervals import Interval, wilson
from stats.prediction_powered import prediction_powered_share

MIN_LABELS, MIN_JUDGE_ERRORS, MIN_OF_EACH = 200, 10, 10


@dataclass(frozen=True)
class AccuracyEstimate:
    """interval: the accuracy; by PPI++ if `uses_judge`, else by Wilson from people's labels alone.

    judge_alone: the share that the judge calls right of all traffic; biased, never to be shown by itself.
    worth: how many times as many labels would be needed for as narrow an interval without the judge; 1 where it is not
    used. why_not: sentences, why the judge is not used; empty if it is.
    """

    interval: Interval
    uses_judge: bool
    judge_alone: float
    worth: float
    why_not: tuple[str, ...]
    words: str


def estimate_accuracy(is_right: np.ndarray, judged: np.ndarray, judged_unlabelled: np.ndarray, *,
                      is_uniform: bool = True, confidence: float = 0.95) -> AccuracyEstimate:
    """Return the accuracy on all traffic, with the judge's help only where `why_no_judge` has no objection.

    is_right: (n,) bool, by people, of a uniform random sample. judged: (n,) what the judge says of the same rows, bool
    or float in [0, 1]. judged_unlabelled: (m,) the same of all traffic that nobody labelled, of the same period.
    Raises ValueError for other shapes or values out of range. The alarm takes people's labels only.
    """
    is_right, judged, rest = (np.asarray(values, dtype=float) for values in (is_right, judged, judged_unlabelled))
    if is_right.shape != judged.shape or is_right.ndim != 1 or rest.ndim != 1:
        raise ValueError(f"is_right and judged must be (n,) and judged_unlabelled (m,), got {is_right.shape}, "
                         f"{judged.shape} and {rest.shape}")
    if not all(np.all((values >= 0) & (values <= 1)) for values in (is_right, judged, rest)):
        raise ValueError("is_right, judged and judged_unlabelled must be in [0, 1]")
    why_not = why_no_judge(is_right, judged, len(rest), is_uniform=is_uniform)
    plain = wilson(int(is_right.sum()), len(is_right), confidence=confidence)
    everything = np.concatenate([judged, rest])
    judge_alone = float(everything.mean()) if len(everything) else float("nan")
    if why_not:
        words = f"{_share(plain)}, by people's labels alone. {' '.join(why_not)}"
        return AccuracyEstimate(plain, False, judge_alone, 1.0, why_not, words)
    powered, worth = prediction_powered_share(is_right, judged, rest, confidence=confidence)
    found = powered.interval
    words = (f"{_share(found)}, by people's labels and a judge that read {len(rest)} more answers; the labels alone "
             f"say {plain.low:.1%} to {plain.high:.1%}. The judge is worth {worth:.1f} times as many labels.")
    return AccuracyEstimate(found, True, judge_alone, worth, (), words)


def why_no_judge(is_right: np.ndarray, judged: np.ndarray, n_unlabelled: int, *, is_uniform: bool = True) -> tuple[str,
...]:
    """Return, as sentences, the conditions of PPI that do not hold; () if all do.

    With few labels, few mistakes of the judge or few right or wrong answers the interval covers the truth less often
    than it says (bench.live measures it): at least 200 labels, 10 mistakes, and 10 answers of each kind are asked for.
    """
    is_right, judged = np.asarray(is_right, dtype=float), np.asarray(judged, dtype=float)
    n, n_errors = len(is_right), int(np.sum((judged >= 0.5) != (is_right >= 0.5)))
    n_fewer = int(min(np.sum(is_right >= 0.5), np.sum(is_right < 0.5)))
    reasons = []
    if not is_uniform:
        reasons.append("The labelled rows were not drawn uniformly, so they do not show how often the judge errs on "
                       "all traffic: use the uniform part of the sample only.")
    if n < MIN_LABELS:
        reasons.append(f"The judge needs at least {MIN_LABELS} labels to be measured, there are {n}: label "
                       f"{MIN_LABELS - n} more.")
    elif n_errors < MIN_JUDGE_ERRORS:
        reasons.append(f"The judge erred on {n_errors} labelled rows; at least {MIN_JUDGE_ERRORS} are needed to know "
                       "how often it errs: label more.")
    elif n_fewer < MIN_OF_EACH:
        reasons.append(f"Of the labelled answers {n_fewer} are of the rarer kind; at least {MIN_OF_EACH} right and "
                       f"{MIN_OF_EACH} wrong ones are needed: label more.")
    if n_unlabelled < n:
        reasons.append(f"The judge read {n_unlabelled} answers that nobody labelled; with fewer than the {n} labelled "
                       "ones it can hardly help: let it read more.")
    if n and np.all(judged == judged[0]):
        reasons.append("The judge says the same of every labelled answer, so it tells nothing.")
    return tuple(reasons)


def _share(interval: Interval) -> str:
    if interval.n == 0:
        return "The accuracy is not known"
    return f"{interval.estimate:.1%} right ({interval.low:.1%} to {interval.high:.1%}, n = {interval.n})"
