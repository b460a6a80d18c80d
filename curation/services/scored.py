"""What a scoring knows of each example while it runs, and what the report before it found."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from curation.answers import Answers
from curation.canonical import sha256_of
from curation.label_sets import OutOfSampleSets
from curation.models import QualityReport
from curation.outliers import Outliers
from curation.probabilities import OutOfSample
from curation.report_changes import Judged
from curation.services.duplicate_search import Duplicates
from curation.services.labels import Ballot, ExampleRow
from curation.text_checks import VERSION
from labeling.models import Example

SEED = 0


@dataclass
class Scored:
    """Per example, in the order of `rows`, what will be written; nan and empty where there is nothing to say.

    flags: row → kind of flag → its reasons. remarks: row → what else is to be said. language: of the text, of free text
    the answer's. outcomes: row → what the checks found. facts: what the job remembers for the pages.
    weighed: row → how sure its label is, where it is what people say, weighed by how reliable each is.
    """

    answers: Answers
    rows: list[ExampleRow]
    ballot_of: list[Ballot]
    duplicates: Duplicates
    cluster: np.ndarray
    cluster_size: np.ndarray
    crosses: np.ndarray
    label: list[str | None]
    quality: np.ndarray
    is_issue: np.ndarray
    agreement: np.ndarray
    label_probability: np.ndarray
    predicted_probability: np.ndarray
    predicted: list[str]
    neighbours: dict[int, list[list[float]]] = field(default_factory=dict)
    annotators: dict[str, float] = field(default_factory=dict)
    out_of_sample: OutOfSample | OutOfSampleSets | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    hidden_because: str = ""
    flags: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    remarks: dict[int, list[str]] = field(default_factory=dict)
    outliers: Outliers | None = None
    language: list[str] = field(default_factory=list)
    outcomes: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    weighed: dict[int, float] = field(default_factory=dict)

    @property
    def has_label(self) -> np.ndarray:
        return np.array([label is not None for label in self.label], dtype=bool)

    @property
    def is_pool(self) -> np.ndarray:
        return np.array([row.split == Example.Split.pool for row in self.rows], dtype=bool)

    @cached_property
    def rules(self) -> str:
        """What the checks read besides an example and its label."""
        return sha256_of(json.dumps([VERSION, self.answers.task_type, dict(self.answers.schema)]).encode())

    def fingerprint(self, row: int) -> int:
        """What the checks of an example depend on besides its text, which never changes."""
        return int(sha256_of(f"{self.rules} {self.label[row] is None} {self.label[row]}".encode())[:15], 16)

    def flag(self, row: int, kind: str, reason: str) -> None:
        self.flags.setdefault(int(row), {}).setdefault(kind, []).append(reason)

    def remark(self, row: int, words: str) -> None:
        self.remarks.setdefault(int(row), []).append(words)


class Known(NamedTuple):
    """What an earlier report found in an example by itself, which holds as long as the fingerprint is the same."""

    fingerprint: int | None
    failures: list[tuple[str, str]]
    language: str


@dataclass(frozen=True)
class Earlier:
    """The report before, and what it says of each example by its id."""

    report: QualityReport | None
    known: dict[int, Known]
    judged: dict[int, Judged]
