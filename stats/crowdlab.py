"""CROWDLAB: what several annotators and a classifier say together about each example, and how good each of them is.

1. The majority label of each example is a first consensus.
2. Each annotator weighs as much as they agree with the others, the classifier as much as it agrees with the consensus.
3. The weighted mean of the classifier's probabilities and the votes is the posterior; its best label is the consensus.
4. Weights, posterior and qualities are computed once more from that consensus.

Source: Goh et al. 2022, CROWDLAB, arXiv 2210.06812. Results equal those of cleanlab 2.9, in time and memory that follow
the number of votes and of probabilities instead of examples x annotators x labels.
"""

from dataclasses import dataclass

import numpy as np

from stats.votes import Votes, ordered_votes

LEAST_WEIGHT = 1e-6  # nobody is worth nothing
NEARLY_TIED = 1e-12


@dataclass(frozen=True)
class Crowdlab:
    """The consensus of n examples with K labels, and the quality of m annotators.

    consensus_label: (n,) int in [0, K).
    consensus_quality: (n,) float in [0, 1], low is bad: the posterior of the consensus label.
    annotator_agreement: (n,) float in [0, 1], the share of the example's votes that are the consensus label.
    posterior: (n, K) float; rows sum to 1.
    annotators: (m,) int, the numbers that name them, ascending; the arrays below follow it.
    annotator_quality: (m,) float in [0, 1]; nan for whoever shares no example with another.
    annotator_weight: (m,) float > 0; of whoever shares no example, from the others' mean agreement.
    agreement_with_consensus: (m,) float in [0, 1], the share of their votes that are the consensus label.
    worst_class: (m,) int, the label they gave that was least often the consensus label; of equal ones the one given
    more often, then the one given where the consensus is surer, then the lowest.
    n_labels: (m,) int, how many votes they gave.
    model_weight: float > 0, comparable with the annotators' weights.
    """

    consensus_label: np.ndarray
    consensus_quality: np.ndarray
    annotator_agreement: np.ndarray
    posterior: np.ndarray
    annotators: np.ndarray
    annotator_quality: np.ndarray
    annotator_weight: np.ndarray
    agreement_with_consensus: np.ndarray
    worst_class: np.ndarray
    n_labels: np.ndarray
    model_weight: float


def crowdlab(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray,
             pred_probs: np.ndarray) -> Crowdlab:
    """Return CROWDLAB's consensus of all votes.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each: the row of `pred_probs`, any
    number that names the annotator, the column of `pred_probs`. The order of the votes does not matter.
    pred_probs: (n, K) float, rows sum to 1, out of sample; every row needs a vote.
    Ties: of labels with equal posteriors the majority label; of labels with equally many votes the more probable one,
    then the one with fewer votes in all, then the one whose voters agree more often with clear majorities, then the
    lowest (cleanlab draws that last one at random).
    Raises ValueError if no example has two votes, an example has none, somebody votes twice on one example, a label is
    no column, or a probability is negative or nan.
    """
    pred_probs = _checked(pred_probs)
    n, n_labels = pred_probs.shape
    votes = ordered_votes(example_index, annotator_index, label_index, n_examples=n, n_labels=n_labels)
    if votes.n_of_example.max(initial=0) < 2:
        raise ValueError("at least some examples need labels from two annotators, none has more than "
                         f"{votes.n_of_example.max(initial=0)}")
    counts = votes.counts()
    said = _Said(votes, counts, _agreement_with_others(votes, counts), pred_probs, pred_probs.argmax(axis=1))
    majority = _majority(said)
    consensus = _most_probable(said, _weigh(said, majority), majority)
    weighed = _weigh(said, consensus)
    quality = weighed.posterior[np.arange(n), consensus]
    is_consensus = votes.label == consensus[votes.example]
    n_of_annotator = np.bincount(votes.annotator)
    return Crowdlab(
        consensus_label=consensus, consensus_quality=quality, annotator_agreement=weighed.agreement,
        posterior=weighed.posterior, annotators=votes.annotators,
        annotator_quality=_annotator_quality(votes, weighed, is_consensus), annotator_weight=weighed.annotator_weight,
        agreement_with_consensus=np.bincount(votes.annotator, weights=is_consensus) / n_of_annotator,
        worst_class=_worst_class(votes, is_consensus, quality), n_labels=n_of_annotator,
        model_weight=weighed.model_weight)


