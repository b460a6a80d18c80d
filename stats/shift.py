"""Signals without labels: in what way does this period's traffic differ from the traffic the model was judged on?

None of them says that accuracy has fallen: they say what is new, and which rows to label to know. Each signal has a
test and an effect; it warns where its p-value, adjusted by Holm for all signals of the look, is below .01 and the
effect is large enough to matter, as with much traffic any difference is proven. So without any shift at most 1 % of
looks warn, weekly ones falsely about once in two years or less often.

Sources: Rabanser, Günnemann & Lipton 2019, Failing Loudly, NeurIPS (tests of what the model says do best); Lopez-Paz &
Oquab 2017, Revisiting Classifier Two-Sample Tests, ICLR; Lipton, Wang & Smola 2018, Detecting and Correcting for Label
Shift with Black Box Predictors, ICML. Thresholds on the population stability index are not used: without any shift it
is above .1 in 40 % of looks with 10 bins, 1,000 and 100 rows.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from stats.intervals import Interval
from stats.multiple import holm
from stats.two_samples import share_difference

LEVEL = 0.01
MIN_ROWS = 30  # on each side
MIN_EXPECTED = 5  # of a category on each side; rarer ones are counted together
MAX_ROWS = 2000  # of each side that are compared by meaning
N_FOLDS, RIDGE = 5, 1.0
N_PERMUTATIONS, FIRST_PERMUTATIONS, ENOUGH_AS_GOOD = 1999, 199, 10
MIN_AUC, MIN_MOVED, MIN_MORE = 0.60, 0.05, 0.02
N_EXAMPLES = 20
MIN_TOLD = 5  # texts in which a word stands before it is told: the words of a report outlive the texts
OTHER = "(rarer ones)"


@dataclass(frozen=True)
class Traffic:
    """n requests of a period, one per customer or thread; what a project does not know is None.

    labels: (n,) what the model answered. confidence: (n,) float in [0, 1]. embeddings: (n, d) float rows of length 1.
    lengths: (n,) characters. languages: (n,) codes. words: n sets of words. failed: (n,) bool, answers that could not
    be read as one.
    """

    labels: np.ndarray | None = None
    confidence: np.ndarray | None = None
    embeddings: np.ndarray | None = None
    lengths: np.ndarray | None = None
    languages: np.ndarray | None = None
    words: Sequence[frozenset[str]] | None = None
    failed: np.ndarray | None = None


def joined(first: Traffic, second: Traffic) -> Traffic:
    """Return the rows of both; what one of them does not know is None."""
    def both(name: str) -> Any:
        a, b = getattr(first, name), getattr(second, name)
        if a is None or b is None:
            return None
        return [*a, *b] if name == "words" else np.concatenate([a, b])

    return Traffic(**{name: both(name) for name in vars(first)})


@dataclass(frozen=True)
class Signal:
    """One way in which the traffic may differ.

    effect: in the unit that `words` says, from 0 or .5 (no difference) up. p_value: of this signal alone; p_adjusted:
    by Holm among all signals of the look. rows: row numbers of the current traffic that are most unlike, the most
    unlike first, at most 20: label these.
    """

    name: str
    effect: float
    p_value: float
    p_adjusted: float
    is_warning: bool
    rows: np.ndarray
    words: str


@dataclass(frozen=True)
class _Found:
    """A signal before its p-value is adjusted; is_large: whether the effect matters."""

    name: str
    effect: float
    p_value: float
    is_large: bool
    rows: np.ndarray
    words: str


def shift_signals(reference: Traffic, current: Traffic, *, seed: int, n_rows: int = N_EXAMPLES) -> list[Signal]:
    """Compare the current traffic with the reference by everything that both know, warnings first, then by p-value.

    reference: traffic of the time of the evaluation, or the test rows if they were drawn from traffic; the rows must
    not be among the current ones. A signal with fewer than 30 rows on a side is left out.
    Raises ValueError if what one of them knows is of different lengths.
    """
    for traffic in (reference, current):
        _check(traffic)
    found = [signal for signal in (
        _labels(reference.labels, current.labels), _confidence(reference.confidence, current.confidence),
        _meaning(reference.embeddings, current.embeddings, seed),
        _strangers(reference.embeddings, current.embeddings, seed),
        _lengths(reference.lengths, current.lengths), _languages(reference.languages, current.languages),
        _vocabulary(reference.words, current.words, seed), _failures(reference.failed, current.failed)) if signal]
    adjusted = holm([signal.p_value for signal in found])
    signals = []
    for one, p in zip(found, adjusted, strict=True):
        is_warning = p < LEVEL and one.is_large
        said = one.words if is_warning else f"No clear change. {one.words}"
        signals.append(Signal(one.name, one.effect, one.p_value, p, is_warning, one.rows[:n_rows], said))
    return sorted(signals, key=lambda signal: (not signal.is_warning, signal.p_value))


@dataclass(frozen=True)
class LabelShares:
    """shares: (K,) float, how often each label truly occurs now, sums to 1; None where `why_not` says a reason."""

    shares: np.ndarray | None
    why_not: str


def label_shares(gold: np.ndarray, answered: np.ndarray, answered_now: np.ndarray, *, n_labels: int) -> LabelShares:
    """Estimate how often each label truly occurs in traffic nobody labelled, if only the labels' shares have changed.

    gold, answered: (n,) int codes in [0, n_labels) of the evaluation's rows. answered_now: (m,) of the traffic.
    Solves C q = what is answered, C being the joint shares of answer and gold (BBSE, Lipton et al. 2018). Refused where
    a label has fewer than 10 gold rows or C is too close to singular (condition number above 100).
    """
    if gold.shape != answered.shape or gold.ndim != 1:
        raise ValueError(f"gold and answered must be (n,), got {gold.shape} and {answered.shape}")
    joint = np.zeros((n_labels, n_labels))
    np.add.at(joint, (answered, gold), 1.0)
    fewest = int(joint.sum(axis=0).min())
    if fewest < 10 or not len(answered_now):
        return LabelShares(None, f"A label has only {fewest} evaluated examples; 10 are needed." if fewest < 10 else
                           "There is no traffic yet.")
    condition = float(np.linalg.cond(joint / joint.sum(axis=0)))
    if condition > 100:
        return LabelShares(None, "The model confuses some labels so much that their shares cannot be told apart "
                           f"(condition number {condition:.0f}, at most 100).")
    now = np.bincount(answered_now, minlength=n_labels) / len(answered_now)
    shares = np.clip(np.linalg.solve(joint / joint.sum(axis=0), now), 0, None)
    return LabelShares(shares / shares.sum(), "")


def _labels(before: np.ndarray | None, now: np.ndarray | None) -> _Found | None:
    return _categories("labels", "The model's answers", before, now)


def _languages(before: np.ndarray | None, now: np.ndarray | None) -> _Found | None:
    return _categories("languages", "Languages", before, now)


def _categories(name: str, what: str, before: np.ndarray | None, now: np.ndarray | None) -> _Found | None:
    """Chi-squared test of two sets of categories; the effect is the share of rows that would have to change theirs."""
    if before is None or now is None or min(len(before), len(now)) < MIN_ROWS:
        return None
    old, new = Counter(before.tolist()), Counter(now.tolist())
    least = MIN_EXPECTED * (len(before) + len(now)) / min(len(before), len(now))
    kind_of = {key: str(key) if old[key] + new[key] >= least else OTHER for key in old.keys() | new.keys()}
    shown = sorted(set(kind_of.values()))
    counted = np.array([[sum(n for key, n in counts.items() if kind_of[key] == kind) for kind in shown]
                        for counts in (old, new)], dtype=float)
    p_value = float(scipy.stats.chi2_contingency(counted, correction=False).pvalue) if len(shown) > 1 else 1.0
    change = counted[1] / len(now) - counted[0] / len(before)
    moved, most, grown = float(np.abs(change).sum() / 2), int(np.abs(change).argmax()), shown[int(change.argmax())]
    is_grown = np.array([kind_of[value] == grown for value in now.tolist()])
    return _Found(name, moved, p_value, moved >= MIN_MOVED, np.flatnonzero(is_grown),
                  f"{what}: {moved:.1%} would have to be others for the shares to be as before; most of all "
                  f"“{shown[most]}” went from {counted[0, most] / len(before):.1%} to "
                  f"{counted[1, most] / len(now):.1%} "
                  f"(n = {len(before)} and {len(now)}).")


def _confidence(before: np.ndarray | None, now: np.ndarray | None) -> _Found | None:
    if before is None or now is None or min(len(before), len(now)) < MIN_ROWS:
        return None
    p_value, higher = _ranks(before, now)
    effect = max(higher, 1 - higher)
    return _Found("confidence", effect, p_value, effect >= MIN_AUC, np.argsort(now, kind="stable"),
                  f"Confidence: a new answer is surer than one from before with a chance of {higher:.0%} (median "
                  f"{np.median(before):.2f}, now {np.median(now):.2f}).")


def _lengths(before: np.ndarray | None, now: np.ndarray | None) -> _Found | None:
    if before is None or now is None or min(len(before), len(now)) < MIN_ROWS:
        return None
    p_value, higher = _ranks(before, now)
    effect = max(higher, 1 - higher)
    unlike = now if higher >= 0.5 else -now
    return _Found("lengths", effect, p_value, effect >= MIN_AUC, np.argsort(-unlike, kind="stable"),
                  f"Length: a new text is longer than one from before with a chance of {higher:.0%} (median "
                  f"{np.median(before):.0f} characters, now {np.median(now):.0f}).")


def _meaning(before: np.ndarray | None, now: np.ndarray | None, seed: int) -> _Found | None:
    """Can a linear classifier tell new rows from old ones? AUC on held-out folds, p-value by permuting who is new.

    The classifier is ridge regression, so all permutations are fitted at once. Where 10 of the first 199 are as good,
    no more are drawn: Besag & Clifford 1991, Sequential Monte Carlo p-values, Biometrika 78.
    """
    if before is None or now is None or min(len(before), len(now)) < MIN_ROWS:
        return None
    random = np.random.default_rng(seed)
    old_rows, new_rows = (_some(len(rows), random) for rows in (before, now))
    x = np.concatenate([before[old_rows], now[new_rows]]).astype(float)
    x = np.hstack([x - x.mean(axis=0), np.ones((len(x), 1))])
    is_new = np.arange(len(x)) >= len(old_rows)
    fold = np.empty(len(x), dtype=int)
    for side in (~is_new, is_new):  # each fold has the same share of new rows
        fold[side] = random.permutation(np.arange(side.sum()) % N_FOLDS)
    observed, scores = _held_out(x, fold, is_new[:, None])
    n_as_good = n_permuted = 0
    for n_more in (FIRST_PERMUTATIONS, N_PERMUTATIONS - FIRST_PERMUTATIONS):
        permuted = np.repeat(is_new[:, None], n_more, axis=1)
        for k in range(N_FOLDS):  # within folds, so that each keeps its share
            permuted[fold == k] = random.permuted(permuted[fold == k], axis=0)
        n_as_good += int(np.sum(_held_out(x, fold, permuted)[0] >= observed[0] - 1e-9))
        n_permuted += n_more
        if n_as_good >= ENOUGH_AS_GOOD:
            break
    auc, p_value = float(observed[0]), (n_as_good + 1) / (n_permuted + 1)
    order = new_rows[np.argsort(-scores[is_new], kind="stable")]
    return _Found("meaning", auc, p_value, auc >= MIN_AUC, order,
                  f"Meaning: of a new and an old text a simple classifier tells the new one in {auc:.0%} of cases; "
                  "50 % would be guessing.")


def _held_out(x: np.ndarray, fold: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(c,) mean AUC over the folds for each column of answers (n, c), and the first column's (n,) held-out scores."""
    auc, scores = np.zeros(answers.shape[1]), np.zeros(len(x))
    for k in range(N_FOLDS):
        train, test = x[fold != k], x[fold == k]
        weights = np.linalg.solve(train.T @ train + RIDGE * np.eye(x.shape[1]), train.T @ answers[fold != k])
        predicted = test @ weights
        auc += _auc(predicted, answers[fold == k]) / N_FOLDS
        scores[fold == k] = predicted[:, 0]
    return auc, scores


