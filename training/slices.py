"""Parts of the test rows: is the second of two runs worse on one of them, and would it have been seen?

1. `find_slices` cuts the rows by label, length, language, newest months, source and copies.
2. `of_right_wrong`, `of_label` and `of_scores` compare two runs on one slice.
3. `weigh_slices` corrects for having looked at many, and says what drop would have been seen.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import scipy

from stats.intervals import Interval
from stats.multiple import holm
from stats.paired import PairedScores, compare_right_wrong, compare_scores
from training.verdict import p_words, signed

MIN_ROWS = 30  # in a smaller slice hardly any drop could be seen
MAX_SHARE = 0.9  # a slice of nearly all rows says what all rows say
KINDS = {"label": "Label", "length": "Length of the text", "language": "Language", "newest": "Newest months",
         "source": "Group", "copies": "Near-copies"}
CRITICAL = ("label", "length", "language", "newest")  # unless somebody has declared others before
LENGTHS = ("short", "middle", "long")
ALPHA = 0.05
DROP = 0.05  # the drop whose power is said
N_RESAMPLES = 2000
N_SWAPS = 10_000


@dataclass(frozen=True)
class Slice:
    """Some of the test rows, by their place among all. kind: one of KINDS; name: which value of it they have."""

    kind: str
    name: str
    rows: np.ndarray


@dataclass(frozen=True)
class Compared:
    """Two runs on a slice of n rows, second minus first; its interval is for this slice alone.

    n_won, n_lost: rows that the second, or the first, answers better.
    p_worse: that the second is no worse; one-sided where it is counted exactly.
    is_whole: answers are right or wrong as a whole, so that losses among the differing rows can be counted.
    """

    n: int
    n_won: int
    n_lost: int
    difference: Interval
    p_worse: float
    is_whole: bool


@dataclass(frozen=True)
class SliceFinding:
    """One slice weighed among the others of its family.

    is_critical: declared before the evaluation, so that it counts in the gate; the others say where to look.
    p_adjusted: by Holm over its family. power: how often a drop of `DROP` would be seen here, in [0, 1].
    """

    kind: str
    name: str
    compared: Compared
    is_critical: bool
    p_adjusted: float
    power: float

    @property
    def is_worse(self) -> bool:
        return self.p_adjusted < ALPHA

    @property
    def blocks(self) -> bool:
        return self.is_critical and self.is_worse

    @property
    def title(self) -> str:
        """“Label: refund”."""
        return f"{KINDS[self.kind]}: {self.name}"

    @property
    def p_words(self) -> str:
        return p_words(self.p_adjusted)

    @property
    def difference_range(self) -> str:
        """The interval as it stands small under the difference: “−12.5 to +1.0”."""
        return f"{signed(self.compared.difference.low)} to {signed(self.compared.difference.high)}"

    @property
    def part(self) -> str:
        """What stands in the address of the page with its rows."""
        return f"{self.kind}:{self.name}"


def find_slices(values: Mapping[str, Sequence[Collection[str]]]) -> list[Slice]:
    """Return the slices of at least MIN_ROWS rows and at most MAX_SHARE of all, kind by kind, the largest first.

    values: per kind what each of the n rows has of it; a row may have several values, or none.
    """
    found = []
    for kind, of_rows in values.items():
        rows: dict[str, list[int]] = {}
        for row, names in enumerate(of_rows):
            for name in names:
                rows.setdefault(name, []).append(row)
        kept = [(name, places) for name, places in rows.items()
                if MIN_ROWS <= len(places) <= MAX_SHARE * len(of_rows)]
        found += [Slice(kind, name, np.array(places)) for name, places in sorted(
            kept, key=lambda item: (-len(item[1]), item[0]))]
    return found


def length_names(texts: Sequence[str]) -> list[list[str]]:
    """Return for each text which third it is in by its characters; texts of one length are in one third."""
    lengths = np.array([len(text) for text in texts])
    first, second = np.quantile(lengths, [1 / 3, 2 / 3])
    return [[LENGTHS[int(n > first) + int(n > second)]] for n in lengths]


def newest_names(observed: Sequence[datetime | None]) -> list[list[str]]:
    """Return “since 2026-03” for each row of the newest calendar months, so many of them as hold MIN_ROWS rows.

    observed: when each text came in, None where nobody knows. Nothing is newest if too few are known.
    """
    months = sorted((at.strftime("%Y-%m") for at in observed if at), reverse=True)
    if len(months) < MIN_ROWS:
        return [[] for _ in observed]
    since = months[MIN_ROWS - 1]
    return [[f"since {since}"] if at and at.strftime("%Y-%m") >= since else [] for at in observed]


def of_right_wrong(first: np.ndarray, second: np.ndarray, *, groups: np.ndarray, seed: int,
                   n_resamples: int = N_RESAMPLES) -> Compared:
    """Compare two answers to each of n rows, right (True) or wrong; rows of one group are drawn and swapped together.

    Where no group is won or lost by more than one row the test is exact (McNemar, one-sided), else groups are swapped
    at random. Source: McNemar 1947, Psychometrika 12; Noreen 1989, Computer-intensive methods for testing hypotheses.
    """
    found = compare_right_wrong(first, second, groups=groups, seed=seed, n_resamples=n_resamples)
    gains = np.bincount(np.unique(groups, return_inverse=True)[1], weights=second.astype(float) - first)
    return Compared(found.n, found.n_won, found.n_lost, found.difference, _p_worse(gains, seed), is_whole=True)


def of_label(gold: np.ndarray, first: np.ndarray, second: np.ndarray, *, groups: np.ndarray, seed: int,
             n_resamples: int = N_RESAMPLES) -> Compared:
    """Compare two runs by the F1 of one label: (n,) bools over all test rows, whether it is right, and whether each
    run says it.

    By F1 and not by the share of its rows that are right: a run that says this label to everything has that at 1. Rows
    won and lost are those that have the label.
    Raises ValueError if no row has the label.
    """
    if not gold.any():
        raise ValueError("no row has the label")
    share = float(gold.mean())
    mine, theirs = (np.column_stack([gold & said, gold, said]).astype(float) for said in (first, second))
    found = compare_scores(mine, theirs, _f1, groups=groups, seed=seed, n_resamples=n_resamples,
                           unseen=(np.array([share] * 3), np.array([0, share, 0])))
    return Compared(int(gold.sum()), int(np.sum(gold & second & ~first)), int(np.sum(gold & first & ~second)),
                    found.difference, _of_swaps(found), is_whole=False)


def of_scores(found: PairedScores) -> Compared:
    """The comparison by a metric that is no share of right rows, as a slice needs it."""
    return Compared(found.n, found.n_won, found.n_lost, found.difference, _of_swaps(found), is_whole=False)


def weigh_slices(slices: Sequence[Slice], compared: Sequence[Compared], *, critical: Collection[str],
                 discordance: float) -> list[SliceFinding]:
    """Weigh each slice among those of its family: the critical kinds are one, all others another.

    discordance: the share of all rows that only one of the two runs has right; slices are too small for their own.
    The power is that of the first step of Holm, so the true one is somewhat higher.
    """
    findings: list[SliceFinding | None] = [None] * len(slices)
    for is_critical in (True, False):
        family = [n for n, one in enumerate(slices) if (one.kind in critical) is is_critical]
        for n, p in zip(family, holm([compared[n].p_worse for n in family]), strict=True):
            one = compared[n]
            power = power_of_drop(one.n, DROP, discordance, alpha=ALPHA / len(family)) if one.is_whole else \
                _power_by_spread(one.difference, ALPHA / len(family))
            findings[n] = SliceFinding(slices[n].kind, slices[n].name, one, is_critical, p, power)
    return [finding for finding in findings if finding]


def power_of_drop(n: int, drop: float, discordance: float, *, alpha: float) -> float:
    """Return how often the exact one-sided test at `alpha` sees a drop on n independent rows, in [0, 1].

    drop: losses minus wins as a share of the rows. discordance: losses plus wins; at least the drop.
    The number of differing rows is binomial, and so are the losses among them.
    """
    discordance = min(max(discordance, drop), 1.0)
    differing = np.arange(n + 1)
    needed = scipy.stats.binom.isf(alpha, differing, 0.5)  # the test rejects at more losses than this
    seen = scipy.stats.binom.sf(needed, differing, (discordance + drop) / (2 * discordance))
    return float(np.sum(scipy.stats.binom.pmf(differing, n, discordance) * seen))


def _power_by_spread(difference: Interval, alpha: float) -> float:
    spread = (difference.high - difference.low) / (2 * scipy.stats.norm.isf(0.025))
    return float(scipy.stats.norm.cdf(DROP / spread - scipy.stats.norm.isf(alpha / 2))) if spread > 0 else 0.0


def _of_swaps(found: PairedScores) -> float:
    """The two-sided p-value of swapping where the second is worse, else 1.

    Not halved, unlike the exact test: that one is conservative by itself on few rows, this one is not.
    """
    return found.p_value if found.difference.estimate < 0 else 1.0


def _p_worse(gains: np.ndarray, seed: int) -> float:
    """gains: (g,) rows won minus rows lost of each group."""
    gains = gains[gains != 0]
    if not len(gains):
        return 1.0
    if np.all(np.abs(gains) == 1):
        return float(scipy.stats.binom.sf(np.sum(gains < 0) - 1, len(gains), 0.5))
    random = np.random.default_rng(seed)
    signs = random.integers(0, 2, size=(N_SWAPS, len(gains))) * 2 - 1
    return float((np.sum(signs @ gains <= gains.sum()) + 1) / (N_SWAPS + 1))


def _f1(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 3) rows rightly said, with the label, said."""
    total = sums[..., 1] + sums[..., 2]
    return np.divide(2 * sums[..., 0], total, out=np.zeros(total.shape), where=total > 0)
