"""Multinomial logistic regression on embeddings in a few steps, for fitting many times on nearly the same rows.

1. Embeddings are turned onto their principal components once; the smallest are left off.
2. In that basis the curvature of the loss is nearly diagonal: a component's variance times a label's p(1 - p). Scaled
   by its root every direction is about equally steep, so L-BFGS arrives in a few steps instead of a hundred.
3. It is stopped there. What is left undone are directions that few rows decide, the first to follow wrong labels.

Against scikit-learn's fit to the end see `bench/predprobs.py`.
"""

from dataclasses import dataclass

import numpy as np
import scipy

N_COMPONENTS = 160
N_STEPS = 8
BLOCK = 2048  # rows whose scores are in the processor's cache at a time


@dataclass(frozen=True)
class Components:
    """Rows in the basis of their principal components, most variance first.

    scores: (n, c + 1) float32, the last column is 1. variance: (c,) float, sums of squares over the n rows.
    centre: (d,), axes: (d, c) float32; other rows x are turned by (x - centre) @ axes.
    """

    scores: np.ndarray
    variance: np.ndarray
    centre: np.ndarray
    axes: np.ndarray

    def turn(self, embeddings: np.ndarray) -> np.ndarray:
        """Return (m, c + 1) scores of other rows."""
        scores = (embeddings.astype(np.float32) - self.centre) @ self.axes
        return np.hstack([scores, np.ones((len(scores), 1), np.float32)])


def principal_components(embeddings: np.ndarray, *, n_components: int = N_COMPONENTS) -> Components:
    """Return the embeddings on their first principal components, all of them if there are fewer. n ≥ 1."""
    vectors = embeddings.astype(np.float32, copy=False)
    centre = vectors.mean(axis=0)
    centred = vectors - centre
    variance, axes = scipy.linalg.eigh(centred.T @ centred, driver="evd", overwrite_a=True, check_finite=False)
    kept = np.s_[:-n_components - 1:-1]  # eigh sorts upwards
    variance, axes = np.maximum(variance[kept], 0).astype(float), np.ascontiguousarray(axes[:, kept])
    scores = np.hstack([centred @ axes, np.ones((len(centred), 1), np.float32)])
    return Components(scores, variance, centre, axes)


def fit_softmax(components: Components, rows: np.ndarray, given: np.ndarray, n_labels: int, *,
                inverse_regularisation: float) -> np.ndarray:
    """Return (c + 1, K) float32 weights of a softmax regression on some of the rows; scores @ weights are its logits.

    rows: (m,) int, m ≥ 1. given: (m,) int label codes of these rows. A label without a row gets hardly any probability.
    Loss: cross-entropy summed over rows + |weights|² / (2 inverse_regularisation), as scikit-learn has it; at most
    N_STEPS steps of L-BFGS from the labels' shares alone.
    Source of the scaling: Böhning 1992, Multinomial logistic regression algorithm, Ann. Inst. Statist. Math. 44, with
    each label's own p(1 - p) in place of the bound ½.
    """
    z, penalty = components.scores[rows], 1 / inverse_regularisation
    m, width = z.shape
    share = np.bincount(given, minlength=n_labels) / m
    start = np.zeros((width, n_labels), np.float32)
    start[-1] = np.log(np.maximum(share, 1 / (m + n_labels)))
    spread = np.append(components.variance * (m / len(components.scores)), m)
    curvature = spread[:, None] * np.maximum(share * (1 - share), 1 / (m + n_labels)) + penalty
    unit = (1 / np.sqrt(curvature)).astype(np.float32)

    def loss(step: np.ndarray) -> tuple[float, np.ndarray]:
        weights = start + step.reshape(unit.shape).astype(np.float32) * unit
        total, gradient = 0.0, np.zeros_like(weights)
        for begin in range(0, m, BLOCK):
            block, label = z[begin:begin + BLOCK], given[begin:begin + BLOCK]
            probs = softmax_in_place(block @ weights)
            at_label = np.arange(0, probs.size, n_labels) + label
            total -= float(np.log(np.maximum(probs.ravel()[at_label], 1e-30)).sum())
            probs.ravel()[at_label] -= 1
            gradient += block.T @ probs
        total += float((weights[:-1] ** 2).sum()) * penalty / 2  # the last row is the bias, which nothing pulls
        gradient[:-1] += penalty * weights[:-1]
        return total, (gradient * unit).ravel().astype(float)

    # L-BFGS tries a first step of length 1; in these units the right one is about as long as the gradient.
    _, slope = loss(np.zeros(unit.size))
    unit *= np.float32(max(float(np.linalg.norm(slope)), 1e-6))
    found = scipy.optimize.minimize(loss, np.zeros(unit.size), jac=True, method="L-BFGS-B",
                     options={"maxiter": N_STEPS, "maxcor": N_STEPS, "ftol": 0, "gtol": 0})
    return np.asarray(start + found.x.reshape(unit.shape).astype(np.float32) * unit)


def softmax_in_place(logits: np.ndarray) -> np.ndarray:
    """Turn (n, K) logits into probabilities, in the same memory, which is most of the time at many labels."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