@dataclass(frozen=True)
class _Said:
    """What annotators and classifier said, which no consensus changes; `predicted` (n,) is the classifier's label."""

    votes: Votes
    counts: np.ndarray
    agreement_with_others: np.ndarray
    pred_probs: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class _Weighed:
    """`right`: chance of a vote for the consensus label; `wrong`: of one for any single other label."""

    agreement: np.ndarray
    right: float
    wrong: float
    annotator_weight: np.ndarray
    model_weight: float
    total_weight: np.ndarray
    posterior: np.ndarray


def _checked(pred_probs: np.ndarray) -> np.ndarray:
    pred_probs = np.asarray(pred_probs, dtype=float)
    if pred_probs.ndim != 2:
        raise ValueError(f"pred_probs must be (n, K), got shape {pred_probs.shape}")
    if not pred_probs.min(initial=0) >= 0:  # also where it is nan
        raise ValueError(f"pred_probs must be at least 0, the least is {pred_probs.min()}")
    return pred_probs


def _majority(said: _Said) -> np.ndarray:
    """Return (n,) the label with most votes; ties as `crowdlab` says."""
    votes, counts = said.votes, said.counts
    is_candidate = counts == counts.max(axis=1, keepdims=True)
    majority = is_candidate.argmax(axis=1)
    tied = _rows_with_several(is_candidate)
    if not len(tied):
        return majority
    left = _best(_best(is_candidate[tied], said.pred_probs[tied]), -counts.sum(axis=0))
    if len(_rows_with_several(left)):
        is_clear = np.ones(len(counts), dtype=bool)
        is_clear[tied] = False
        quality = _agreement_with_clear_majorities(votes, majority, is_clear)
        sums = np.bincount(votes.cell, weights=quality[votes.annotator], minlength=counts.size).reshape(counts.shape)
        left = _best(left, sums[tied] / np.maximum(counts[tied], 1))
    majority[tied] = left.argmax(axis=1)
    return majority


def _rows_with_several(is_candidate: np.ndarray) -> np.ndarray:
    """Return the rows of (n, K) bool with more than one candidate, ascending."""
    rows = np.flatnonzero(is_candidate) // is_candidate.shape[1]
    return np.unique(rows[1:][rows[1:] == rows[:-1]])


