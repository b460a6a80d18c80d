"""Batches: which examples people are asked to label, and how often each.

An example of dev or test is always asked three times or more, whatever the batch says: its label is what everything
else is judged by.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, Sum
from django.urls import reverse
from django.utils import timezone

from labeling.models import Annotator, Assignment, Batch, BatchItem, Example, LabelingRules
from labeling.models.batches import AssignmentQuerySet
from labeling.services.bulk import CHUNK
from projects.errors import UserError
from projects.models import Project
from projects.services import audit, notify
from projects.wording import counted

MIN_HELD_OUT_LABELS = 3  # a dev or test label is the majority of so many blind answers at least
MAX_HELD_OUT_LABELS = 5
MAX_LABELS = 20
BELOW_CAP = Q(n_wanted__lt=F("batch__max_labels")) | (
    ~Q(example__split=Example.Split.pool) & Q(n_wanted__lt=MAX_HELD_OUT_LABELS))  # items that may want one more


@dataclass(frozen=True)
class Overlap:
    """How many answers the examples of a batch get.

    n_labels: every one. overlap_labels: a share of them, `overlap_share` in [0, 1], chosen by hash.
    max_labels: where the answers differ, one more at a time up to so many.
    """

    n_labels: int = 1
    overlap_share: float = 0.1
    overlap_labels: int = 2
    max_labels: int = 3

    def check(self) -> None:
        """Raises UserError where the numbers contradict each other."""
        if not 1 <= self.n_labels <= self.overlap_labels <= self.max_labels <= MAX_LABELS:
            raise UserError(f"Ask for 1 to {MAX_LABELS} labels, where the overlap is no smaller than what all get and "
                            f"no larger than the most; got {self.n_labels}, {self.overlap_labels} and "
                            f"{self.max_labels}.")
        if not 0 <= self.overlap_share <= 1:
            raise UserError(f"The share that is labelled more often lies between 0 and 1; got {self.overlap_share:g}.")


def rules_of(project: Project) -> LabelingRules:
    """The project's rules for labelling, as they stand or as they are by default."""
    return LabelingRules.objects.filter(project=project).first() or LabelingRules(project=project)


@transaction.atomic
def create_batch(project: Project, example_ids: Iterable[int], *, title: str, by: User, overlap: Overlap | None = None,
                 annotators: Sequence[Annotator] = (), skips: str = Batch.Skips.next_person, vendor: str = "") -> Batch:
    """Ask for labels of these examples, in this order; those that stand in an open batch already are left out.

    overlap: by default one label each, a tenth of them two, up to three where those differ.
    annotators: who is asked; nobody named means everybody who labels in the project.
    vendor: the name of an outside company that gets the batch as a file; nothing of it lands on a desk.
    Raises UserError if no example is left or the overlap contradicts itself.
    """
    overlap = overlap or Overlap()
    overlap.check()
    if strangers := [annotator.name for annotator in annotators if annotator.project_id != project.pk]:
        raise UserError(f"{', '.join(strangers)} do not label in “{project}”.")
    wanted = list(dict.fromkeys(example_ids))
    chosen = _free(project, wanted)
    if not chosen:
        raise UserError("All of these examples are in an open batch already." if wanted else
                        "Choose some examples first.")
    Project.objects.select_for_update().get(pk=project.pk)  # one number per batch
    last = Batch.objects.filter(project=project).first()
    batch = Batch.objects.create(
        project=project, number=last.number + 1 if last else 1, title=(title.strip() or "labels")[:100],
        n_labels=overlap.n_labels, overlap_share=overlap.overlap_share, overlap_labels=overlap.overlap_labels,
        max_labels=overlap.max_labels, skips=skips, vendor=vendor.strip(), created_by=by)
    batch.annotators.set(annotators)
    BatchItem.objects.bulk_create(
        (BatchItem(batch=batch, example_id=pk, priority=position, n_wanted=n_wanted(batch, key, split))
         for position, (pk, key, split) in enumerate(chosen)), CHUNK)
    audit(project, by, "create_batch", {"batch": batch.number, "n_examples": len(chosen), "vendor": batch.vendor,
                                        "annotators": [annotator.name for annotator in annotators]})
    return batch


