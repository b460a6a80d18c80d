"""What has changed since a snapshot was frozen: rows whose label would be another one today, and rows that were erased.

A changed row is one where people answered or a curator decided after the freeze, and what counts now is another label.
Where a new answer says the same, nothing has changed. Where answers tie by now and nobody has decided, the frozen label
has not been contradicted.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q

from curation.answers import Answers
from curation.models import Decision, Snapshot, SnapshotRow
from curation.services.labels import Ballot, answers_of, ballots
from labeling.models import Annotation, Example
from labeling.services.bulk import CHUNK

LEFT_OUT = ""  # what would count now is to leave the row out


@dataclass(frozen=True)
class ChangedRow:
    """A row whose label would be `label_now` if it were frozen today; LEFT_OUT if it would not be in."""

    example_id: int
    key: str
    position: int
    split: str
    label: str
    label_now: str


def changed_rows(snapshot: Snapshot, among: Iterable[int] | None = None) -> list[ChangedRow]:
    """The rows whose label has changed since the freeze, in file order; erased ones are no longer among them.

    among: ids of the examples that may have changed, as `touched_since` gives them; asked for if left out.
    """
    touched = sorted(touched_since(snapshot) if among is None else among)
    answers, found = answers_of(snapshot.project), []
    for start in range(0, len(touched), CHUNK):
        ids = touched[start:start + CHUNK]
        rows = SnapshotRow.objects.filter(snapshot=snapshot, example__in=ids, example__erasure__isnull=True)
        said: dict[int, Ballot] | None = None
        for pk, key, position, split, label in rows.values_list(
                "example_id", "example__key", "position", "split", "label"):
            if said is None:
                said = ballots(snapshot.project, among=Example.objects.filter(pk__in=ids))
            now = label_now(label, split, said.get(pk), answers)
            if now != label:
                found.append(ChangedRow(pk, key, position, split, label, now))
    return sorted(found, key=lambda row: row.position)


def touched_since(snapshot: Snapshot) -> set[int]:
    """The examples of the project that were answered or decided on after the freeze."""
    if snapshot.last_annotation is None or snapshot.last_decision is None:  # frozen before these were noted
        newer_answers, newer_decisions = Q(created_at__gt=snapshot.created_at), Q(created_at__gt=snapshot.created_at)
    else:
        newer_answers, newer_decisions = Q(pk__gt=snapshot.last_annotation), Q(pk__gt=snapshot.last_decision)
    project: int = snapshot.project_id
    return {*Annotation.objects.filter(newer_answers, annotator__project=project).values_list("example_id", flat=True),
            *Decision.objects.filter(newer_decisions, example__project=project).values_list("example_id", flat=True)}


def label_now(label: str, split: str, ballot: Ballot | None, answers: Answers) -> str:
    """The label that a row frozen with `label` would get today; LEFT_OUT if it would not be frozen."""
    if ballot is None:
        return LEFT_OUT
    if ballot.is_excluded or ballot.is_under_discussion:
        return LEFT_OUT
    if ballot.decided_label:
        return ballot.decided_label
    if answers.is_free_text and label in {vote.label for vote in ballot.votes}:
        return label  # one of several good answers; which is most like the others moves with every new one
    said = ballot.consensus if split == "train" else ballot.blind_label
    return said or (label if ballot.votes else LEFT_OUT)


def n_erased(snapshot: Snapshot) -> int:
    """How many rows of a snapshot were erased since."""
    return SnapshotRow.objects.filter(snapshot=snapshot, example__erasure__isnull=False).count()
