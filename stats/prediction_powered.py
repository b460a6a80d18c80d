"""A mean of which people know few rows and a machine all: people's few, made sharper by the machine's many.

One estimate, with two intervals: `prediction_powered_mean` draws groups of rows anew, for scores and ties;
`prediction_powered_share` is Wilson's with as many rows as would have the same variance, for rights and wrongs of
independent rows. The conditions under which the latter may be shown are `stats.live_accuracy`'s.
Source: Angelopoulos, Duchi & Zrnic 2023, PPI++: Efficient Prediction-Powered Inference, arXiv 2311.01453.
"""

from dataclasses import dataclass

import numpy as np

from stats.intervals import Interval, percentiles, resampled_sums, wilson_of_share

N_RESAMPLES = 2000
# Two labelled rows that were never seen, on which people and machine say the opposite, one each way
_UNSEEN = np.array([[0, 0, 1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 1, 0, 0, 0, 0]], dtype=float)


@dataclass(frozen=True)
class PredictionPowered:
    """`interval`: the mean with its 95 % interval; `weight`, in [0, 1]: how much the machine was listened to."""

    interval: Interval
    weight: float


def prediction_powered_mean(people: np.ndarray, machine: np.ndarray, *, groups: np.ndarray,
                            known: np.ndarray | None = None, seed: int = 0,
                            n_resamples: int = N_RESAMPLES) -> PredictionPowered:
    """Return the mean of what people would say of all rows, from what they said of a random sample of them.

    people: (n,) floats in [0, 1], nan where nobody was asked. machine: (n,) floats in [0, 1] of the same rows.
    groups: (n,); rows with equal values are drawn together. known: (n,) floats in [0, 1] of rows that nobody needs to
    be asked about, nan elsewhere; their values count as they are, and `people` and `machine` do not.
    The estimate is mean(people) + λ (mean machine of the rows without people - mean machine of the rows with people),
    λ = cov(people, machine) / (var(machine) (1 + n with people / n without)), kept in [0, 1]: the tuning that makes it
    never worse than people alone, up to λ's own noise. Whatever the machine's bias, it cancels; a poor machine gets
    λ = 0. The interval draws groups anew, λ with them; two rows on which people and machine are opposed are added, in
    the manner of Agresti & Min 2005, since a machine that erred on none of a hundred rows may err on the next.
    Raises ValueError if the arrays differ in length, or no row has a value from people.
    Source: Angelopoulos, Duchi & Zrnic 2023, PPI++: Efficient Prediction-Powered Inference, arXiv 2311.01453; the rows
    with people are a part of all rows here, so that the others are its unlabelled sample.
    """
    known = np.full(len(people), np.nan) if known is None else known
    if not len(people) == len(machine) == len(groups) == len(known):
        raise ValueError("people, machine, groups and known must have one value per row, got "
                         f"{len(people)}, {len(machine)}, {len(groups)} and {len(known)}")
    by_row = _columns(people, machine, known)
    if not by_row[:, [0, 2]].sum():
        raise ValueError("no row has a value from people")
    kinds = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((kinds.max() + 1, by_row.shape[1]))
    np.add.at(sums, kinds, by_row)
    estimate, weight = (float(one[0]) for one in _estimates(by_row.sum(axis=0, keepdims=True)))
    drawn, _ = _estimates(resampled_sums(np.vstack([sums, _UNSEEN]), n_resamples=n_resamples, seed=seed))
    low, high = percentiles(drawn, 0.95)
    return PredictionPowered(Interval(estimate, min(low, estimate), max(high, estimate), len(people)), weight)


def prediction_powered_share(people: np.ndarray, machine: np.ndarray, rest: np.ndarray, *,
                             confidence: float = 0.95) -> tuple[PredictionPowered, float]:
    """Return the share of all rows that people would call right, and how many times the labels the machine is worth.

    people: (n,) of 0 and 1 about a random sample. machine: (n,) floats in [0, 1] of the same rows; rest: (m,) of the
    others. All rows are independent. The estimate is that of `prediction_powered_mean`; the normal interval covers in
    92.6 % of draws at 200 labels and a weak judge, where 95 % are said, so it is Wilson's.
    """
    n, m = len(people), len(rest)
    sums = _columns(np.concatenate([people, np.full(m, np.nan)]), np.concatenate([machine, rest]),
                    np.full(n + m, np.nan)).sum(axis=0, keepdims=True)
    estimate, weight = (float(one[0]) for one in _estimates(sums))
    squared = float((people - weight * machine).var(ddof=1)) / n + weight**2 * float(rest.var(ddof=1)) / m
    share = min(max(estimate, 1 / n), 1 - 1 / n)
    low, high = wilson_of_share(share, share * (1 - share) / squared, confidence)
    return (PredictionPowered(Interval(share, low, high, n, confidence), weight),
            float(people.var(ddof=1)) / n / squared)


def mean_interval(values: np.ndarray, *, groups: np.ndarray, seed: int = 0,
                  n_resamples: int = N_RESAMPLES) -> Interval:
    """Return the mean of (n,) values in [0, 1] with its 95 % interval over groups drawn anew, n >= 1.

    Two rows that were never seen, a 0 and a 1, are among those that are drawn.
    """
    return prediction_powered_mean(values, np.zeros(len(values)), groups=groups, seed=seed,
                                   n_resamples=n_resamples).interval


def _columns(people: np.ndarray, machine: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n, 10): of known rows 1 and value; of rows with people 1, people, machine, machine², people x machine; of the
    others 1, machine, machine²."""
    is_known = ~np.isnan(known)
    has_people, has_machine = ~is_known & ~np.isnan(people), ~is_known & np.isnan(people)
    y, f = np.nan_to_num(people), np.nan_to_num(machine)
    return np.column_stack([is_known, np.nan_to_num(known), *(has_people * one for one in (np.ones(len(y)), y, f,
                            f * f, y * f)), *(has_machine * one for one in (np.ones(len(y)), f, f * f))]).astype(float)


def _estimates(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(r,) estimates in [0, 1] and weights from (r, 10) sums; nan where people said nothing but machine did."""
    n_known, y_known, n_people, y, f, ff, yf, n_machine, g, gg = sums.T
    n_both = n_people + n_machine
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (ff + gg) / n_both - ((f + g) / n_both) ** 2
        together = yf / n_people - y * f / n_people**2
        weight = np.clip(together / (spread * (1 + n_people / n_machine)), 0, 1)
        weight = np.where((n_machine > 0) & (spread > 1e-12), weight, 0)
        shift = np.where(n_machine > 0, g / n_machine - f / n_people, 0)
        mean = np.clip(np.where(n_people > 0, y / n_people + weight * shift, np.where(n_machine > 0, np.nan, 0)), 0, 1)
        return (y_known + n_both * mean) / (n_known + n_both), weight
