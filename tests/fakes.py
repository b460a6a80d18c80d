"""Stand-ins for the network and for models; never for our own code."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jobs.progress import Progress, silent


class HashingEncoder:
    """An Encoder without a model: bags of hashed character 3-grams, the same on every machine."""

    name = "hashing 3-grams"
    dimension = 256

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> np.ndarray:
        """Return (n, 256) float32, every row of length 1."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            padded = f"  {text.casefold()} "
            for start in range(len(padded) - 2):
                code = zlib.crc32(padded[start:start + 3].encode())
                vectors[row, code % self.dimension] += 1 if code & 1 << 31 else -1
            vectors[row, 0] += 0.5  # an empty text has a direction too
            progress("Embedding", row + 1, len(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def backwards(work: Any, pieces: Sequence[Any], *, shared: Any, sizes: Sequence[int], stage: str,
              progress: Progress = silent) -> Iterator[tuple[int, Any]]:
    """A Spread whose pieces come back in another order, as a cluster's may."""
    yield from reversed([(number, work(shared, piece, silent)) for number, piece in enumerate(pieces)])
