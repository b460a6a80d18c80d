"""Which training rows a prompt shows as solved examples: the same ones to all, or to each text those most like it."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from curation.facility_location import facility_location
from training.prompts import Shot

MOST_FITTED = 5_000  # candidates of one label: facility location compares all with all
BLOCK = 1_024  # rows compared at once


def clear_of(train: np.ndarray, held_out: np.ndarray, *, threshold: float) -> np.ndarray:
    """Return the (n,) booleans of the training rows that nearly repeat no held-out row.

    train, held_out: (n, d) and (m, d) float arrays, rows of length 1. threshold: cosine from which two rows count as
    the same. A prompt that shows a text which nearly is the one it is asked about would be judged on its own answer.
    """
    if not len(held_out):
        return np.ones(len(train), dtype=bool)
    return np.concatenate([(train[block] @ held_out.T).max(axis=1) < threshold for block in _blocks(len(train))]
                          or [np.zeros(0, dtype=bool)])


def nearest(train: np.ndarray, asked: np.ndarray, k: int) -> np.ndarray:
    """Return the (m, min(k, n)) rows of `train` that are most like each row of `asked`, the most similar last.

    train, asked: (n, d) and (m, d) float arrays, rows of length 1. Of equally similar rows the earlier counts as the
    more similar. The most similar stands last, next to the question.
    Source: Liu et al. 2022, What Makes Good In-Context Examples for GPT-3?, DeeLIO.
    """
    k = min(k, len(train))
    found = np.zeros((len(asked), k), dtype=np.intp)
    for block in _blocks(len(asked)):
        order = np.argsort(-(asked[block] @ train.T), axis=1, kind="stable")[:, :k]
        found[block] = order[:, ::-1]
    return found


def shots_like(shown: Sequence[Shot], vectors: np.ndarray, texts: Sequence[str], asked: np.ndarray,
               k: int) -> list[list[Shot]]:
    """Return for each text the k solved examples that are most like it, the most similar last; never its own text.

    shown: n examples, `vectors` (n, d) of their texts. texts: m, `asked` (m, d) their vectors. Rows of length 1.
    """
    found = []
    for text, order in zip(texts, nearest(vectors, asked, k + 1), strict=True):
        found.append([shown[n] for n in order if shown[n].text.strip() != text.strip()][-k:])
    return found


def balanced_spread(vectors: np.ndarray, labels: Sequence[str], k: int) -> list[int]:
    """Return up to k rows, labels taking turns, within each label those that best stand for all its rows.

    vectors: (n, d) float array, rows of length 1. labels: n. With more labels than k, those with the most rows come;
    of equals the first by name. Each round begins with another label, as small models repeat the last answer.
    """
    counts = Counter(labels)
    names = sorted(sorted(counts), key=lambda name: -counts[name])[:k]
    queues = {}
    for name in sorted(names):
        members = np.array([row for row, label in enumerate(labels) if label == name][:MOST_FITTED])
        wanted = -(-k // len(names))
        queues[name] = members[_spread(vectors[members], wanted)].tolist()
    chosen: list[int] = []
    for n in range(max(map(len, queues.values()), default=0)):
        turn = [queue[n] for queue in queues.values() if n < len(queue)]
        chosen += turn[n % len(turn):] + turn[:n % len(turn)]
    return chosen[:k]


def spread_with_new_answers(vectors: np.ndarray, answers: Sequence[str], sizes: Sequence[int], *, k: int,
                            most_characters: int) -> list[int]:
    """Return up to k rows that best stand for all, no two with the same answer, together of at most so many characters.

    sizes: characters of each row with its answer; a row that does not fit any more is left out, the next may. The
    best 16 k rows are looked at.
    """
    chosen: list[int] = []
    room = most_characters
    for row in _spread(vectors[:MOST_FITTED], 16 * k):
        if len(chosen) < k and sizes[row] <= room and answers[row] not in {answers[other] for other in chosen}:
            chosen.append(int(row))
            room -= sizes[row]
    return chosen


def _spread(vectors: np.ndarray, size: int) -> np.ndarray:
    return facility_location(vectors, np.ones(len(vectors)), size, chosen=np.zeros(0, dtype=np.intp)).rows


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))
