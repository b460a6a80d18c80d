"""Examples with known answers: when is an annotator's record bad enough to act on, and when is an exam passed."""

from dataclasses import dataclass

import numpy as np

from stats.betting import LARGEST_LOG, log_growth


@dataclass(frozen=True)
class HoneypotEvidence:
    """The evidence, after each answer, that an annotator's accuracy is below the floor.

    e_values: (n,) float >= 0: what a gambler who bets against the annotator, starting with 1, has after each answer.
    flagged_at: after how many answers it first reached 1 / alpha; None if it did not.
    n_right: how many of the n answers were right.
    """

    e_values: np.ndarray
    flagged_at: int | None
    n_right: int


def honeypot_evidence(is_right: np.ndarray, *, floor: float, alpha: float = 0.05) -> HoneypotEvidence:
    """Return the betting evidence against "accuracy is at least `floor`".

    is_right: (n,) bool, the annotator's answers to known examples in the order in which they were given.
    floor: the accuracy asked for, in (0, 1).
    Whoever is right with a chance of at least the floor on each example, whatever came before, is ever flagged with a
    chance of at most alpha, however often one looks. The bets are a fixed mixture: for each of 24 accuracies below the
    floor the bet that grows fastest there.
    Source: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting, JRSS B 86; Ville 1939.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}")
    is_right = np.asarray(is_right, dtype=bool)
    growth = np.cumsum(log_growth(is_right, floor), axis=0)
    e_values = np.exp(np.minimum(growth, LARGEST_LOG)).mean(axis=1)
    reached = np.flatnonzero(e_values >= 1 / alpha)
    return HoneypotEvidence(e_values, int(reached[0]) + 1 if len(reached) else None, int(is_right.sum()))
