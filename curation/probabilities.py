"""What a simple classifier on embeddings believes about rows that it has not seen.

1. Labels with too few duplicate clusters are left out.
2. Whole clusters are dealt into five folds, label by label.
3. A logistic regression is fitted on four folds and predicts the fifth, five times, in a few steps each
   (`softmax_regression`).
4. A temperature makes the probabilities as sure as they are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from scipy.special import log_softmax, softmax

from curation.softmax_regression import fit_softmax, principal_components, softmax_in_place
from jobs.progress import Progress, silent
from stats.classification import accuracy

INVERSE_REGULARISATION = 3.0
SMALL_N = 500  # below this many rows one split into folds is too noisy
N_REPEATS_IF_SMALL = 3
BETTER_THAN_CHANCE = 0.10
PROBE_CHOICES = (0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class OutOfSample:
    """Each row's probabilities by a classifier that saw neither the row nor any duplicate of it.

    pred_probs: (n, K) float; rows sum to 1, columns follow `labels_order`; nan in rows that are not scored.
    rows_scored: (n,) bool.
    labels_order: the K labels that were scored.
    left_out: label -> why it was not scored, in words.
    accuracy: share of scored rows whose most probable label is their given one.
    majority_share: the same for always saying the most common label.
    temperature: above 1 the classifier was too sure of itself.
    is_better_than_chance: accuracy is at least majority_share + .10 (or half way from there to 1, if that is less);
    if not, the classifier has learned too little for its scores to be shown.
    """

    pred_probs: np.ndarray
    rows_scored: np.ndarray
    labels_order: list[str]
    left_out: dict[str, str]
    accuracy: float
    majority_share: float
    temperature: float
    is_better_than_chance: bool


@dataclass(frozen=True)
class Probe:
    """A linear classifier on embeddings: columns of its probabilities follow `labels`.

    weights: (K, d) float32; bias: (K,) float32; inverse_regularisation: the C chosen on dev; dev_accuracy: with it.
    """

    labels: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray
    inverse_regularisation: float
    dev_accuracy: float

    def predict_proba(self, embeddings: np.ndarray) -> np.ndarray:
        """Return (n, K) probabilities of the labels for (n, d) embeddings."""
        return np.asarray(softmax(embeddings @ self.weights.T + self.bias, axis=1))

    def predict(self, embeddings: np.ndarray) -> list[str]:
        """Return the most probable label of each row."""
        return [self.labels[k] for k in self.predict_proba(embeddings).argmax(axis=1)]


def out_of_sample_probabilities(embeddings: np.ndarray, labels: Sequence[str | None], clusters: np.ndarray, *,
                                labels_order: Sequence[str], seed: int, n_folds: int = 5,
                                progress: Progress = silent) -> OutOfSample:
    """Return each labelled row's probabilities from classifiers that were fitted without its whole cluster.

    embeddings: (n, d) float array, every row of length 1.
    labels: n given labels; None, or a label not in `labels_order`, is a row that is neither fitted nor scored.
    clusters: (n,) int, equal for duplicates; whole clusters leave a fold together.
    Below SMALL_N rows three splits are averaged. A label whose clusters all fall into one fold is not scored in it.
    Raises ValueError if fewer than two labels have examples in at least n_folds clusters.
    """
    if not len(embeddings) == len(labels) == len(clusters):
        raise ValueError("embeddings, labels and clusters must have one value per row, got "
                         f"{len(embeddings)}, {len(labels)} and {len(clusters)}")
    order, left_out = _scorable(labels, clusters, labels_order, n_folds)
    column = {label: k for k, label in enumerate(order)}
    given_of_row = np.array([-1 if label is None else column.get(label, -1) for label in labels], dtype=np.intp)
    rows = np.flatnonzero(given_of_row >= 0)
    given, vectors = given_of_row[rows], embeddings[rows].astype(np.float32)
    probs, is_scored = _cross_validated(vectors, given, np.asarray(clusters)[rows], len(order), seed, n_folds, progress)
    given, probs, rows = given[is_scored], probs[is_scored], rows[is_scored]
    probs, temperature = tempered(probs, given)
    pred_probs = np.full((len(labels), len(order)), np.nan)
    pred_probs[rows] = probs
    rows_scored = np.zeros(len(labels), dtype=bool)
    rows_scored[rows] = True
    share_right = accuracy(given, probs.argmax(axis=1))
    majority = float(np.bincount(given).max() / len(given))
    needed = majority + min(BETTER_THAN_CHANCE, (1 - majority) / 2)  # above .8 there is no room for ten points
    return OutOfSample(pred_probs, rows_scored, order, left_out, share_right, majority, temperature,
                       is_better_than_chance=share_right >= needed)


def probabilities_of_unlabelled(embeddings: np.ndarray, labels: Sequence[str | None], unlabelled: np.ndarray, *,
                                beside: OutOfSample) -> np.ndarray:
    """Return (u, K) probabilities of rows without a label, comparable with those of the labelled rows.

    embeddings, labels: as they were given to `out_of_sample_probabilities`, which returned `beside`.
    unlabelled: (u, d) float array, every row of length 1. Columns follow `beside.labels_order`; rows sum to 1.
    One classifier is fitted on all rows that `beside` scored; its temperature is that of `beside`.
    """
    column = {label: k for k, label in enumerate(beside.labels_order)}
    rows = np.flatnonzero(beside.rows_scored)
    given = np.array([column[str(labels[row])] for row in rows])
    components = principal_components(embeddings[rows])
    weights = fit_softmax(components, np.arange(len(rows)), given, len(column),
                          inverse_regularisation=INVERSE_REGULARISATION)
    return np.asarray(softmax((components.turn(unlabelled) @ weights).astype(float) / beside.temperature, axis=1))


def fit_probe(train_embeddings: np.ndarray, train_labels: Sequence[str], dev_embeddings: np.ndarray,
              dev_labels: Sequence[str], *, seed: int, choices: Sequence[float] = PROBE_CHOICES) -> Probe:
    """Return the linear probe with the best accuracy on dev among `choices` of C; of equal ones the smallest C.

    train_embeddings, dev_embeddings: (n, d) float arrays, every row of length 1.
    Raises ValueError if train has fewer than two labels or dev has no rows.
    """
    if not len(dev_labels):
        raise ValueError("dev must have at least one row to choose C on, got 0")
    if len(set(train_labels)) < 2:
        raise ValueError(f"train must have at least two labels, got {sorted(set(train_labels))}")
    probes = [_fitted_probe(train_embeddings, train_labels, dev_embeddings, dev_labels, c, seed)
              for c in sorted(choices)]
    return max(probes, key=lambda probe: probe.dev_accuracy)  # the first of equals


def _scorable(labels: Sequence[str | None], clusters: np.ndarray, labels_order: Sequence[str],
              n_folds: int) -> tuple[list[str], dict[str, str]]:
    """Return the labels with examples in enough clusters, in order, and the others with the reason."""
    clusters_of: dict[str | None, set[int]] = {label: set() for label in labels_order}
    for label, cluster in zip(labels, clusters, strict=True):
        if label in clusters_of:
            clusters_of[label].add(int(cluster))
    order = [label for label in labels_order if len(clusters_of[label]) >= n_folds]
    left_out = {label: f"{len(clusters_of[label])} distinct examples, at least {n_folds} are needed"
                for label in labels_order if len(clusters_of[label]) < n_folds}
    if len(order) < 2:
        raise ValueError(f"Label at least {n_folds} distinct examples of each of two labels first; "
                         f"{len(order)} of {len(labels_order)} labels have that many.")
    return order, left_out


def _cross_validated(vectors: np.ndarray, given: np.ndarray, groups: np.ndarray, n_labels: int, seed: int,
                     n_folds: int, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Return (m, K) out-of-fold probabilities and (m,) whether the row's label was seen in every fit of its folds."""
    n_repeats = N_REPEATS_IF_SMALL if len(given) < SMALL_N else 1
    probs, is_scored = np.zeros((len(given), n_labels)), np.ones(len(given), dtype=bool)
    components = principal_components(vectors)
    for repeat in range(n_repeats):
        fold_of = deal_folds(given, groups, n_folds=n_folds, seed=seed + repeat)
        for fold in range(n_folds):
            fit_rows, rows = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            weights = fit_softmax(components, fit_rows, given[fit_rows], n_labels,
                                  inverse_regularisation=INVERSE_REGULARISATION)
            probs[rows] += softmax_in_place(components.scores[rows] @ weights) / n_repeats
            is_scored[rows] &= np.isin(given[rows], given[fit_rows])
            progress("Scoring labels", repeat * n_folds + fold + 1, n_repeats * n_folds)
    return probs, is_scored


