"""What the ledger and the decisions say about each example's label, loaded as arrays for the plain modules."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from django.db.models import QuerySet

from curation.answers import COMPARED_WHOLE, Answers
from curation.compared import asked_text, compared_text
from curation.models import Decision
from labeling.models import Annotation, Example
from labeling.texts import content_sha256
from projects.models import Project

CLASSES = Answers("classification", {})


@dataclass(frozen=True)
class Vote:
    """One annotator's current answer: ids of annotation and annotator, the answer, and the answer as a label."""

    annotation_id: int
    annotator_id: int
    label: str
    value: Any


@dataclass(frozen=True)
class Ballot:
    """All that people said about one example: current votes in order of arrival, and the decision that counts."""

    votes: list[Vote] = field(default_factory=list)
    decision: Decision | None = None
    answers: Answers = CLASSES
    source: str = ""  # the example's text, where its answers point into it

    @property
    def majority(self) -> str | None:
        """The label most votes are for, or None without votes or on a tie."""
        return majority([vote.label for vote in self.votes])

    @cached_property
    def consensus(self) -> str | None:
        """The label of what the votes say together, by the rule of their task type; None without votes or on a tie."""
        if len(self.votes) == 1:
            return self.votes[0].label
        if self.answers.are_labels:
            return self.majority
        return self.answers.consensus([vote.value for vote in self.votes], source=self.source)

    @property
    def blind_label(self) -> str | None:
        """The label of a held-out example by its votes alone, None on a tie.

        The answer of most people where answers are right or wrong as a whole; else what they say together: of spans and
        fields those of more than half, of free text the answer most like the others.
        """
        return self.majority if self.answers.task_type in COMPARED_WHOLE else self.consensus

    @property
    def has_blind_label(self) -> bool:
        """Whether there is a blind label, without comparing free texts, which takes long.

        Of free text one can be trusted to be there once one answer leads or three differ; of three that differ, two
        could still be equally much like all, which freezing finds out.
        """
        labels = [vote.label for vote in self.votes]
        if self.answers.is_free_text:
            return majority(labels) is not None or len(set(labels)) > 2
        leader = majority(labels)  # more than half give it whole: no need to look at its parts
        return (leader is not None and 2 * labels.count(leader) > len(labels)) or self.blind_label is not None

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


def answers_of(project: Project) -> Answers:
    return Answers(project.task_type, project.schema)


def ballots(project: Project, *, among: QuerySet[Example] | None = None) -> dict[int, Ballot]:
    """Example id → ballot, for every example with an annotation or a decision.

    among: only these examples of the project; all of them if left out.
    """
    answers = answers_of(project)
    these: dict[str, Any] = {"example__project": project} if among is None else {"example__in": among}
    annotations = Annotation.objects.current().filter(**these)
    points_into_text = project.task_type == "spans"  # the one type whose labels need the text
    columns = ["pk", "example_id", "annotator_id", "value", *(["example__text"] if points_into_text else [])]
    found: dict[int, Ballot] = {}
    for pk, example_id, annotator_id, value, *source in annotations.order_by("pk").values_list(*columns):
        ballot = found.get(example_id)
        if ballot is None:
            ballot = found[example_id] = Ballot([], None, answers, *source)
        ballot.votes.append(Vote(pk, annotator_id, answers.label(value, source=ballot.source), value))
    for decision in Decision.objects.current().filter(**these):
        ballot = found.get(decision.example_id, Ballot(answers=answers))
        found[decision.example_id] = Ballot(ballot.votes, decision, answers, ballot.source)
    return found


def ballot_of(example: Example) -> Ballot:
    """The ballot of one example, empty if nobody has said anything."""
    project = example.project
    return ballots(project, among=Example.objects.filter(pk=example.pk)).get(
        example.pk, Ballot(answers=answers_of(project)))


@dataclass(frozen=True)
class ExampleRow:
    """The columns of an example that the plain modules need.

    compared: the text by which it is near to others; compared_sha256: of that, normalised.
    asked: the text that its answer is to.
    """

    pk: int
    key: str
    text: str
    content_sha256: str
    group: str
    split: str
    compared: str
    compared_sha256: str
    asked: str


def example_rows(project: Project) -> list[ExampleRow]:
    """Every example of the project that was not erased, in the order they came."""
    columns = ("pk", "key", "text", "content_sha256", "group", "split")
    found = Example.objects.filter(project=project, erasure__isnull=True).order_by("pk")
    if project.task_type not in ("preference", "chat"):  # the text is all there is to compare
        return [ExampleRow(pk, key, text, sha256, group, split, text, sha256, text)
                for pk, key, text, sha256, group, split in found.values_list(*columns)]
    rows = []
    for pk, key, text, sha256, group, split, data in found.values_list(*columns, "data"):
        compared, asked = compared_text(project.task_type, text, data), asked_text(project.task_type, text, data)
        rows.append(ExampleRow(pk, key, text, sha256, group, split, compared, content_sha256(compared), asked))
    return rows


def codes(labels: list[str | None], order: list[str]) -> np.ndarray:
    """Labels as column numbers, -1 for None or a label outside `order`."""
    column = {label: k for k, label in enumerate(order)}
    return np.array([-1 if label is None else column.get(label, -1) for label in labels], dtype=np.intp)
