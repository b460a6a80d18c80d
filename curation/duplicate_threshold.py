"""From which cosine on two texts say the same: asked of people, over all cosines where the answer is in doubt.

1. Pairs are drawn evenly from N_BINS bins of cosine between LOWEST and 1 (`sample_pairs`).
2. A curator says of each whether both texts say the same.
3. The chance of “the same” is taken to rise with the cosine as a logistic curve. Its two numbers are known no better
   than the judgements tell: every curve counts by how well it explains them (flat prior over middle and log of the
   slope, on a grid, so there is nothing to converge and one-sided answers do no harm).
4. The precision of a threshold is the share of “the same” among all pairs from it up, the bins weighed by how many
   pairs of the corpus they hold. The lowest threshold whose 95 % interval of precision lies above PRECISION is taken.
"""

from dataclasses import dataclass

import numpy as np

from curation.similar_pairs import BLOCK
from jobs.progress import Progress, silent
from stats.intervals import Interval

DEFAULT = 0.95  # at .90 short texts chain into large groups: docs/decisions/0003
PRECISION = 0.95
LOWEST, N_BINS = 0.70, 10
PER_BIN = 20
MIN_JUDGED = 60  # 59 answers, all of them “the same”, are the fewest that speak for a share above .95 at 95 %
STEPS = 6  # thresholds that are tried within one bin: every .005
SAMPLED_ROWS = 1024
_MIDDLES = np.linspace(0.4, 1.1, 71)
_SLOPES = np.geomspace(5, 500, 41)


@dataclass(frozen=True)
class PairSample:
    """rows_a, rows_b, similarity: the pairs drawn, at most PER_BIN of a bin, bin by bin from the most similar down.

    n_in_bin: (N_BINS,) float, how many pairs of different texts the corpus has in each bin, as the sampled rows say;
    the lowest bin first.
    """

    rows_a: np.ndarray
    rows_b: np.ndarray
    similarity: np.ndarray
    n_in_bin: np.ndarray


@dataclass(frozen=True)
class Threshold:
    """value: the cosine in (0, 1] from which two texts count as the same. why: in words, with what it rests on.

    precision: share of the same among the pairs from `value` up, as people say; None until enough was judged.
    n_judged: judgements so far.
    """

    value: float
    why: str
    n_judged: int
    precision: Interval | None = None
    is_calibrated: bool = False


def bin_of(similarity: np.ndarray) -> np.ndarray:
    """The bin of each cosine, 0 to N_BINS - 1, -1 below LOWEST."""
    found = np.floor((np.asarray(similarity) - LOWEST) / (1 - LOWEST) * N_BINS + 1e-6).astype(int)
    return np.clip(found, -1, N_BINS - 1)