def deal_folds(given: np.ndarray, groups: np.ndarray, *, n_folds: int, seed: int) -> np.ndarray:
    """Return (m,) int, the fold of each row: whole groups, each label spread evenly.

    given: (m,) label codes; a group counts for the label of its first row. groups: (m,) int.
    Groups are dealt like cards, label after label, the largest first, equal ones by lot. scikit-learn's
    StratifiedGroupKFold weighs every group against every fold, which takes longer than all the fits.
    """
    _, first, group, size = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).random(len(first)), -size, given[first]))
    fold = np.empty(len(first), dtype=np.intp)
    fold[order] = np.arange(len(first)) % n_folds
    return fold[group]


def tempered(probs: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the probabilities at the temperature under which the given labels are most likely, and the temperature.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599.
    """
    logs = np.log(np.maximum(probs, 1e-12))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logs / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(given)), given].mean())

    best = scipy.optimize.minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded")
    temperature = float(np.exp(best.x))
    return softmax(logs / temperature, axis=1), temperature


def _fitted_probe(train_embeddings: np.ndarray, train_labels: Sequence[str], dev_embeddings: np.ndarray,
                  dev_labels: Sequence[str], c: float, seed: int) -> Probe:
    from sklearn.linear_model import LogisticRegression  # here: those who import this module seldom call it

    model = LogisticRegression(C=c, max_iter=1000, random_state=seed).fit(
        train_embeddings.astype(np.float32), np.asarray(train_labels))
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:  # of two labels the model keeps only the second one's scores
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.concatenate([np.zeros_like(bias), bias])
    probe = Probe(tuple(str(label) for label in model.classes_), weights.astype(np.float32), bias.astype(np.float32),
                  c, dev_accuracy=float("nan"))
    return replace(probe, dev_accuracy=accuracy(dev_labels, probe.predict(dev_embeddings)))
