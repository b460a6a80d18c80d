"""More answers where people differ: one at a time, up to the batch's cap."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from django.db.models import Count, F, Q, QuerySet

from labeling.models import Annotation, Assignment, Batch, BatchItem
from labeling.overlap import needs_another
from labeling.services.batches import BELOW_CAP, ask_once_more
from labeling.services.bulk import CHUNK
from projects.models import Project


def widen_overlap(project: Project, example_ids: Collection[int] | None = None) -> int:
    """Want one more answer for each example whose answers are all in and differ; return how many examples it were.

    example_ids: look at these only, whose answers have just changed; None: at all of the project. Whoever appends to
    the ledger calls this in the same transaction, so that nothing is left to be found later.
    """
    items = BatchItem.objects.filter(BELOW_CAP, batch__project=project, is_set_aside=False, n_wanted__gte=2).exclude(
        batch__state=Batch.State.closed)
    ids = list(items.values_list("example_id", flat=True) if example_ids is None else example_ids)
    return sum(_widen(items.filter(example__in=ids[start:start + CHUNK]), project.task_type)
               for start in range(0, len(ids), CHUNK))


def _widen(items: QuerySet[BatchItem], task_type: str) -> int:
    answered = Count("assignments", filter=Q(assignments__state=Assignment.State.answered))
    complete = list(items.annotate(n_answered=answered).filter(n_answered__gte=F("n_wanted")))
    values = _values(complete)
    return ask_once_more(item.pk for item in complete if needs_another(values[item.example_id], task_type))


def _values(items: Sequence[BatchItem]) -> dict[int, list[Any]]:
    """Example → the current answers that count."""
    found: dict[int, list[Any]] = defaultdict(list)
    current = Annotation.objects.current().filter(example__in=[item.example_id for item in items])
    for example_id, value in current.values_list("example_id", "value"):
        found[example_id].append(value)
    return found
