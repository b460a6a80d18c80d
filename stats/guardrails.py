"""Does an arm do harm? Evidence that may be looked at after every unit, for errors, refusals, slow answers, costs."""

import math
from dataclasses import dataclass

import numpy as np

from stats.betting import LARGEST_LOG, log_growth, log_mean_exp

ALPHA = 0.01  # of a guardrail that is alone


@dataclass(frozen=True)
class Harm:
    """e_value: the largest evidence so far that the challenger is worse by more than the margin; harm at `needed`.

    worse_by: mean of the challenger minus that of the champion, over n pairs. needed: 1 / alpha.
    """

    name: str
    e_value: float
    is_harm: bool
    worse_by: float
    n: int
    words: str
    needed: float = 1 / ALPHA


def harm_evidence(name: str, champion: np.ndarray, challenger: np.ndarray, *, margin: float = 0.0,
                  alpha: float = ALPHA) -> Harm:
    """Weigh whether the challenger is worse by more than the margin.

    champion, challenger: (n,) and (m,) in [0, 1], one value per unit in the order of arrival, higher being worse:
    whether it failed, was refused, was escalated, took longer than a limit that was fixed beforehand (the p95
    promised), or its cost over a cap. margin: in [0, 1), how much worse is still accepted. alpha: of several
    guardrails together a harmless challenger is stopped with a chance of at most the sum of their alphas.
    The k-th units of both arms are a pair, so what changes with time changes both; units without a partner wait. A
    challenger that is not worse is called harmful with a chance of at most alpha, however often one looks.
    Source: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting, JRSS B 86.
    """
    if not (0 <= margin < 1 and 0 < alpha < 1):
        raise ValueError(f"margin must be in [0, 1) and alpha in (0, 1), got {margin} and {alpha}")
    n = min(len(champion), len(challenger))
    before, now = np.asarray(champion, dtype=float)[:n], np.asarray(challenger, dtype=float)[:n]
    if not all(np.all((side >= 0) & (side <= 1)) for side in (before, now)):
        raise ValueError(f"{name} must be in [0, 1] in both arms")
    if n == 0:
        return Harm(name, 1.0, False, float("nan"), 0, f"{name}: no pair of units yet.", 1 / alpha)
    growth = np.cumsum(log_growth((1 + before - now) / 2, (1 - margin) / 2), axis=0)
    e_value = float(np.exp(min(max(0.0, log_mean_exp(growth).max()), LARGEST_LOG)))
    worse_by, is_harm = float(now.mean() - before.mean()), e_value >= 1 / alpha
    shown = f"{name}: {now.mean():.1%} beside {before.mean():.1%} (n = {n} each)"
    by = f" by more than {margin:.1%}" if margin else ""
    words = f"{shown}. " + (f"The challenger is worse{by}: stop it." if is_harm else
                            f"No proof of harm (evidence {e_value:.3g} of {math.ceil(1 / alpha)}).")
    return Harm(name, e_value, is_harm, worse_by, n, words, 1 / alpha)
