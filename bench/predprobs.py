"""Out-of-sample probabilities: Goldpan's few steps beside scikit-learn's fit to the end, and ridge leave-one-out.

`python -m bench.predprobs`, about a minute. Labels with 15 or 20 % errors, half random and half confusable, planted
into banking77 at four sizes; one rater's labels of the tweets as they are. All three leave whole clusters of
near-duplicates out, but ridge, which has no way to. Seconds are of the processor.
- fit: both on scikit-learn's five folds; AUROC of finding the wrong labels by normalised margin, after a temperature.
- whole: with dealing the folds, each in its own way.
Exits with 1 if anywhere Goldpan's fit is less than 5 times as fast, or its AUROC more than .002 lower.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from bench.real_text import RealText, auroc, banking77, plant, subset, tweets
from curation.label_quality import score_labels
from curation.probabilities import INVERSE_REGULARISATION, out_of_sample_probabilities, tempered
from curation.softmax_regression import fit_softmax, principal_components, softmax_in_place

MIN_RATIO, MAX_LOSS = 5.0, 0.002
N_FOLDS = 5
SIZES = ((1200, 10, 0.15), (4000, 40, 0.20), (4000, 77, 0.15), (10_003, 77, 0.20))
RIDGES = (0.3, 1.0, 3.0)


def main() -> int:
    worlds = []
    if (real := tweets()) is not None:
        worlds.append(real)
    if (clean := banking77()) is not None:
        worlds += [plant(subset(clean, n=n, n_labels=n_labels, seed=0), share=share, noise="mixed", seed=0)
                   for n, n_labels, share in SIZES]
    print(f"{'':22}{'wrong':>6} | fit: {'sklearn':>8}{'Goldpan':>9}{'ratio':>7} | whole: {'ratio':>6} | "
          f"ridge LOO: {'ratio':>6} | AUROC: {'sklearn':>8}{'Goldpan':>9}{'ridge':>8}")
    return 0 if all([one_world(world) for world in worlds]) else 1


def one_world(world: RealText) -> bool:
    """Print a line; return whether the goals are met."""
    vectors, given, n_labels = world.embeddings.astype(np.float32), world.given, len(world.names)
    folds, split_seconds = timed(lambda: sklearn_folds(vectors, given, world.clusters))
    fitted, fit_seconds = timed(lambda: fit_to_the_end(vectors, given, folds, n_labels))
    quick, quick_seconds = timed(lambda: few_steps(vectors, given, folds, n_labels))
    _, whole_seconds = timed(lambda: out_of_sample_probabilities(
        world.embeddings, world.labels, world.clusters, labels_order=world.names, seed=0))
    ridge, ridge_seconds = timed(lambda: ridge_leave_one_out(vectors, given, n_labels))
    scores = [auroc(score_labels(given, tempered(probs, given)[0]).label_quality, world.is_wrong)
              for probs in (fitted, quick, ridge)]
    ratio = fit_seconds / quick_seconds
    is_met = ratio >= MIN_RATIO and scores[1] >= scores[0] - MAX_LOSS
    name = f"{world.name} {len(given):,} × {n_labels}"
    whole, ridge_ratio = (split_seconds + fit_seconds) / whole_seconds, fit_seconds / ridge_seconds
    print(f"{name:22}{world.is_wrong.mean():6.1%} |      {fit_seconds:7.2f}s{quick_seconds:8.2f}s{ratio:6.1f}× |       "
          f"{whole:6.1f}× |           {ridge_ratio:6.1f}× |         "
          f"{scores[0]:7.4f}{scores[1]:9.4f}{scores[2]:8.4f}  {'met' if is_met else 'NOT MET'}", flush=True)
    return is_met


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What the call returns and its seconds; of what takes less than a second the least of three."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < 1 and len(seconds) < 3):
        started = time.process_time()
        found = call()
        seconds.append(time.process_time() - started)
    return found, min(seconds)


def sklearn_folds(vectors: np.ndarray, given: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    fold = np.empty(len(given), dtype=int)
    splitter = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    for number, (_, rows) in enumerate(splitter.split(vectors, given, clusters)):
        fold[rows] = number
    return fold


def fit_to_the_end(vectors: np.ndarray, given: np.ndarray, folds: np.ndarray, n_labels: int) -> np.ndarray:
    probs = np.zeros((len(given), n_labels))
    for fold in range(N_FOLDS):
        rows = folds == fold
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000).fit(vectors[~rows], given[~rows])
        probs[np.ix_(rows, model.classes_)] = model.predict_proba(vectors[rows])
    return probs


def few_steps(vectors: np.ndarray, given: np.ndarray, folds: np.ndarray, n_labels: int) -> np.ndarray:
    probs, components = np.zeros((len(given), n_labels)), principal_components(vectors)
    for fold in range(N_FOLDS):
        fit_rows, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        weights = fit_softmax(components, fit_rows, given[fit_rows], n_labels,
                              inverse_regularisation=INVERSE_REGULARISATION)
        probs[rows] = softmax_in_place(components.scores[rows] @ weights)
    return probs


def ridge_leave_one_out(vectors: np.ndarray, given: np.ndarray, n_labels: int) -> np.ndarray:
    """Regress one column per label; every row's own part in its prediction is taken out in closed form.

    Of RIDGES the penalty with the most rows right; outputs become probabilities by a softmax at a temperature.
    """
    target = np.eye(n_labels, dtype=np.float32)[given] - 1 / n_labels
    centred = vectors - vectors.mean(axis=0)
    spread, axes = np.linalg.eigh(centred.T @ centred)
    turned = centred @ axes
    projected, best, best_share = turned.T @ target, np.zeros_like(target), -1.0
    for penalty in RIDGES:
        shrink = 1 / (np.maximum(spread, 0) + penalty)
        own = np.einsum("nd,d,nd->n", turned, shrink, turned)[:, None]
        left_out = (turned @ (shrink[:, None] * projected) - own * target) / (1 - own)
        if (share := float((left_out.argmax(axis=1) == given).mean())) > best_share:
            best, best_share = left_out, share
    return tempered(softmax_in_place(best * 10), given)[0]


if __name__ == "__main__":
    sys.exit(main())
