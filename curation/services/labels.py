"""What the ledger and the decisions say about each example's label, loaded as arrays for the plain modules."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db.models import QuerySet

from curation.models import Decision
from labeling.models import Annotation, Example
from projects.models import Project


@dataclass(frozen=True)
class Vote:
    """One annotator's current answer: ids of annotation and annotator, and the label."""

    annotation_id: int
    annotator_id: int
    label: str


@dataclass(frozen=True)
class Ballot:
    """All that people said about one example: current votes in order of arrival, and the decision that counts."""

    votes: list[Vote] = field(default_factory=list)
    decision: Decision | None = None

    @property
    def majority(self) -> str | None:
        """The label most votes are for, or None without votes or on a tie."""
        return majority([vote.label for vote in self.votes])

    @property
    def decided_label(self) -> str | None:
        return self.decision.value or None if self.decision else None

    @property
    def is_excluded(self) -> bool:
        return self.decision is not None and self.decision.verdict == Decision.Verdict.exclude

    @property
    def is_under_discussion(self) -> bool:
        return self.decision is not None and self.decision.verdict == Decision.Verdict.discuss

    @property
    def is_settled(self) -> bool:
        return self.decision is not None and self.decision.verdict in Decision.SETTLED


def majority(labels: list[str]) -> str | None:
    """The one label that is said most often, or None if there is none or several are."""
    ranked = Counter(labels).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def ballots(project: Project, *, among: QuerySet[Example] | None = None) -> dict[int, Ballot]:
    """Example id → ballot, for every example with an annotation or a decision.

    among: only these examples of the project; all of them if left out.
    """
    these: dict[str, Any] = {"example__project": project} if among is None else {"example__in": among}
    annotations = Annotation.objects.current().filter(**these)
    found: dict[int, Ballot] = {}
    for pk, example_id, annotator_id, label in annotations.order_by("pk").values_list(
            "pk", "example_id", "annotator_id", "value"):
        found.setdefault(example_id, Ballot()).votes.append(Vote(pk, annotator_id, str(label)))
    for decision in Decision.objects.current().filter(**these):
        ballot = found.get(decision.example_id, Ballot())
        found[decision.example_id] = Ballot(ballot.votes, decision)
    return found


@dataclass(frozen=True)
class ExampleRow:
    """The columns of an example that the plain modules need."""

    pk: int
    key: str
    text: str
    content_sha256: str
    group: str
    split: str


def example_rows(project: Project) -> list[ExampleRow]:
    """Every example of the project, in the order they came."""
    return [ExampleRow(*values) for values in Example.objects.filter(project=project).order_by("pk").values_list(
        "pk", "key", "text", "content_sha256", "group", "split")]


def codes(labels: list[str | None], order: list[str]) -> np.ndarray:
    """Labels as column numbers, -1 for None or a label outside `order`."""
    column = {label: k for k, label in enumerate(order)}
    return np.array([-1 if label is None else column.get(label, -1) for label in labels], dtype=np.intp)
