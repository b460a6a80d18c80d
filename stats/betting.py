"""Bets against “the mean is at least this floor”: what the alarm, the guardrails and the known answers share.

Whoever bets a stake in (0, 1 / (1 - floor)) per point below the floor starts with 1 and, as long as the scores' mean is
at least the floor whatever came before, can expect to win nothing. What the bets have grown to is evidence.
Source: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting, JRSS B 86.
"""

import numpy as np

N_BETS = 24
LARGEST_LOG = 700.0  # of an e-value; beyond it floats overflow


def bets_against(floor: float) -> np.ndarray:
    """Return (N_BETS,) stakes per point, each best for one true mean from just below the floor down.

    Raises ValueError unless 0 < floor < 1.
    """
    if not 0 < floor < 1:
        raise ValueError(f"floor must be in (0, 1), got {floor}")
    mean = floor - np.geomspace(min(0.01, floor / 4), min(max(floor - 0.02, floor / 2), 0.5), N_BETS)
    return np.asarray((floor - mean) / (floor * (1 - floor)))


def log_growth(scores: np.ndarray, floor: float) -> np.ndarray:
    """Return (n, N_BETS): the logarithm of what each bet is multiplied by at each of n scores in [0, 1]."""
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError(f"scores must be (n,) in [0, 1], got shape {scores.shape}"
                         + (f", {scores.min()} to {scores.max()}" if scores.size else ""))
    return np.asarray(np.log1p((floor - scores)[:, None] * bets_against(floor)))


def log_mean_exp(logs: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean of exp(logs) over the last axis, without overflow."""
    highest = logs.max(axis=-1)
    return np.asarray(highest + np.log(np.mean(np.exp(logs - highest[..., None]), axis=-1)))
