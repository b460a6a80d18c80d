"""What people say about the examples of a look without having seen an answer: what the model is held against.

The product's own rule settles them (`curation.services.labels`, `held_out`): a pool example by what its answers say
together once all that were asked for are in, a dev or test example by the majority of three or more, either by a
curator's decision. Answers of users who corrected the model, and of people who were shown a suggestion, do not count.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from curation.services.labels import Ballot, answers_of, ballots
from labeling.models import Annotation, Assignment, Batch, BatchItem, Example
from labeling.services.batches import MIN_HELD_OUT_LABELS
from projects.models import Project


@dataclass(frozen=True)
class BlindLabel:
    """label: as a frozen row has it, None while it is not settled. why_not: in words, "" where it is settled.

    annotation_ids: the answers that settled it.
    """

    label: str | None
    annotation_ids: tuple[int, ...] = ()
    why_not: str = ""

    @property
    def is_settled(self) -> bool:
        return self.label is not None


def blind_labels(project: Project, examples: Sequence[Example]) -> dict[int, BlindLabel]:
    """Example id → its label by what people said blind; in few queries however many there are."""
    ids = [example.pk for example in examples]
    found = ballots(project, among=Example.objects.filter(pk__in=ids))
    seen, wanted, empty = _not_blind(ids), _wanted(ids), Ballot(answers=answers_of(project))
    labels = {}
    for example in examples:
        ballot = found.get(example.pk, empty)
        votes = [vote for vote in ballot.votes if vote.annotation_id not in seen[example.pk]]
        labels[example.pk] = _label(example, replace(ballot, votes=votes), n_wanted=wanted.get(example.pk, 0))
    return labels


def _label(example: Example, ballot: Ballot, *, n_wanted: int) -> BlindLabel:
    ids = tuple(vote.annotation_id for vote in ballot.votes)
    if not example.text:
        return BlindLabel(None, (), "erased")
    if ballot.is_excluded:
        return BlindLabel(None, ids, "excluded by a curator")
    if ballot.is_settled and ballot.decided_label:
        return BlindLabel(ballot.decided_label, ids)
    n_needed = 1 if example.split == Example.Split.pool else MIN_HELD_OUT_LABELS
    if len(ballot.votes) < n_needed:
        return BlindLabel(None, ids, f"{len(ballot.votes)} of {n_needed} labels" if n_needed > 1 else "no label yet")
    if len(ballot.votes) < n_wanted:
        return BlindLabel(None, ids, "one more label is asked for")
    label = ballot.consensus if example.split == Example.Split.pool else ballot.blind_label or ballot.decided_label
    return BlindLabel(label, ids) if label else BlindLabel(None, ids, f"people differ, no {ballot.answers.joint}")


def asked_for() -> QuerySet[BatchItem]:
    """What people still have before them, of all projects: asked for, not set aside, and with too few answers so far.

    Cheap once it is narrowed down to examples, since the tick asks every few seconds.
    """
    answered = Count("assignments", filter=Q(assignments__state=Assignment.State.answered))
    said = Annotation.objects.filter(example=OuterRef("example"), skipped=False, retracted=False).exclude(
        source=Annotation.Source.feedback).order_by().values("example").annotate(n=Count("annotator", distinct=True))
    items = BatchItem.objects.filter(is_set_aside=False).exclude(batch__state=Batch.State.closed)
    return items.annotate(n_answered=answered, n_said=Coalesce(Subquery(said.values("n")), 0)).filter(
        n_answered__lt=F("n_wanted"), n_said__lt=F("n_wanted"))


def _wanted(ids: Sequence[int]) -> dict[int, int]:
    """Example → how many answers an open batch wants of it, where they are not all in and nobody has set it aside."""
    answered = Count("assignments", filter=Q(assignments__state=Assignment.State.answered))
    items = BatchItem.objects.filter(example__in=ids, is_set_aside=False).exclude(batch__state=Batch.State.closed)
    return dict(items.annotate(n_answered=answered).filter(n_answered__lt=F("n_wanted")).values_list(
        "example_id", "n_wanted"))


def _not_blind(ids: Sequence[int]) -> dict[int, set[int]]:
    """Example → the answers of whoever had seen the model's: users' corrections, and where a suggestion was shown."""
    found: dict[int, set[int]] = defaultdict(set)
    said = Annotation.objects.filter(example__in=ids)
    for example_id, pk in said.filter(source=Annotation.Source.feedback).values_list("example_id", "pk"):
        found[example_id].add(pk)
    shown = set(Assignment.objects.filter(example__in=ids, shows_suggestion=True).values_list(
        "example_id", "annotator_id"))
    if shown:
        for example_id, who, pk in said.filter(example__in={pk for pk, _ in shown}).values_list(
                "example_id", "annotator_id", "pk"):
            if (example_id, who) in shown:
                found[example_id].add(pk)
    return found
