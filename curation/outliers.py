"""Texts that are unlike all others: those whose nearest texts are much further away than is usual in the project."""

from dataclasses import dataclass

import numpy as np

from jobs.progress import Progress, silent

N_NEAREST = 5
MAX_COMPARED = 10_000  # other texts that each is compared with, so that time grows with the number of texts
FAR_OUT = 3.0  # interquartile ranges below the lower quartile; it takes in .3 % of banking77's own questions
MIN_ROWS = 50
BLOCK = 512


@dataclass(frozen=True)
class Outliers:
    """nearest_cosine: (n,) float, the mean cosine to the nearest texts; nan below MIN_ROWS distinct texts.

    cutoff: an outlier is below it; None where there are too few texts to measure one.
    """

    nearest_cosine: np.ndarray
    cutoff: float | None

    @property
    def is_outlier(self) -> np.ndarray:
        return self.nearest_cosine < (-np.inf if self.cutoff is None else self.cutoff)


def find_outliers(embeddings: np.ndarray, clusters: np.ndarray, *, seed: int, progress: Progress = silent) -> Outliers:
    """Return how near each text is to its N_NEAREST nearest, and the cosine below which that is far out.

    embeddings: (n, d) float array, every row of length 1. clusters: (n,) int, equal for near-duplicates, which do not
    count as neighbours of each other: a text that was pasted ten times is no less strange.
    Compared with the first row of each cluster, a sample of them if there are more than MAX_COMPARED.
    Source of the cut-off: Tukey 1977, Exploratory Data Analysis, chapter 2: the outer fence.
    """
    _, first = np.unique(clusters, return_index=True)
    if len(first) < MIN_ROWS:
        return Outliers(np.full(len(embeddings), np.nan), None)
    others = first if len(first) <= MAX_COMPARED else np.random.default_rng(seed).choice(
        first, MAX_COMPARED, replace=False)
    vectors, cluster_of_other = embeddings[others].T, clusters[others]
    near = np.empty(len(embeddings))
    for start in range(0, len(embeddings), BLOCK):
        progress("Looking for outliers", start, len(embeddings))
        rows = slice(start, start + BLOCK)
        cosines = embeddings[rows] @ vectors
        cosines[clusters[rows, None] == cluster_of_other] = -1
        near[rows] = np.partition(cosines, -N_NEAREST, axis=1)[:, -N_NEAREST:].mean(axis=1)
    low, high = np.quantile(near[first], [0.25, 0.75])
    return Outliers(near, float(low - FAR_OUT * (high - low)))
