"""Which rows of a period's traffic people label: most of them at random, some where something looks new.

1. The uniform part, a simple random sample of all rows, feeds the alarm and the estimate.
2. The targeted part is drawn from all rows, too, with a chance in proportion to each row's priority. A row that both
   draw is labelled once, so a little fewer rows come out than were asked for.
3. So the chance that a row is labelled is known for every row, and all labels together estimate the accuracy when each
   is weighed by one over its chance.

Sources: Horvitz & Thompson 1952, A generalization of sampling without replacement from a finite universe, JASA 47;
Särndal, Swensson & Wretman 1992, Model Assisted Survey Sampling, sections 3.6 (systematic, in proportion to size) and
5.7.
"""

import math
from dataclasses import dataclass

import numpy as np

from stats.intervals import Interval, wilson_of_share

UNIFORM_SHARE = 0.7


@dataclass(frozen=True)
class LabelSample:
    """Rows to label, each once, in an order that says nothing (send them to people as they come).

    rows: (n,) int row numbers. is_uniform: (n,) bool, the random part; only these may feed the alarm and a plain share.
    chance: (n,) float in (0, 1], with which the row was to be drawn at all; keep it with the row.
    """

    rows: np.ndarray
    is_uniform: np.ndarray
    chance: np.ndarray


def draw_label_sample(priority: np.ndarray, *, n: int, seed: int, uniform_share: float = UNIFORM_SHARE) -> LabelSample:
    """Draw about n of the rows, a share of them uniformly, the rest by priority.

    priority: (m,) float >= 0 of all rows of the period, e.g. uncertainty plus 1 where a user complained or the text is
    new; 0 is drawn by the uniform part only. All rows are drawn where there are no more than n.
    seed: take the project's and the period's numbers, so that nobody can draw until they like what comes.
    Raises ValueError for a negative or unknown priority, n below 1, or a share outside (0, 1].
    """
    priority = np.asarray(priority, dtype=float)
    if priority.ndim != 1 or not np.all(np.isfinite(priority) & (priority >= 0)):
        raise ValueError("priority must be (m,) finite floats of at least 0")
    if n < 1 or not 0 < uniform_share <= 1:
        raise ValueError(f"n must be at least 1 and uniform_share in (0, 1], got {n} and {uniform_share}")
    random, m = np.random.default_rng(seed), len(priority)
    order = random.permutation(m)
    if m <= n:
        return LabelSample(order, np.ones(m, dtype=bool), np.ones(m))
    n_uniform = math.ceil(n * uniform_share)
    targeted_chance = chances_by_size(priority, n - n_uniform)
    is_uniform = np.zeros(m, dtype=bool)
    is_uniform[order[:n_uniform]] = True
    is_targeted = np.zeros(m, dtype=bool)
    walk = random.permutation(m)  # systematic: one random start, then every whole step of the summed chances
    steps = np.floor(np.concatenate([[0.0], np.cumsum(targeted_chance[walk])]) + random.random())
    is_targeted[walk[np.diff(steps) > 0]] = True
    chance = 1 - (1 - n_uniform / m) * (1 - targeted_chance)
    rows = order[(is_uniform | is_targeted)[order]]
    rows = rows[random.permutation(len(rows))]
    return LabelSample(rows, is_uniform[rows], chance[rows])


def chances_by_size(size: np.ndarray, n: int) -> np.ndarray:
    """Return (m,) chances in [0, 1], in proportion to `size`, that sum to n, or to how many sizes are above 0.

    Where one would be above 1 it is 1, and the others share what is left.
    """
    chance: np.ndarray = np.zeros(len(size))
    is_certain = np.zeros(len(size), dtype=bool)
    n = min(n, int(np.sum(size > 0)))
    while n > is_certain.sum():
        rest = np.where(is_certain, 0.0, size)
        chance = np.where(is_certain, 1.0, rest / rest.sum() * (n - is_certain.sum()))
        if not np.any(chance > 1):
            break
        is_certain |= chance >= 1
        chance = np.where(is_certain, 1.0, 0.0)
    return np.minimum(chance, 1.0)


def weighted_share(is_right: np.ndarray, chance: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """Return the share of right rows in all traffic from rows drawn with known chances, with its interval.

    is_right: (n,) bool. chance: (n,) float in (0, 1], of `LabelSample`. The estimate is that of Hájek: weighted by one
    over the chance. The interval is Wilson's with as many rows as would have the same variance, counted as if every row
    had been drawn by itself, which is a little too wide for fixed numbers of rows. `n` is the number of rows.
    nan in [0, 1] without rows. Source: Hájek 1971; Korn & Graubard 1998, Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data, Survey Methodology 24.
    """
    is_right, chance = np.asarray(is_right, dtype=float), np.asarray(chance, dtype=float)
    if is_right.shape != chance.shape or not np.all((chance > 0) & (chance <= 1)):
        raise ValueError("chance must have one value in (0, 1] for each row of is_right")
    if not len(is_right):
        return Interval(float("nan"), 0.0, 1.0, 0, confidence)
    weights = 1 / chance
    share = float(weights @ is_right / weights.sum())
    variance = float(np.sum((1 - chance) * (weights * (is_right - share)) ** 2)) / weights.sum() ** 2
    alike = float(weights.sum() ** 2 / (weights @ weights))  # rows of equal weight that would weigh as much (Kish)
    if 0 < share < 1 and variance > 0:
        alike = share * (1 - share) / variance
    low, high = wilson_of_share(share, alike, confidence)
    return Interval(share, low, high, len(is_right), confidence)
