"""Real texts for the benches, with their embeddings, and labels with planted errors.

banking77: 10,003 questions of bank customers, 77 labels, from the folder GOLDPAN_BENCH_DATA. Tweets: 4,200, each rated
by 20 people, the demo's download. Embeddings are kept in bench/out by the hash of the texts.
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.canonical import sha256_of
from curation.dedup import find_clusters
from curation.encoder import MiniLMEncoder
from goldpan.demo_data import LABELS, SDIST, labels_of, read_tweets, truth_of

TWEETS = Path("var/downloads") / SDIST
CACHE = Path("bench/out")
THRESHOLD = 0.95  # cosine from which two texts count as the same, as in the product
NOISES = ("random", "confusable", "mixed")


@dataclass(frozen=True)
class RealText:
    """n texts, their embeddings (n, d) and clusters (n,) of near-duplicates; given and truth: (n,) label codes."""

    name: str
    texts: list[str]
    embeddings: np.ndarray
    clusters: np.ndarray
    names: list[str]
    given: np.ndarray
    truth: np.ndarray

    @property
    def is_wrong(self) -> np.ndarray:
        return np.asarray(self.given != self.truth)

    @property
    def labels(self) -> list[str]:
        return [self.names[code] for code in self.given]


def banking77() -> RealText | None:
    """All labels as they are in the data set, which is clean but not spotless. None, in words, if it is not there."""
    path = Path(os.environ.get("GOLDPAN_BENCH_DATA", "../shared/data")) / "banking77" / "train.csv"
    if not path.exists():
        print(f"skipped: {path} is not there; set GOLDPAN_BENCH_DATA")
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names, truth = np.unique([row["category"] for row in rows], return_inverse=True)
    return _embedded("banking77", [row["text"] for row in rows], [str(name) for name in names], truth, truth)


def tweets() -> RealText | None:
    """Given is what one rater said, truth the majority of ten others. None, in words, if they are not there."""
    if not TWEETS.exists():
        print(f"skipped: {TWEETS} is not there; `make setup` downloads it")
        return None
    found, code = read_tweets(TWEETS), {label: k for k, label in enumerate(LABELS)}
    given, truth = (np.array([code[str(label)] for label in labels])
                    for labels in (labels_of(found.ratings[:, 0]), truth_of(found.ratings)))
    return _embedded("tweets", list(found.texts), list(LABELS), given, truth)


def embed(texts: list[str]) -> np.ndarray:
    """Return (n, d) float32 embeddings of length 1, from the cache if these texts were embedded before."""
    path = CACHE / f"embeddings-{sha256_of(json.dumps(texts).encode())[:16]}.npy"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(path, MiniLMEncoder().encode(texts))
    return np.asarray(np.load(path))


def clusters_of(texts: list[str], embeddings: np.ndarray) -> np.ndarray:
    return find_clusters(embeddings, [sha256_of(text.encode()) for text in texts], threshold=THRESHOLD).cluster


def _embedded(name: str, texts: list[str], names: list[str], given: np.ndarray, truth: np.ndarray) -> RealText:
    embeddings = embed(texts)
    return RealText(name, texts, embeddings, clusters_of(texts, embeddings), names, given, truth)


def subset(data: RealText, *, n: int, n_labels: int, seed: int) -> RealText:
    """Return n of the texts whose true label is one of the first n_labels."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(data.truth < n_labels))[:n]
    return RealText(data.name, [data.texts[row] for row in rows], data.embeddings[rows], data.clusters[rows],
                    data.names[:n_labels], data.given[rows], data.truth[rows])


def plant(data: RealText, *, share: float, noise: str, seed: int) -> RealText:
    """Return the data with a share of the labels replaced.

    noise: random (any other label), confusable (one of the three whose texts lie nearest, as people err) or mixed.
    """
    if noise not in NOISES:
        raise ValueError(f"noise must be one of {NOISES}, got {noise}")
    random, truth, n_labels = np.random.default_rng(seed), data.truth, len(data.names)
    centres = np.stack([data.embeddings[truth == code].mean(axis=0) for code in range(n_labels)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    cosines = centres @ centres.T
    np.fill_diagonal(cosines, -1)
    nearest = np.argsort(-cosines, axis=1)[:, :3]
    rows = random.permutation(len(truth))[:round(share * len(truth))]
    at_random = {"random": rows, "confusable": rows[:0], "mixed": rows[::2]}[noise]
    confused = np.setdiff1d(rows, at_random)
    given = truth.copy()
    given[at_random] = (truth[at_random] + random.integers(1, n_labels, len(at_random))) % n_labels
    given[confused] = nearest[truth[confused], random.integers(0, nearest.shape[1], len(confused))]
    return RealText(data.name, data.texts, data.embeddings, data.clusters, data.names, given, truth)


def auroc(quality: np.ndarray, is_wrong: np.ndarray) -> float:
    """Return the chance that a wrong row has a lower quality than a right one."""
    rank = np.empty(len(quality))
    rank[np.argsort(-quality)] = np.arange(1, len(quality) + 1)
    n = is_wrong.sum()
    return float((rank[is_wrong].sum() - n * (n + 1) / 2) / (n * (len(quality) - n)))
