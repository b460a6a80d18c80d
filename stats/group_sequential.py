"""Looking at an experiment a few planned times without being fooled: bounds, power and size.

At information t in (0, 1] the test statistic is sqrt(t) z = Brownian motion with a drift. The distribution of what has
not crossed yet is carried from look to look by numerical integration.
Sources: O'Brien & Fleming 1979, A multiple testing procedure for clinical trials, Biometrics 35; Lan & DeMets 1983,
Discrete sequential boundaries for clinical trials, Biometrika 70; Armitage, McPherson & Rowe 1969, Repeated
significance tests on accumulating data, JRSS A 132; Jennison & Turnbull 2000, Group Sequential Methods, chapters 7 and
19.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy

NEVER = 8.0  # a bound on |z| that nothing crosses: 1e-15
N_NODES = 256


@dataclass(frozen=True)
class Crossing:
    """upper, lower: (k,) chance that the first crossing is at each look, above or below."""

    upper: np.ndarray
    lower: np.ndarray


def alpha_spent(fraction: float, alpha: float = 0.05) -> float:
    """Return how much of the two-sided alpha may be spent up to this fraction of the information, like O'Brien-Fleming.

    Hardly anything early, all of it at 1 and beyond. Source: Lan & DeMets 1983, their first function, on each side.
    """
    if fraction <= 0 or not 0 < alpha < 1:
        raise ValueError(f"fraction must be above 0 and alpha in (0, 1), got {fraction} and {alpha}")
    return float(4 * scipy.stats.norm.sf(scipy.stats.norm.isf(alpha / 4) / np.sqrt(min(fraction, 1.0))))


def bounds(fractions: Sequence[float], *, alpha: float = 0.05, is_last: bool = False) -> tuple[float, ...]:
    """Return the bound on |z| of each look so far, so that all looks together are wrong in at most alpha.

    fractions: the information at each look over the planned one, rising by at least .005; above 1 where more came.
    is_last: nothing will be looked at any more, so all that is left of alpha may be spent at the last of them, however
    little information there is. Whether a look is the last must not depend on what is seen at it.
    """
    return _bounds(tuple(round(float(t), 6) for t in fractions), alpha, is_last)


def crossing(levels: Sequence[float], fractions: Sequence[float], *, drift: float = 0.0) -> Crossing:
    """Return how likely |z| first crosses `levels` at each look.

    drift: the mean of z at information 1; at t it is drift · sqrt(t).
    """
    if len(levels) != len(fractions):
        raise ValueError(f"there must be a level for each look, got {len(levels)} and {len(fractions)}")
    _check(fractions)
    carried, upper, lower = None, [], []
    for level, before, t in zip(levels, [0.0, *fractions], fractions, strict=False):
        high, low = _crossed(carried, level, before, t, drift)
        upper.append(high)
        lower.append(low)
        carried = _carry(carried, level, before, t, drift)
    return Crossing(np.array(upper), np.array(lower))


@lru_cache(maxsize=64)
def drift_for(power: float, n_looks: int, alpha: float = 0.05) -> float:
    """Return the drift at which equally spaced looks find a difference with this chance, in its right direction."""
    fractions = [k / n_looks for k in range(1, n_looks + 1)]
    levels = bounds(fractions, alpha=alpha)
    return float(scipy.optimize.brentq(
        lambda drift: crossing(levels, fractions, drift=drift).upper.sum() - power, 0, 20))


def inflation(power: float, n_looks: int, alpha: float = 0.05) -> float:
    """Return how many times as many units the looks take at most as one look at the end; 1 for one look."""
    one_look = scipy.stats.norm.isf(alpha / 2) + scipy.stats.norm.ppf(power)
    return float((drift_for(power, n_looks, alpha) / one_look) ** 2)


@lru_cache(maxsize=4096)
def _bounds(fractions: tuple[float, ...], alpha: float, is_last: bool) -> tuple[float, ...]:
    _check(fractions)
    if not fractions:
        return ()
    earlier, t = fractions[:-1], fractions[-1]
    before, spent = (earlier[-1], alpha_spent(earlier[-1], alpha)) if earlier else (0.0, 0.0)
    allowed, carried = (alpha if is_last else alpha_spent(t, alpha)) - spent, _uncrossed(earlier, alpha)

    def excess(level: float) -> float:
        return sum(_crossed(carried, level, before, t, 0.0)) - allowed

    level = NEVER if excess(NEVER) >= 0 else float(scipy.optimize.brentq(excess, 0.0, NEVER))
    return (*_bounds(earlier, alpha, False), level)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(N_NODES)
Carried = tuple[np.ndarray, np.ndarray]  # where the uncrossed motion may be, and its density times the weights


@lru_cache(maxsize=256)
def _uncrossed(fractions: tuple[float, ...], alpha: float) -> Carried | None:
    """What has not crossed the bounds of these looks without any difference; None before the first."""
    if not fractions:
        return None
    before = fractions[-2] if len(fractions) > 1 else 0.0
    level = _bounds(fractions, alpha, False)[-1]
    return _carry(_uncrossed(fractions[:-1], alpha), level, before, fractions[-1], 0.0)


def _crossed(carried: Carried | None, level: float, before: float, t: float, drift: float) -> tuple[float, float]:
    """The chances of first crossing above and below at t."""
    place, mass = carried if carried else (np.zeros(1), np.ones(1))
    centre, sd, edge = place + drift * (t - before), np.sqrt(t - before), level * np.sqrt(t)
    return (float(mass @ scipy.stats.norm.sf((edge - centre) / sd)),
            float(mass @ scipy.stats.norm.cdf((-edge - centre) / sd)))


def _carry(carried: Carried | None, level: float, before: float, t: float, drift: float) -> Carried:
    place, mass = carried if carried else (np.zeros(1), np.ones(1))
    edge, sd = level * np.sqrt(t), np.sqrt(t - before)
    nodes = _NODES * edge
    away = (nodes[:, None] - place - drift * (t - before)) / sd
    return nodes, (np.exp(-away**2 / 2) @ mass) * (_WEIGHTS * edge / (sd * np.sqrt(2 * np.pi)))


def _check(fractions: Sequence[float]) -> None:
    steps = np.diff([0.0, *fractions])
    if np.any(steps < 0.005):
        raise ValueError(f"fractions must rise from above 0 by at least .005, got {list(fractions)}")
