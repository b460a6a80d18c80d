"""Solved examples in a folder, from which the model's process takes for each text those most like it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from curation.encoder import normalised
from training.prompts import Shot, shot_to_json, shots_from_json
from training.shots import shots_like

SHOTS, VECTORS = "shots.jsonl", "vectors.npy"
Encode = Callable[[Sequence[str]], np.ndarray]


def write_examples(folder: Path, shots: Sequence[Shot], vectors: np.ndarray) -> None:
    """Write examples and the (n, d) vectors of their texts into a new folder."""
    folder.mkdir(parents=True)
    (folder / SHOTS).write_text("".join(json.dumps(shot_to_json(shot)) + "\n" for shot in shots))
    np.save(folder / VECTORS, vectors)


class Examples:
    """A folder's examples, held in memory. encode: (n, d) vectors of texts, of length 1."""

    def __init__(self, folder: Path, encode: Encode) -> None:
        self.shots = shots_from_json([json.loads(line) for line in (folder / SHOTS).read_text().split("\n") if line])
        self.vectors = np.load(folder / VECTORS, allow_pickle=False)
        self.encode = encode

    def like(self, texts: Sequence[str], k: int) -> list[list[Shot]]:
        """For each text the k examples most like it, the most similar last.

        Vectors are kept in 16 bits where prompts are evaluated, so those of new texts are rounded alike.
        """
        asked = normalised(self.encode(texts).astype(np.float16).astype(np.float32))
        return shots_like(self.shots, self.vectors, texts, asked, k)
