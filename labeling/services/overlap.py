"""More answers where people differ: one at a time, up to the batch's cap."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db.models import Count, F, Q

from labeling.models import Annotation, Assignment, Batch, BatchItem
from labeling.overlap import needs_another
from labeling.services.batches import ask_once_more, most_wanted
from projects.models import Project


def widen_overlap(project: Project) -> int:
    """Want one more answer for each example whose answers are all in and differ; return how many examples it were."""
    answered = Count("assignments", filter=Q(assignments__state=Assignment.State.answered))
    complete = BatchItem.objects.filter(
        batch__project=project, batch__state=Batch.State.open, is_set_aside=False, n_wanted__gte=2).annotate(
        n_answered=answered).filter(n_answered__gte=F("n_wanted")).select_related("batch", "example")
    items = [item for item in complete if item.n_wanted < most_wanted(item.batch, item.example.split)]
    values = _values(items)
    return ask_once_more(item.pk for item in items if needs_another(values[item.example_id], project.task_type))


def _values(items: Sequence[BatchItem]) -> dict[int, list[Any]]:
    """Example → the current answers that count."""
    found: dict[int, list[Any]] = defaultdict(list)
    current = Annotation.objects.current().filter(example__in=[item.example_id for item in items])
    for example_id, value in current.values_list("example_id", "value"):
        found[example_id].append(value)
    return found
