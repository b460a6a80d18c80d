"""Texts that share nearly all their wording: Jaccard of character 5-grams, candidates by MinHash.

Source: Broder 1997, On the resemblance and containment of documents. The only module that imports datasketch.
"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from jobs.progress import Progress, silent
from labeling.texts import normalise

SHINGLE = 5
JACCARD = 0.8
N_BANDS, BAND = 16, 8  # 128 permutations: of pairs of Jaccard .8 95 % become candidates, of .85 99 %
MAX_COMPARED = 50  # earlier texts of one band that a text is held against; copies of copies need no more


def shingles(text: str) -> set[bytes]:
    """The character 5-grams of the normalised text; the text itself where it is shorter, nothing of an empty one."""
    kept = normalise(text)
    return {kept[at:at + SHINGLE].encode() for at in range(max(1, len(kept) - SHINGLE + 1))} if kept else set()


def jaccard(a: str, b: str) -> float:
    """Share of their 5-grams that both texts have, in [0, 1]; 1 for two empty ones."""
    left, right = shingles(a), shingles(b)
    return len(left & right) / len(left | right) if left or right else 1.0


def lexical_links(texts: Sequence[str], *, threshold: float = JACCARD, progress: Progress = silent) -> np.ndarray:
    """Return (k, 2) rows a < b of a Jaccard from the threshold up that connect what such pairs connect; k < n.

    Every link is checked. Candidates come from MinHash, so a pair may be missed: of a Jaccard just at .8 one in twenty.
    """
    root = np.arange(len(texts))
    links: list[tuple[int, int]] = []
    for group in _groups(_bands(texts, progress)):
        sets = {row: shingles(texts[row]) for row in group}
        for at, row in enumerate(group):
            for other in group[max(0, at - MAX_COMPARED):at]:
                if _root(root, row) != _root(root, other) and _is_alike(sets[row], sets[other], threshold):
                    root[_root(root, row)] = _root(root, other)
                    links.append((other, row))
    return np.array(links, dtype=np.intp).reshape(-1, 2)


def _bands(texts: Sequence[str], progress: Progress) -> np.ndarray:
    """(n, N_BANDS) uint64: equal numbers in a column for texts that agree in a band of their signatures."""
    from datasketch import MinHash

    factors = np.random.default_rng(0).integers(1, 2**63, BAND, dtype=np.uint64) | np.uint64(1)
    found = np.empty((len(texts), N_BANDS), dtype=np.uint64)
    signatures = MinHash.generator((shingles(text) for text in texts), num_perm=N_BANDS * BAND, hashfunc=zlib.crc32)
    for row, signature in enumerate(signatures):
        found[row] = (signature.hashvalues.astype(np.uint64).reshape(N_BANDS, BAND) * factors).sum(axis=1)
        if not row % 1000:
            progress("Comparing wordings", row, len(texts))
    return found


def _groups(bands: np.ndarray) -> Iterator[list[int]]:
    """The rows that agree in a band, ascending, band by band."""
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        bounds = np.flatnonzero(np.diff(band[order], prepend=~band[order[:1]], append=~band[order[-1:]]))
        for start, stop in pairwise(bounds):
            if stop - start > 1:
                yield order[start:stop].tolist()


def _is_alike(a: set[bytes], b: set[bytes], threshold: float) -> bool:
    if min(len(a), len(b)) < threshold * max(len(a), len(b)):
        return False
    common = len(a & b)
    return common >= threshold * (len(a) + len(b) - common)


def _root(root: np.ndarray, row: int) -> int:
    while root[row] != row:
        root[row] = root[root[row]]
        row = int(root[row])
    return row
