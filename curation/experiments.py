"""The same recipe on different training rows: which does better on the same held-out rows, and by how much.

1. A logistic regression on frozen embeddings learns each arm, once per seed where the arm's rows are drawn.
2. How strongly it is held back (C) is chosen on one half of the judging rows and judged on the other, and the other way
   round, so that no row helps to choose what judges it.
3. Arms are compared row by row; the interval of a difference comes from drawing groups of rows and seeds anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.progress import Progress, silent
from projects.wording import percent_words, point_words
from stats.intervals import Interval, percentiles

CHOICES = (1.0, 10.0)  # of C
N_RESAMPLES = 2_000


@dataclass(frozen=True)
class Judge:
    """Held-out rows: embeddings (n, d) of length 1, n labels, and groups (n,) of rows that belong together."""

    embeddings: np.ndarray
    labels: Sequence[str]
    groups: np.ndarray

    @property
    def halves(self) -> np.ndarray:
        """(n,) bool: a half of the groups, every second one in order."""
        _, group = np.unique(self.groups, return_inverse=True)
        return np.asarray(group % 2 == 0)


@dataclass(frozen=True)
class Training:
    """Training rows of one draw: embeddings (m, d) of length 1 and m labels."""

    embeddings: np.ndarray
    labels: Sequence[str]


def answered(draws: Sequence[Training], judge: Judge, *, progress: Progress = silent,
             stage: str = "Fitting") -> np.ndarray:
    """Return (s, n) labels: what the recipe says of each judging row after learning each of the s draws.

    A draw with a single label always says that label. Raises ValueError without draws, judging rows or training rows.
    """
    if not draws or not len(judge.labels) or not all(len(draw.labels) for draw in draws):
        raise ValueError("an arm needs draws, and draws and judge need rows, got "
                         f"{[len(draw.labels) for draw in draws]} and {len(judge.labels)}")
    gold, halves, found = np.asarray(judge.labels, dtype=object), judge.halves, []
    for number, draw in enumerate(draws):
        said = np.stack([_said(draw, judge, c) for c in CHOICES])
        best_on = [int((said == gold)[:, half].mean(axis=1).argmax()) if half.any() else 0
                   for half in (halves, ~halves)]
        found.append(np.where(halves, said[best_on[1]], said[best_on[0]]))
        progress(stage, number + 1, len(draws))
    return np.stack(found)


def judged(draws: Sequence[Training], judge: Judge, *, progress: Progress = silent,
           stage: str = "Fitting") -> np.ndarray:
    """Return (s, n) bool: which judging rows `answered` gets right."""
    return np.asarray(answered(draws, judge, progress=progress, stage=stage) == np.asarray(judge.labels, dtype=object),
                      dtype=bool)


def mean_accuracy(right: np.ndarray, groups: np.ndarray, *, seed: int) -> Interval:
    """Return the mean accuracy over seeds and rows of right (s, n) with its interval, as `difference` has it."""
    low, high = percentiles(_resampled(right.astype(float), groups, seed, pseudo=False), 0.95)
    return Interval(float(right.mean()), low, high, right.shape[1])


def difference(first: np.ndarray, second: np.ndarray, groups: np.ndarray, *, seed: int) -> Interval:
    """Return accuracy(second) − accuracy(first) with its paired 95 % interval.

    first, second: (s, n) bool over the same rows; one with a single draw is held against every draw of the other, and
    two with several are paired seed by seed. groups: (n,); groups and seeds are drawn anew together, so with three
    seeds the interval is a little too narrow for the drawing. Two groups of one row, one won by each side, are added,
    in the manner of Agresti & Min 2005 (see stats.paired).
    Raises ValueError if both have several draws and not as many.
    """
    if 1 not in (len(first), len(second)) and len(first) != len(second):
        raise ValueError(f"arms with several draws must have as many, got {len(first)} and {len(second)}")
    gains = second.astype(float) - first
    low, high = percentiles(_resampled(gains, groups, seed, pseudo=True), 0.95)
    return Interval(float(gains.mean()), low, high, gains.shape[1])


def difference_draws(first: np.ndarray, second: np.ndarray, groups: np.ndarray, *, seed: int) -> np.ndarray:
    """Return (N_RESAMPLES,) resampled differences, as `difference` takes its interval from."""
    return _resampled(second.astype(float) - first, groups, seed, pseudo=True)


def verdict(names: Sequence[str], accuracies: Sequence[Interval], differences: Sequence[Interval | None]) -> list[str]:
    """Return what an experiment says, the headline first; differences are to the first arm, None for that one.

    An arm wins or loses where the interval of its difference excludes 0; otherwise nothing is shown.
    """
    first = f"“{names[0]}” ({percent_words(accuracies[0].estimate)} right)"
    better = [k for k, gap in enumerate(differences) if gap is not None and gap.low > 0]
    worse = [k for k, gap in enumerate(differences) if gap is not None and gap.high < 0]
    open_ = [k for k, gap in enumerate(differences) if gap is not None and gap.low <= 0 <= gap.high]

    def told(k: int) -> str:
        gap = differences[k]
        assert gap is not None
        ends = [point_words(end).removesuffix(" points") for end in (gap.low, gap.high)]
        return f"“{names[k]}” ({point_words(gap.estimate)}, {ends[0]} to {ends[1]})"

    sentences = []
    if better:
        best = sorted(better, key=lambda k: -accuracies[k].estimate)
        sentences.append(f"On these data {_and([told(k) for k in best])} beat{'s' if len(best) == 1 else ''} {first}.")
    if worse:
        sentences.append(f"{_and([told(k) for k in worse])} lose{'s' if len(worse) == 1 else ''} against {first}.")
    if open_:
        sentences.append(f"No difference is shown between {first} and {_and([told(k) for k in open_])}.")
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _said(draw: Training, judge: Judge, c: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression  # here: those who import this module seldom call it

    labels = np.asarray(draw.labels, dtype=object).astype(str)
    if len(set(labels)) == 1:
        return np.full(len(judge.labels), labels[0], dtype=object)
    model = LogisticRegression(C=c, max_iter=300).fit(np.asarray(draw.embeddings, dtype=np.float32), labels)
    return np.asarray(model.predict(np.asarray(judge.embeddings, dtype=np.float32)), dtype=object)


def _resampled(values: np.ndarray, groups: np.ndarray, seed: int, *, pseudo: bool) -> np.ndarray:
    """Return (N_RESAMPLES,) means of values (s, n) over groups and seeds that are drawn anew."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(group, weights=row) for row in values])
    sizes = np.bincount(group).astype(float)
    if pseudo:
        sums = np.hstack([sums, np.tile([1.0, -1.0], (len(sums), 1))])
        sizes = np.append(sizes, [1.0, 1.0])
    random = np.random.default_rng(seed)
    n_seeds, n_groups = sums.shape
    found = []
    for _ in range(0, N_RESAMPLES, 200):
        of_seed = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=200) / n_seeds
        of_group = random.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=200)
        found.append(((of_seed @ sums) * of_group).sum(axis=1) / (of_group @ sizes))
    return np.concatenate(found)
