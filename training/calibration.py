"""Turning label log-likelihoods into a fair choice: prompts and training sets both favour some labels.

Every function takes (n, K) scores, adds one number per label, and the highest sum wins.
"""

from collections.abc import Hashable, Sequence

import numpy as np


def probabilities(scores: np.ndarray) -> np.ndarray:
    """(n, K) probabilities over the offered labels: the softmax of each row."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def contextual(scores: np.ndarray, content_free_scores: np.ndarray) -> np.ndarray:
    """(n, K) scores from which the labels' popularity without any content is taken away.

    content_free_scores: (m, K), of inputs that say nothing, like "N/A".
    Source: Zhao et al. 2021, Calibrate Before Use, ICML.
    """
    return np.asarray(scores - np.log(probabilities(content_free_scores).mean(axis=0)))


def fit_label_bias(scores: np.ndarray, labels: np.ndarray, *, l2: float = 1.0) -> np.ndarray:
    """(K,) numbers of sum 0 to be added to the scores, by maximum likelihood on dev rows.

    scores: (n, K). labels: (n,) integers in [0, K).
    l2: weight of the squared bias; 1 counts about as much as a handful of rows, 0 is plain maximum likelihood.
    Newton steps on a convex loss of K numbers. A bias alone cannot change the order of rows, only the balance.
    Raises ValueError if the shapes disagree, a label is out of range, or l2 is negative.
    """
    _check(scores, labels)
    if l2 < 0:
        raise ValueError(f"l2 must be at least 0, got {l2}")
    n_labels = scores.shape[1]
    counts = np.bincount(labels, minlength=n_labels)
    bias = np.zeros(n_labels)
    centre = np.full((n_labels, n_labels), 1.0 / n_labels)  # fixes the free common shift without changing the fit
    for _ in range(100):
        chances = probabilities(scores + bias)
        gradient = chances.sum(axis=0) - counts + l2 * bias
        curvature = np.diag(chances.sum(axis=0)) - chances.T @ chances + l2 * np.eye(n_labels) + centre
        step = np.linalg.solve(curvature + 1e-9 * np.eye(n_labels), gradient)
        bias = bias - np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-10:
            break
    return np.asarray(bias - bias.mean())


def cross_fitted(scores: np.ndarray, labels: np.ndarray, groups: Sequence[Hashable], *, folds: int = 5,
                 l2: float = 1.0, seed: int = 0) -> np.ndarray:
    """(n,) booleans: is row i right under a bias fitted on the other folds' groups only.

    groups: rows of one group (customer, thread, duplicates) stay in one fold. Its mean is an honest dev accuracy.
    Raises ValueError if there are fewer groups than folds, or fewer than 2 folds.
    """
    _check(scores, labels)
    names = sorted(set(groups), key=str)
    if not 2 <= folds <= len(names):
        raise ValueError(f"folds must be between 2 and the number of groups, {len(names)}, got {folds}")
    shuffled = np.random.default_rng(seed).permutation(len(names))
    fold_of = {name: int(place) % folds for name, place in zip(names, shuffled, strict=True)}
    fold = np.array([fold_of[group] for group in groups])
    right = np.zeros(len(labels), dtype=bool)
    for held in range(folds):
        out = fold == held
        bias = fit_label_bias(scores[~out], labels[~out], l2=l2)
        right[out] = (scores[out] + bias).argmax(axis=1) == labels[out]
    return right


def _check(scores: np.ndarray, labels: np.ndarray) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores must be (n, K) and labels (n,), got {scores.shape} and {labels.shape}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ValueError(f"labels must be in [0, {scores.shape[1]}), got {labels.min()} to {labels.max()}")
