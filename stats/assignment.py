"""Which arm a unit belongs to, and whether the arms were filled as planned."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, gammaln

WRONG_RATIO = 0.001  # chance of calling a sound split wrong, over all looks together
PRIOR = 1000.0  # how many units the belief “about as planned” weighs


@dataclass(frozen=True)
class SampleRatio:
    """Whether units came into the arms in the planned shares.

    p_value: of the chi-squared test, for whoever looks once. e_value: evidence against the plan that may be looked at
    after every unit; is_wrong where it reaches 1,000.
    """

    p_value: float
    e_value: float
    is_wrong: bool
    words: str


def arm_of(unit: str, *, experiment: str, salt: str, shares: Mapping[str, float]) -> str:
    """Return the arm that this unit always gets in this experiment.

    unit: a user or a thread, never a request: one person must not see both arms. salt: secret, new for every
    experiment, so that arms of two experiments are independent. shares: of each arm in its order, in (0, 1], summing to
    1. The first 8 bytes of sha256(salt, experiment, unit), each part behind its length, as a number in [0, 1), fall
    into one arm's share.
    Raises ValueError if the shares are out of range or do not sum to 1.
    """
    if not shares or min(shares.values()) <= 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-9):
        raise ValueError(f"shares must be above 0 and sum to 1, got {dict(shares)}")
    parts = "".join(f"{len(part)}:{part}" for part in (salt, experiment, unit))
    place = int.from_bytes(hashlib.sha256(parts.encode()).digest()[:8]) / 2**64
    upto = 0.0
    for arm, share in shares.items():
        upto += share
        if place < upto:
            return arm
    return arm  # the shares' rounded sum may be just below a place next to 1


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """Compare how many units each arm has with its planned share.

    counts: units exposed, by arm. shares: as given to `arm_of`; arms must be the same.
    The evidence is a Bayes factor of “some other shares near the planned ones” (Dirichlet, worth 1,000 units) to the
    plan: a martingale if the plan is true, so it may be looked at any time (Ville 1939).
    Source: Lindon & Malek 2022, Anytime-valid inference for multinomial count data, NeurIPS; why it matters: Fabijan et
    al. 2019, Diagnosing sample ratio mismatch in online controlled experiments, KDD.
    """
    if counts.keys() != shares.keys() or min(counts.values(), default=0) < 0:
        raise ValueError(f"counts must be at least 0 and of the arms {sorted(shares)}, got {dict(counts)}")
    seen = np.array([counts[arm] for arm in shares], dtype=float)
    planned = np.array(list(shares.values())) / sum(shares.values())
    n = seen.sum()
    if n == 0:
        return SampleRatio(1.0, 1.0, False, "Nobody has been exposed yet.")
    prior = PRIOR * planned
    log_e = float(gammaln(prior.sum()) - gammaln(prior.sum() + n) + np.sum(gammaln(prior + seen) - gammaln(prior))
                  - seen @ np.log(planned))
    p_value = float(chdtrc(len(seen) - 1, np.sum((seen - n * planned) ** 2 / (n * planned)))) if len(seen) > 1 else 1.0
    is_wrong = log_e >= -math.log(WRONG_RATIO)
    shown = ", ".join(f"{arm} {counts[arm]} (planned {share:.0%})" for arm, share in shares.items())
    words = f"Units came as planned: {shown}." if not is_wrong else (
        f"Units did not come as planned: {shown}; p = {p_value:.1g}. Something decides who is counted, so no result of "
        "this experiment can be trusted: find out where units are lost or doubled, then start anew with a new salt.")
    return SampleRatio(p_value, math.exp(min(log_e, 700.0)), is_wrong, words)