def _best(is_candidate: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return (n, K) bool: of each row's candidates those with the highest score."""
    scores = np.where(is_candidate, score, -np.inf)
    return is_candidate & (scores == scores.max(axis=1, keepdims=True))


def _agreement_with_clear_majorities(votes: Votes, majority: np.ndarray, is_clear: np.ndarray) -> np.ndarray:
    """Return (m,) the share of votes on examples without a tie that are for the majority; if none, the others' mean."""
    counted = is_clear[votes.example]
    if not counted.any():
        return np.ones(len(votes.annotators))
    is_right = counted & (votes.label == majority[votes.example])
    return _shares(votes.annotator, is_right, counted, filled=True)


def _agreement_with_others(votes: Votes, counts: np.ndarray) -> np.ndarray:
    """Return (m,) the share of other people's votes on the same examples that agree; if none, the others' mean."""
    same = counts[votes.example, votes.label] - 1
    return _shares(votes.annotator, same, votes.n_of_example[votes.example] - 1, filled=True)


def _shares(annotator: np.ndarray, part: np.ndarray, whole: np.ndarray, *, filled: bool) -> np.ndarray:
    """Return (m,) sum of part / sum of whole by annotator; where that is 0 / 0 nan, or if `filled` the others' mean."""
    sums = np.bincount(annotator, weights=whole)
    shares = np.full(len(sums), np.nan)
    np.divide(np.bincount(annotator, weights=part), sums, out=shares, where=sums > 0)
    if filled:
        shares[np.isnan(shares)] = np.mean(shares[~np.isnan(shares)])
    return shares


def _weigh(said: _Said, consensus: np.ndarray) -> _Weighed:
    """Weigh annotators and classifier by a consensus, and mix them into the posterior."""
    votes, (n, n_labels) = said.votes, said.pred_probs.shape
    is_shared = votes.n_of_example > 1
    shared = consensus[is_shared]
    agreement = said.counts[np.arange(n), consensus] / votes.n_of_example
    right = float(np.mean(agreement[is_shared]))
    wrong = (1 - right) / max(n_labels - 1, 1)
    # The error of always saying the commonest label: whoever errs as often is worth nothing.
    baseline = max((len(shared) - np.bincount(shared).max()) / len(shared), LEAST_WEIGHT)
    annotator_weight = np.maximum(1 - (1 - said.agreement_with_others) / baseline, LEAST_WEIGHT)
    model_error = np.mean(said.predicted[is_shared] != shared)
    model_weight = float(max(1 - model_error / baseline, LEAST_WEIGHT) * np.sqrt(np.mean(votes.n_of_example)))

    weights = annotator_weight[votes.annotator]
    sum_of_votes = np.bincount(votes.example, weights=weights, minlength=n)
    total_weight = sum_of_votes + model_weight
    posterior = said.pred_probs * (model_weight / total_weight)[:, None]
    posterior += (sum_of_votes * wrong / total_weight)[:, None]
    np.add.at(posterior.reshape(-1), votes.cell, weights * (right - wrong) / total_weight[votes.example])
    return _Weighed(agreement, right, wrong, annotator_weight, model_weight, total_weight, posterior)


def _most_probable(said: _Said, weighed: _Weighed, majority: np.ndarray) -> np.ndarray:
    """Return (n,) the label of the highest posterior, of equal ones the majority label."""
    label = weighed.posterior.argmax(axis=1)
    highest = weighed.posterior[np.arange(len(label)), label]
    rows = _rows_with_several(weighed.posterior >= (highest - NEARLY_TIED)[:, None])
    exact = _summed_vote_by_vote(said, weighed, rows)
    is_tied = np.zeros(len(rows), dtype=bool)
    is_tied[_rows_with_several(exact == exact.max(axis=1, keepdims=True))] = True
    label[rows] = np.where(is_tied, majority[rows], exact.argmax(axis=1))
    return label


def _summed_vote_by_vote(said: _Said, weighed: _Weighed, rows: np.ndarray) -> np.ndarray:
    """Return the posterior of `rows`, each vote added in the order of annotators, as cleanlab adds them.

    Whether two sums are equal to the last bit depends on the order of summing.
    """
    votes = said.votes
    sums = said.pred_probs[rows] * weighed.model_weight
    first_vote = np.searchsorted(votes.example, rows)
    for turn in range(votes.n_of_example[rows].max(initial=0)):
        has_turn = np.flatnonzero(votes.n_of_example[rows] > turn)
        vote = first_vote[has_turn] + turn
        weight = weighed.annotator_weight[votes.annotator[vote]]
        added = np.repeat((weight * weighed.wrong)[:, None], votes.n_labels, axis=1)
        added[np.arange(len(vote)), votes.label[vote]] = weight * weighed.right
        sums[has_turn] += added
    return sums / weighed.total_weight[rows, None]


def _annotator_quality(votes: Votes, weighed: _Weighed, is_consensus: np.ndarray) -> np.ndarray:
    """Return (m,): the posterior of their labels and their agreement with the consensus, mixed by the weights."""
    is_shared = votes.n_of_example[votes.example] > 1
    of_labels = _shares(votes.annotator, weighed.posterior[votes.example, votes.label], np.ones(len(votes.label)),
                        filled=False)
    agreement = _shares(votes.annotator, is_consensus & is_shared, is_shared, filled=False)
    annotators_weight = weighed.annotator_weight.mean() * votes.n_of_example.mean()
    share = weighed.model_weight / (weighed.model_weight + annotators_weight)
    return share * of_labels + (1 - share) * agreement


def _worst_class(votes: Votes, is_consensus: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Return (m,) the label each annotator errs most in, as `Crowdlab` says."""
    shape = (len(votes.annotators), votes.n_labels)
    pair = votes.annotator * votes.n_labels + votes.label

    def table(weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(pair, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)

    n_given = table()
    n_right, sum_of_quality, at_least_one = table(is_consensus), table(quality[votes.example]), np.maximum(n_given, 1)
    left = _best(n_given > 0, -n_right / at_least_one)
    left = _best(_best(left, n_given), sum_of_quality / at_least_one)
    return left.argmax(axis=1)
