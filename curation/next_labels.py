"""Which examples people should be asked about next: those whose answers are not sure yet, then new ones.

1. `judge`: CROWDLAB says how sure each consensus is, ActiveLab which example gains most from one more label.
2. `next_labels`: examples below the target that have fewer answers than the cap get one more each, lowest score first.
3. The rest of the labels goes to examples that nobody has labelled: low scores, but unlike each other.
Nothing is chosen twice, and of near-duplicates one. Where no example can gain any more, `words` says so.
Source: Goh & Mueller 2023, ActiveLab, arXiv 2301.11856; the target and the cap are ours.
"""

from dataclasses import dataclass

import numpy as np

from projects.wording import count_words, percent_words
from stats.activelab import activelab, choose_batch
from stats.crowdlab import crowdlab

TARGET, CAP = 0.9, 5


@dataclass(frozen=True)
class Judged:
    """Per example `score`, the lowest gains most from one more label, and `quality` of what its answers say together.

    Both (n,) float in [0, 1]; nan where nothing can be said, quality also where nobody has answered.
    """

    score: np.ndarray
    quality: np.ndarray


def judge(example: np.ndarray, annotator: np.ndarray, label: np.ndarray, pred_probs: np.ndarray) -> Judged:
    """Return the score and quality of every example from its votes and a classifier's probabilities.

    example, annotator, label: (n_votes,) int, one vote each: the row and the column of `pred_probs`, any number that
    names the annotator. Rows without a vote are judged as unlabelled.
    pred_probs: (n, K) float, K >= 2, rows sum to 1, by a classifier that did not see the row; nan in rows that it says
    nothing about, whose score and quality are nan.
    Where no example has two votes, quality is the probability of the label.
    """
    n, is_known = len(pred_probs), ~np.isnan(pred_probs).any(axis=1)
    kept = is_known[example]
    example, annotator, label = example[kept], annotator[kept], label[kept]
    has_vote = np.bincount(example, minlength=n) > 0
    labelled, unlabelled = np.flatnonzero(has_vote), np.flatnonzero(is_known & ~has_vote)
    votes = (np.searchsorted(labelled, example), annotator, label)
    found = activelab(*votes, pred_probs[labelled], pred_probs[unlabelled])
    score, quality = np.full(n, np.nan), np.full(n, np.nan)
    score[labelled], score[unlabelled] = found.labelled, found.unlabelled
    if len(example) > len(labelled):
        quality[labelled] = crowdlab(*votes, pred_probs[labelled]).consensus_quality
    else:
        quality[example] = pred_probs[example, label]
    return Judged(score, quality)


@dataclass(frozen=True)
class NextLabels:
    """What to ask, in this order: `again` (m,) and then `new` (k,), row numbers.

    at_cap: (c,) rows below the target that have as many answers as may be; nobody_left: (d,) rows below the target
    that everybody has had already. Both wait for an adjudicator.
    n_waiting: below the target, but they or a near-duplicate are in an open batch. n_later, n_new_later: examples that
    would have come next.
    """

    again: np.ndarray
    new: np.ndarray
    at_cap: np.ndarray
    nobody_left: np.ndarray
    n_waiting: int
    n_later: int
    n_new_later: int

    @property
    def n(self) -> int:
        return len(self.again) + len(self.new)

    @property
    def is_sure(self) -> bool:
        """Whether no example is left that one more answer could settle."""
        return not len(self.again) and not self.n_waiting and not self.n_later