def _strangers(before: np.ndarray | None, now: np.ndarray | None, seed: int) -> _Found | None:
    """The share of new rows that are further from half of the old ones than all but 1 % of the other half.

    Were old and new alike, the number of new rows so far off would be negative hypergeometric: the test is exact.
    """
    if before is None or now is None or min(len(before) // 2, len(now)) < MIN_ROWS:
        return None
    order = np.random.default_rng(seed).permutation(len(before))
    base, others = before[order[::2]], before[order[1::2]]
    old, new = _nearest(others, base), _nearest(now, base)
    n_far_old = max(1, round(0.01 * len(old)))
    border = float(np.sort(old)[n_far_old - 1])
    n_far = int(np.sum(new < border))
    p_value = float(scipy.stats.nhypergeom(len(old) + len(new), len(new), n_far_old).sf(n_far - 1)) if n_far else 1.0
    more = n_far / len(new) - n_far_old / len(old)
    return _Found("new kinds", n_far / len(new), p_value, more >= MIN_MORE, np.argsort(new, kind="stable"),
                  f"New kinds: {n_far / len(new):.1%} of the new texts are unlike everything before (of the old ones "
                  f"{n_far_old / len(old):.1%} are).")


def _vocabulary(before: Sequence[frozenset[str]] | None, now: Sequence[frozenset[str]] | None,
                seed: int) -> _Found | None:
    """Words that half of the old rows do not have: their share in new rows beside that in the other half."""
    if before is None or now is None or min(len(before) // 2, len(now)) < MIN_ROWS:
        return None
    order = np.random.default_rng(seed).permutation(len(before))
    known = frozenset[str]().union(*(before[row] for row in order[::2]))
    old, new = (np.array([len(words - known) / max(len(words), 1) for words in rows])
                for rows in ([before[row] for row in order[1::2]], now))
    p_value, higher = _ranks(old, new)
    p_value = p_value if higher > 0.5 else 1.0  # fewer unknown words than before need nobody's attention
    often = Counter(word for words in now for word in words - known)
    told = ", ".join(f"“{word}” in {n}" for word, n in sorted(often.items(), key=lambda item: (-item[1], item[0]))[:3]
                     if n >= MIN_TOLD)
    return _Found("vocabulary", float(new.mean()), p_value, bool(new.mean() - old.mean() >= MIN_MORE),
                  np.argsort(-new, kind="stable"),
                  f"Words: {new.mean():.1%} of a new text's words were unknown, of an old one's {old.mean():.1%}"
                  + (f"; most often {told} texts." if told else "."))


def _failures(before: np.ndarray | None, now: np.ndarray | None) -> _Found | None:
    if before is None or now is None or min(len(before), len(now)) < MIN_ROWS:
        return None
    old, new = int(before.sum()), int(now.sum())
    table = [[new, len(now) - new], [old, len(before) - old]]
    p_value = float(scipy.stats.fisher_exact(table, alternative="greater").pvalue)
    change: Interval = share_difference(new, len(now), old, len(before))
    return _Found("failures", new / len(now), p_value, change.estimate >= MIN_MORE, np.flatnonzero(now),
                  f"Failures: {new} of {len(now)} answers could not be read ({new / len(now):.1%}), before {old} of "
                  f"{len(before)} ({old / len(before):.1%}).")


def _ranks(before: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """The two-sided Mann-Whitney p-value, and how often a new value is above an old one, ties counted as half."""
    found = scipy.stats.mannwhitneyu(now, before, alternative="two-sided", method="asymptotic")
    p_value = float(found.pvalue)
    return (1.0 if np.isnan(p_value) else p_value), float(found.statistic) / (len(now) * len(before))


def _auc(scores: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """(c,) AUC of each column of (n, c) scores; every column has as many new rows."""
    ranks = scipy.stats.rankdata(scores, axis=0)
    n_new = int(is_new[:, 0].sum())
    summed = np.where(is_new, ranks, 0).sum(axis=0)
    return np.asarray((summed - n_new * (n_new + 1) / 2) / (n_new * (len(scores) - n_new)))


def _nearest(rows: np.ndarray, base: np.ndarray, block: int = 1000) -> np.ndarray:
    """(n,) cosine of each row with the nearest of `base`."""
    return np.concatenate([(rows[start:start + block] @ base.T).max(axis=1) for start in range(0, len(rows), block)])


def _some(n: int, random: np.random.Generator) -> np.ndarray:
    """At most MAX_ROWS row numbers, rising."""
    return np.arange(n) if n <= MAX_ROWS else np.sort(random.choice(n, MAX_ROWS, replace=False))


def _check(traffic: Traffic) -> None:
    lengths = {name: len(value) for name, value in vars(traffic).items() if value is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all that is known of the traffic must be of the same rows, got {lengths}")
