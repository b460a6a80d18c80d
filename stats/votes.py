"""Votes in long form: who gave which label to which example. Never a table of all examples by all annotators."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Votes:
    """Checked votes, ordered by example, then annotator: the order in which they came decides nothing.

    example: (n_votes,) int in [0, n_examples), ascending.
    annotator: (n_votes,) int positions in `annotators`.
    label: (n_votes,) int in [0, n_labels).
    annotators: (m,) int, the numbers that name them, ascending; each has a vote.
    n_of_example: (n_examples,) int, the votes on each example, at least 1.
    """

    example: np.ndarray
    annotator: np.ndarray
    label: np.ndarray
    annotators: np.ndarray
    n_of_example: np.ndarray
    n_labels: int

    @property
    def cell(self) -> np.ndarray:
        """(n_votes,) int: where each vote stands in a flattened (n_examples, n_labels) table."""
        return self.example * self.n_labels + self.label

    def counts(self) -> np.ndarray:
        """Return (n_examples, n_labels) int: the votes for each label on each example."""
        shape = (len(self.n_of_example), self.n_labels)
        return np.bincount(self.cell, minlength=shape[0] * shape[1]).reshape(shape)


def ordered_votes(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray, *,
                  n_examples: int, n_labels: int) -> Votes:
    """Return the votes, checked and in order.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each: a number in [0, n_examples), any
    number that names the annotator, a number in [0, n_labels).
    Raises ValueError if lengths differ, a number is out of its range, somebody votes twice on one example, or an
    example has no vote.
    """
    example, label = np.asarray(example_index, dtype=np.int64), np.asarray(label_index, dtype=np.int64)
    if not len(example) == len(annotator_index) == len(label):
        raise ValueError("votes must have an example, an annotator and a label each, got "
                         f"{len(example)}, {len(annotator_index)} and {len(label)}")
    outside = np.flatnonzero((label < 0) | (label >= n_labels))
    if len(outside):
        raise ValueError(f"labels must be in [0, {n_labels}), number {outside[0]} is {label[outside[0]]}")
    if len(example) and not 0 <= example.min() <= example.max() < n_examples:
        raise ValueError(f"example_index must be in [0, {n_examples}), got {example.min()} to {example.max()}")
    annotators, annotator = np.unique(np.asarray(annotator_index, dtype=np.int64), return_inverse=True)
    in_order = _sorted((example * len(annotators) + annotator) * n_labels + label)  # one number per vote
    place, label = np.divmod(in_order, n_labels)
    example, annotator = np.divmod(place, max(len(annotators), 1))
    repeated = np.flatnonzero(place[1:] == place[:-1])
    if len(repeated):
        n_given = int(np.sum(place == place[repeated[0]]))
        raise ValueError(f"an annotator votes once per example, on example {example[repeated[0]]} one has {n_given} "
                         "votes")
    n_of_example = np.bincount(example, minlength=n_examples)
    if n_of_example.min(initial=1) == 0:
        raise ValueError(f"every example needs a vote, example {n_of_example.argmin()} has none")
    return Votes(example, annotator, label, annotators, n_of_example, n_labels)


def _sorted(numbers: np.ndarray) -> np.ndarray:
    """Return non-negative ints in ascending order, 16 bits at a time: numpy sorts those by radix, ten times as fast."""
    for shift in range(0, int(numbers.max(initial=0)).bit_length(), 16):
        numbers = numbers[np.argsort((numbers >> shift).astype(np.uint16), kind="stable")]
    return numbers