def sample_pairs(embeddings: np.ndarray, rows: np.ndarray, *, seed: int = 0, per_bin: int = PER_BIN,
                 progress: Progress = silent) -> PairSample:
    """Draw pairs to be judged: up to SAMPLED_ROWS random rows are compared with all others.

    embeddings: (n, d) float32, every row of length 1. rows: the numbers of those to pair, all of different texts.
    """
    random = np.random.default_rng(seed)
    sampled = np.sort(random.permutation(rows)[:SAMPLED_ROWS])
    counts = np.zeros(N_BINS)
    drawn = np.empty((0, 5))  # bin, lot, row a, row b, cosine
    for start in range(0, len(rows), BLOCK):
        others = rows[start:start + BLOCK]
        products = embeddings[sampled] @ embeddings[others].T
        flat = np.flatnonzero(products.ravel() >= LOWEST)
        a, b, cosine = sampled[flat // len(others)], others[flat % len(others)], products.ravel()[flat]
        both_sampled = np.isin(b, sampled)
        keep = ~both_sampled | (a < b)  # such a pair comes twice
        counts += np.bincount(bin_of(cosine[a != b]), minlength=N_BINS)[:N_BINS]
        found = np.stack([bin_of(cosine), random.random(len(flat)), np.minimum(a, b), np.maximum(a, b),
                          np.minimum(cosine, 1)], axis=1)[keep & (a != b)]
        drawn = _first_of_bins(np.concatenate([drawn, found]), per_bin)
        progress("Drawing pairs to judge", start, len(rows))
    return PairSample(drawn[:, 2].astype(np.intp), drawn[:, 3].astype(np.intp), drawn[:, 4],
                      counts * len(rows) / max(1, len(sampled)) / 2)


def _first_of_bins(drawn: np.ndarray, per_bin: int) -> np.ndarray:
    """At most per_bin of each bin, those of the lowest lots; the highest bin first."""
    drawn = drawn[np.lexsort((drawn[:, 1], -drawn[:, 0]))]
    place = np.arange(len(drawn)) - np.searchsorted(-drawn[:, 0], -drawn[:, 0])
    return drawn[place < per_bin]


def threshold_from(similarity: np.ndarray, is_same: np.ndarray, n_in_bin: np.ndarray) -> Threshold:
    """The threshold that the judgements support, DEFAULT until there are enough or if none is precise enough.

    similarity, is_same: (n,) the judged pairs. n_in_bin: (N_BINS,) how many pairs of the corpus each bin holds.
    """
    n = len(similarity)
    if n < MIN_JUDGED:
        return Threshold(DEFAULT, f"{DEFAULT:.2f} is the default: {n} of at least {MIN_JUDGED} pairs are judged.", n)
    cosines, low, estimate, high = _precision(np.asarray(similarity, float), np.asarray(is_same, bool),
                                              np.asarray(n_in_bin, float))
    enough = np.flatnonzero((low >= PRECISION) & (cosines >= np.min(similarity) - 1e-9))
    if not len(enough):
        return Threshold(DEFAULT, f"{DEFAULT:.2f} is the default: by the {n} pairs judged no threshold is sure to join "
                         f"at least {PRECISION:.0%} rightly.", n)
    at = enough[0]
    precision = Interval(float(estimate[at]), float(low[at]), float(high[at]), n, 0.95)
    return Threshold(float(cosines[at]), f"{cosines[at]:.3f} is the lowest at which people say “the same” of at least "
                     f"{PRECISION:.0%} of the pairs that are joined: {precision.estimate:.1%}, 95 % interval "
                     f"{precision.low:.1%} to {precision.high:.1%}, {n} pairs judged.", n, precision, True)


def _precision(similarity: np.ndarray, is_same: np.ndarray, n_in_bin: np.ndarray) -> tuple[np.ndarray, ...]:
    """Thresholds, ascending, and of each the precision: lower end, median and upper end of its 95 % interval."""
    middle, slope = (axis.ravel() for axis in np.meshgrid(_MIDDLES, _SLOPES))
    signed = np.where(is_same, 1, -1)
    log_weight = -np.logaddexp(0, -signed * slope[:, None] * (similarity - middle[:, None])).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    cosines = LOWEST + (1 - LOWEST) * np.arange(N_BINS * STEPS) / (N_BINS * STEPS)
    inside = cosines + (1 - LOWEST) / (N_BINS * STEPS) / 2
    chance = 1 / (1 + np.exp(-slope[:, None] * (inside - middle[:, None])))
    n_pairs = np.repeat(np.maximum(n_in_bin, 1e-6), STEPS)
    precision = (np.cumsum((chance * n_pairs)[:, ::-1], axis=1) / np.cumsum(n_pairs[::-1]))[:, ::-1]
    order = np.argsort(precision, axis=0)
    reached = np.cumsum(weight[order], axis=0) / weight.sum()
    at = [np.argmax(reached >= share, axis=0) for share in (0.025, 0.5, 0.975)]
    low, estimate, high = (np.take_along_axis(precision, order, axis=0)[place, np.arange(len(cosines))]
                           for place in at)
    return cosines, low, estimate, high