def _free(project: Project, example_ids: list[int]) -> list[tuple[int, str, str]]:
    """(pk, key, split) of the project's examples among these that are in no open batch, in the order given.

    One without a text was erased: there is nothing to label.
    """
    taken = set(BatchItem.objects.filter(batch__project=project).exclude(batch__state=Batch.State.closed)
                .values_list("example_id", flat=True))
    found = {pk: (pk, key, split) for start in range(0, len(example_ids), CHUNK)
             for pk, key, split in Example.objects.filter(project=project, pk__in=example_ids[start:start + CHUNK])
             .exclude(text="").values_list("pk", "key", "split")}
    return [found[pk] for pk in example_ids if pk in found and pk not in taken]


def n_wanted(batch: Batch, key: str, split: str) -> int:
    """How many answers an example gets at first: which ones get more follows from a hash, so nobody can choose."""
    digest = hashlib.sha256(f"{batch.project.split_salt}:overlap:{batch.number}:{key}".encode()).digest()
    is_drawn = int.from_bytes(digest[:8]) < batch.overlap_share * 2**64
    n = batch.overlap_labels if is_drawn else batch.n_labels
    return n if split == Example.Split.pool else max(n, MIN_HELD_OUT_LABELS)


@transaction.atomic
def set_batch_state(batch: Batch, state: str, *, by: User) -> Batch:
    """Pause a batch, open it again, or close it for good; what is on desks of a closed batch is taken back.

    Raises UserError if it is closed already or the state is none of these.
    """
    if state not in Batch.State.values:
        raise UserError(f"A batch is {', '.join(Batch.State.values)}; got “{state}”.")
    if Batch.objects.filter(pk=batch.pk).exclude(state=Batch.State.closed).update(state=state) != 1:
        raise UserError(f"{batch} is closed. Make another one.")
    if state == Batch.State.closed:
        take_back(Assignment.objects.filter(item__batch=batch))
    audit(batch.project, by, "set_batch_state", {"batch": batch.number, "state": state})
    batch.refresh_from_db()
    return batch


def take_back(assignments: AssignmentQuerySet) -> int:
    """Let the time of open assignments be over now: the door refuses answers, the next sync removes them."""
    now = timezone.now()
    return assignments.open().filter(expires_at__gt=now).update(expires_at=now)


@dataclass(frozen=True)
class BatchProgress:
    """What became of a batch. Counts of answers, but for n_examples, n_done and n_set_aside, which count examples."""

    n_examples: int
    n_done: int
    n_set_aside: int
    n_wanted: int
    n_answered: int
    n_open: int


def progress_of(batch: Batch) -> BatchProgress:
    """How far a batch is: an example is done when all answers wanted of it are in."""
    answered = Count("assignments", filter=Q(assignments__state=Assignment.State.answered))
    items = list(batch.items.annotate(n_answered=answered).values_list("n_wanted", "n_answered", "is_set_aside"))
    n_open = Assignment.objects.open().filter(item__batch=batch).count()
    return BatchProgress(
        n_examples=len(items), n_done=sum(answered >= wanted for wanted, answered, _ in items),
        n_set_aside=sum(aside for _, _, aside in items), n_wanted=sum(wanted for wanted, _, _ in items),
        n_answered=sum(answered for _, answered, _ in items), n_open=n_open)


def ask_once_more(item_ids: Iterable[int]) -> int:
    """Want one more answer for these items; return how many are asked again."""
    return BatchItem.objects.filter(pk__in=list(item_ids)).update(n_wanted=F("n_wanted") + 1)


def tell_of_done_batches(project: Project) -> None:
    """Tell of the open batches in which nobody has anything left to answer; of each once, until more is asked of it."""
    items = BatchItem.objects.filter(batch=OuterRef("pk"))
    lying = Assignment.objects.open().filter(item__batch=OuterRef("pk"))
    done = Batch.objects.filter(project=project, state=Batch.State.open).filter(
        Exists(items), ~Exists(items.filter(is_set_aside=False, n_taken__lt=F("n_wanted"))), ~Exists(lying))
    for batch in done.annotate(n_examples=Count("items"), n_asked=Sum("items__n_wanted")):
        notify(project, "batch.done", title=f"{batch} is done", key=f"batch.done:{batch.pk}:{batch.n_asked}",
               text=f"{counted(batch.n_examples, 'example')} and nobody has anything left to answer.",
               people=[batch.created_by], data={"batch": batch.pk, "n_examples": batch.n_examples},
               link=reverse("labeling:batch", args=[batch.pk]))
