"""The nearest rows by cosine, exactly."""

import numpy as np

from jobs.progress import Progress, silent

BLOCK = 512


def nearest(queries: np.ndarray, rows: np.ndarray, *, k: int,
            progress: Progress = silent) -> tuple[np.ndarray, np.ndarray]:
    """Return for each query the k nearest rows, nearest first: row numbers (q, k) and cosines (q, k).

    queries: (q, d), rows: (n, d); float arrays, every row of length 1. k is cut to n. Among equal cosines the
    lower row number comes first.
    """
    k = min(k, len(rows))
    numbers = np.empty((len(queries), k), dtype=np.intp)
    cosines = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), BLOCK):
        progress("Finding neighbours", start, len(queries))
        block = queries[start:start + BLOCK] @ rows.T
        found = np.sort(np.argpartition(-block, k - 1, axis=1)[:, :k], axis=1)
        values = np.take_along_axis(block, found, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        numbers[start:start + BLOCK] = np.take_along_axis(found, order, axis=1)
        cosines[start:start + BLOCK] = np.take_along_axis(values, order, axis=1)
    return numbers, cosines
