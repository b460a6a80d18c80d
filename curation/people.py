"""What several people say together where no classifier can weigh them: Dawid-Skene, if there are votes enough."""

from dataclasses import dataclass

import numpy as np

from stats.dawid_skene import dawid_skene

MIN_VOTES = 3  # of an example: with fewer the majority is more often right (docs/methods.md)
MIN_VOTES_PER_CELL = 5  # of each person for each label, on average: fewer cannot tell how they confuse labels


@dataclass(frozen=True)
class PeopleSay:
    """label: (n,) int and its probability (n,) in [0, 1]; reliability: annotator → chance of being right."""

    label: np.ndarray
    probability: np.ndarray
    reliability: dict[int, float]


def people_say(example_index: np.ndarray, annotator_index: np.ndarray, label_index: np.ndarray, *, n_examples: int,
               n_labels: int) -> PeopleSay | None:
    """Return the consensus of people who differ in how reliable they are, or None where the votes are too few.

    example_index, annotator_index, label_index: (n_votes,) int arrays, one vote each, as `stats.dawid_skene` has them.
    Too few are votes of fewer than three people, an example with fewer than MIN_VOTES, or on average fewer than
    MIN_VOTES_PER_CELL votes by a person for a label.
    """
    n_people = len(np.unique(annotator_index))
    if n_people < 3 or np.bincount(example_index, minlength=n_examples).min() < MIN_VOTES:
        return None
    if len(label_index) < MIN_VOTES_PER_CELL * n_people * n_labels:
        return None
    found = dawid_skene(example_index, annotator_index, label_index, n_examples=n_examples, n_labels=n_labels)
    right = np.einsum("jkk,k->j", found.confusion, found.class_prior)
    return PeopleSay(found.consensus, found.posterior[np.arange(n_examples), found.consensus],
                     {int(pk): float(share) for pk, share in zip(found.annotators, right, strict=True)})
