"""How the error falls with more training rows, how far that can be foretold, and how many rows a target takes.

1. err(n) = a · n^−b + c with a, c ≥ 0 is fitted to the mean errors of several sizes, larger sizes weighing more.
2. The band holds what the fit would be had other subsets been drawn, widened by how wrong a fit without the largest
   size is about that size, and by two standard errors of the test rows.
3. Nothing is said beyond twice the largest size.

Sources: Figueroa et al. 2012, Predicting sample size required for classification performance, BMC Medical Informatics
12 (the curve and its weights); Mahmood et al. 2022, How Much More Data Do I Need?, CVPR (a curve alone misleads about
requirements); Viering & Loog 2023, The Shape of Learning Curves, IEEE TPAMI 45 (no shape holds for all).
"""

from dataclasses import dataclass

import numpy as np

EXPONENTS = np.geomspace(0.05, 2.0, 60)
N_RESAMPLES = 500
REACH = 2.0  # times the largest size measured
TEST_SES = 2.0


@dataclass(frozen=True)
class Band:
    """Expected error at `sizes`, and between what it likely lies; each (m,) float in [0, 1]."""

    sizes: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Forecast:
    """band: from the smallest size to REACH times the largest.

    floor: estimate, low, high of c, the error that no number of rows would take away, widened like the band.
    backtest: how far the fit without the largest size was from that size. widened_by: what was added on both sides.
    needed: rows at which the curve reaches the target; needed_low, needed_high: at which the band's lower and upper end
    does. None where that is not within reach. may_never: the floor's interval reaches the target's error.
    """

    band: Band
    floor: tuple[float, float, float]
    backtest: float
    widened_by: float
    needed: int | None
    needed_low: int | None
    needed_high: int | None
    may_never: bool


def forecast(sizes: np.ndarray, errors: np.ndarray, *, target_error: float, n_test: int, seed: int) -> Forecast:
    """Return what the measured errors say about larger sizes.

    sizes: (m,) rising numbers of training rows, m ≥ 4. errors: (m, r) float in [0, 1], r ≥ 2 subsets of each size.
    target_error: in [0, 1]. n_test: rows that the errors were measured on, ≥ 1.
    Raises ValueError for another shape or a value out of range.
    """
    sizes, errors = np.asarray(sizes, dtype=float), np.asarray(errors, dtype=float)
    if sizes.ndim != 1 or errors.ndim != 2 or len(sizes) != len(errors) or len(sizes) < 4 or errors.shape[1] < 2:
        raise ValueError(f"errors must be (m, r) for m >= 4 sizes and r >= 2 subsets, got {errors.shape} for "
                         f"{len(sizes)} sizes")
    if np.any(np.diff(sizes) <= 0) or sizes[0] < 1 or n_test < 1:
        raise ValueError(f"sizes must rise from at least 1 and n_test be at least 1, got {sizes} and {n_test}")
    if not (0 <= target_error <= 1 and np.all((errors >= 0) & (errors <= 1))):
        raise ValueError(f"errors and target_error must be in [0, 1], got {errors.min()} to {errors.max()} and "
                         f"{target_error}")
    mean = errors.mean(axis=1)
    curve = fit_curves(sizes, mean[None])
    grid = np.unique(np.round(np.geomspace(sizes[0], REACH * sizes[-1], 200)))
    others = fit_curves(sizes, _resampled(errors, seed))
    low, high = np.quantile(errors_at(others, grid), [0.025, 0.975], axis=0)
    without = fit_curves(sizes[:-1], mean[None, :-1])
    backtest = abs(float(errors_at(without, sizes[-1:])[0, 0] - mean[-1]))
    widened_by = backtest + TEST_SES * float(np.sqrt(mean[-1] * (1 - mean[-1]) / n_test))
    band = Band(grid, errors_at(curve, grid)[0], np.clip(low - widened_by, 0, 1), np.clip(high + widened_by, 0, 1))
    floors = np.quantile(others[:, 2], [0.025, 0.975])
    floor = (float(curve[0, 2]), max(0.0, float(floors[0]) - widened_by), min(1.0, float(floors[1]) + widened_by))
    return Forecast(band, floor, backtest, widened_by, _reached(band.sizes, band.error, target_error),
                    _reached(band.sizes, band.low, target_error), _reached(band.sizes, band.high, target_error),
                    may_never=floor[2] >= target_error)


def fit_curves(sizes: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return (k, 3) float: a, b, c of the curve with the least squares for each row of `errors` (k, m).

    For each of EXPONENTS the best a and c ≥ 0 are known in closed form; the best exponent of the grid is taken. A size
    weighs as much as it has rows.
    """
    weights = sizes / sizes.sum()
    best: np.ndarray = np.full(len(errors), np.inf)
    found = np.zeros((len(errors), 3))
    for b in EXPONENTS:
        x = sizes ** -b
        mx, my = weights @ x, errors @ weights
        slope = ((errors - my[:, None]) * weights) @ (x - mx) / (weights @ (x - mx) ** 2)
        a = np.maximum(slope, 0)
        c = my - a * mx
        below = c < 0
        a = np.where(below, np.maximum((errors * weights) @ x / (weights @ x ** 2), 0), a)
        c = np.where(below, 0.0, c)
        loss = ((errors - a[:, None] * x - c[:, None]) ** 2) @ weights
        better = loss < best
        best = np.where(better, loss, best)
        found[better] = np.stack([a, np.full(len(a), b), c], axis=1)[better]
    return found


def errors_at(curves: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return (k, m) float in [0, 1]: the error of each curve (a, b, c) at each size."""
    a, b, c = curves.T[:, :, None]
    return np.asarray(np.clip(a * sizes[None] ** -b + c, 0, 1))


def _resampled(errors: np.ndarray, seed: int) -> np.ndarray:
    """Return (N_RESAMPLES, m) mean errors of subsets drawn anew within each size."""
    random = np.random.default_rng(seed)
    drawn = random.integers(errors.shape[1], size=(N_RESAMPLES, *errors.shape))
    return np.take_along_axis(np.broadcast_to(errors, drawn.shape), drawn, axis=2).mean(axis=2)


def _reached(sizes: np.ndarray, error: np.ndarray, target: float) -> int | None:
    there = np.flatnonzero(error <= target)
    return int(sizes[there[0]]) if len(there) else None