def next_labels(judged: Judged, n_answers: np.ndarray, clusters: np.ndarray, embeddings: np.ndarray, *,
                may_ask: np.ndarray, is_asked: np.ndarray, has_somebody: np.ndarray, n: int, target: float = TARGET,
                cap: int = CAP, seed: int = 0) -> NextLabels:
    """Return which rows get one more label each, n at most.

    n_answers: (N,) int. clusters: (N,) int, equal for near-duplicates. embeddings: (N, d) float of length 1.
    may_ask: (N,) bool, rows that may be chosen by a score: of the pool, neither settled nor excluded.
    is_asked: (N,) bool, rows in an open batch; none of their clusters is chosen.
    has_somebody: (N,) bool, whether somebody is left who has not had the row.
    A new row whose cluster is labelled already is not chosen: of a cluster one label is enough. Where no score is
    known, new rows are drawn by `seed`, unlike each other.
    Raises ValueError unless n >= 1, cap >= 1 and target in (0, 1].
    """
    if n < 1 or cap < 1 or not 0 < target <= 1:
        raise ValueError(f"n and cap must be at least 1 and target in (0, 1], got {n}, {cap} and {target}")
    is_free = may_ask & ~np.isin(clusters, clusters[is_asked])
    is_labelled = n_answers > 0
    is_unsure = may_ask & is_labelled & (judged.quality < target)  # nan is not below
    can_gain = is_unsure & (n_answers < cap)
    again = _one_per_cluster(np.flatnonzero(can_gain & is_free & has_somebody), judged.score, clusters)
    is_new = is_free & ~is_labelled & has_somebody & ~np.isin(clusters, clusters[is_labelled | np.isin(
        clusters, clusters[again])])
    order = np.random.default_rng(seed).random(len(clusters))
    score = np.where(np.isnan(judged.score), order, judged.score)
    new = _one_per_cluster(np.flatnonzero(is_new), score, clusters)
    chosen = new[choose_batch(score[new], embeddings[new], max(0, n - len(again)))]
    return NextLabels(
        again=again[:n], new=chosen, at_cap=np.flatnonzero(is_unsure & (n_answers >= cap)),
        nobody_left=np.flatnonzero(can_gain & is_free & ~has_somebody),
        n_waiting=int(np.sum(can_gain & ~is_free)), n_later=len(again) - len(again[:n]),
        n_new_later=len(new) - len(chosen))


def words(found: NextLabels, *, target: float, cap: int) -> list[str]:
    """Return what will be asked and why, a sentence each, and where asking again has come to its end."""
    again, new, sure = len(found.again), len(found.new), percent_words(target, 0)
    said = []
    if found.n:
        parts = [f"{count_words(again)} for {_examples(again)} whose answers are not sure yet"] if again else []
        parts += [f"{count_words(new)} for new {'texts' if new != 1 else 'text'}"] if new else []
        said.append(f"{count_words(found.n)} {'labels' if found.n != 1 else 'label'}: {', '.join(parts)}.")
    if found.n_later:
        said.append(f"{count_words(found.n_later)} more are below {sure}, and wait for the next round.")
    if found.n_waiting:
        said.append(f"{count_words(found.n_waiting)} more are below {sure}, and an open batch asks about them or a "
                    "near-duplicate already.")
    ends = [f"at the cap of {cap} answers"] * bool(len(found.at_cap)) + [
        "with nobody left to ask"] * bool(len(found.nobody_left))
    n_ended = count_words(len(found.at_cap) + len(found.nobody_left))
    if found.is_sure:
        asks = f": ask an adjudicator for the {n_ended} that end{'s' * (n_ended == '1')} so" if ends else ""
        said.append(f"Every consensus that can be judged is {', or '.join([f'at or above {sure}', *ends])}{asks}.")
    elif ends:
        said.append(f"{n_ended} below {sure} {_are(n_ended)} {', or '.join(ends)}: ask an adjudicator.")
    if not found.n and not found.n_new_later and not found.n_waiting:
        said.append("No text is left that nobody has labelled. Nothing needs to be asked.")
    return said


def _one_per_cluster(rows: np.ndarray, score: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return the rows by score, low first, of equal ones the earlier; of each cluster the first."""
    ordered = rows[np.argsort(score[rows], kind="stable")]
    _, first = np.unique(clusters[ordered], return_index=True)
    return ordered[np.sort(first)]


def _examples(n: int) -> str:
    return "examples" if n != 1 else "an example"


def _are(n: str) -> str:
    return "are" if n != "1" else "is"
