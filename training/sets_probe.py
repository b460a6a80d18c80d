"""The linear probe for sets of labels: a logistic regression on embeddings for every label, whether it fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation.probabilities import PROBE_CHOICES
from labeling.task_types import multilabel

if TYPE_CHECKING:
    from sklearn.multiclass import OneVsRestClassifier


@dataclass(frozen=True)
class SetsProbe:
    """Its chances follow `labels`; inverse_regularisation: the C chosen on dev; dev_score: macro-F1 there."""

    labels: tuple[str, ...]
    classifier: "OneVsRestClassifier"
    inverse_regularisation: float
    dev_score: float

    def predict(self, embeddings: np.ndarray) -> list[str]:
        """Return each row's labels, those above one half or else the likeliest, as a model would write them."""
        chances = self.classifier.predict_proba(embeddings)
        fits = (chances > 0.5) | (chances == chances.max(axis=1, keepdims=True)) & (chances.max(axis=1) <= 0.5)[:, None]
        return [multilabel.to_completion([self.labels[k] for k in np.flatnonzero(row)]) for row in fits]


def fit_sets_probe(train_embeddings: np.ndarray, train_labels: Sequence[str], dev_embeddings: np.ndarray,
                   dev_labels: Sequence[str], *, seed: int, choices: Sequence[float] = PROBE_CHOICES) -> SetsProbe:
    """Return the probe with the best macro-F1 on dev among `choices` of C; of equal ones the smallest C.

    train_embeddings, dev_embeddings: (n, d) float arrays, every row of length 1. labels: sets as a model writes them,
    a label on each line. A label that no or every train row has is always, or never, given.
    Raises ValueError if train or dev has no rows.
    """
    from sklearn.linear_model import LogisticRegression  # here: those who import this module seldom call it
    from sklearn.multiclass import OneVsRestClassifier

    if not len(train_labels) or not len(dev_labels):
        raise ValueError("train and dev must have at least one row each, got "
                         f"{len(train_labels)} and {len(dev_labels)}")
    sets = [set(label.split("\n")) for label in train_labels]
    labels = tuple(sorted(set().union(*sets)))
    given = np.array([[label in row for label in labels] for row in sets], dtype=int)
    dev = [label.split("\n") for label in dev_labels]

    def fitted(c: float) -> SetsProbe:
        classifier = OneVsRestClassifier(LogisticRegression(C=c, max_iter=1000, random_state=seed)).fit(
            train_embeddings, given)
        probe = SetsProbe(labels, classifier, c, 0.0)
        said = [label.split("\n") for label in probe.predict(dev_embeddings)]
        return SetsProbe(labels, classifier, c, multilabel.score(dev, said).value)

    return max((fitted(c) for c in sorted(choices)), key=lambda probe: probe.dev_score)  # the first of equals
