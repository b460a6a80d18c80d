"""Embeddings drawn flat: two coordinates a row, so that like texts lie near each other as far as two axes allow.

`pca` is exact and needs one pass over the rows for their covariance and one to project them, block by block, so memory
stays flat. `pacmap` and `umap` show neighbourhoods better and take far longer; they are there if their package is.
As a program, `python -m curation.projection <folder>`, it draws a job's `vectors.npy` into `coordinates.npy`.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.child import child_main
from jobs.progress import Progress, silent

METHODS = {"pca": "PCA", "pacmap": "PaCMAP", "umap": "UMAP"}  # name of the package but for PCA → what people call it
BLOCK = 65_536  # rows in memory at a time as float32
N_COMPONENTS_FIRST = 50  # PaCMAP and UMAP start from so many principal components


@dataclass(frozen=True)
class Projection:
    """coordinates: (n, 2) float32. explained: the share of the variance that the two axes hold, None unless PCA."""

    coordinates: np.ndarray
    explained: float | None


def installed_methods() -> list[str]:
    """The methods that can be used here, the default first."""
    return [name for name in METHODS if name == "pca" or importlib.util.find_spec(name)]


def project(vectors: np.ndarray, *, method: str, seed: int, progress: Progress = silent) -> Projection:
    """Return the rows of (n, d), d >= 2, on a plane. The same rows, method, seed and packages give the same plane.

    vectors: float16 or float32; a memory map is read block by block. PCA draws nothing at random.
    Raises ValueError if there are fewer than 3 rows, or the method is unknown or not installed.
    """
    if method not in installed_methods():
        raise ValueError(f"the method {method!r} cannot be used here, these can: {', '.join(installed_methods())}")
    if len(vectors) < 3:
        raise ValueError(f"a map needs at least 3 rows, got {len(vectors)}")
    if method == "pca":
        coordinates, explained = principal(vectors, 2, progress)
        return Projection(coordinates, explained)
    narrow, _ = principal(vectors, min(N_COMPONENTS_FIRST, vectors.shape[1]), progress)
    progress(f"Drawing the map by {METHODS[method]}", 0, 1)
    return Projection(_by_neighbours(narrow, method, seed), None)


def principal(vectors: np.ndarray, k: int, progress: Progress = silent) -> tuple[np.ndarray, float]:
    """Return the first k principal components of each row, (n, k) float32, and the share of variance they hold.

    An axis points to where its largest loading (ties: the first) is positive, so that a map never comes out mirrored.
    """
    n, d = vectors.shape
    total, products = np.zeros(d), np.zeros((d, d))
    for start in range(0, n, BLOCK):
        block = np.asarray(vectors[start:start + BLOCK], dtype=np.float32)
        total += block.sum(axis=0, dtype=np.float64)
        products += block.T @ block
        progress("Finding the axes", min(start + BLOCK, n), 2 * n)
    mean = total / n
    values, axes = np.linalg.eigh(products / n - np.outer(mean, mean))
    axes = axes[:, ::-1][:, :k]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    coordinates = np.empty((n, axes.shape[1]), dtype=np.float32)
    for start in range(0, n, BLOCK):
        block = np.asarray(vectors[start:start + BLOCK], dtype=np.float32)
        coordinates[start:start + BLOCK] = (block - mean) @ axes
        progress("Drawing the map", n + min(start + BLOCK, n), 2 * n)
    variance = np.clip(values[::-1], 0, None)
    return coordinates, float(variance[:k].sum() / variance.sum()) if variance.sum() > 0 else 1.0


def _by_neighbours(vectors: np.ndarray, method: str, seed: int) -> np.ndarray:
    if method == "pacmap":
        import pacmap

        return np.asarray(pacmap.PaCMAP(n_components=2, random_state=seed).fit_transform(vectors), dtype=np.float32)
    import umap

    return np.asarray(umap.UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(vectors), dtype=np.float32)


def draw_file(spec: dict[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """Write coordinates.npy, float32 (n, 2). spec: `method` and `seed` as for `project`."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    found = project(vectors, method=spec["method"], seed=spec["seed"], progress=progress)
    np.save(folder / "coordinates.npy", found.coordinates, allow_pickle=False)
    return {"explained": found.explained}


if __name__ == "__main__":
    child_main(draw_file)
