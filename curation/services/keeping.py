"""What is found by reading every answer of a project: kept for seconds, where it takes longer than a page may."""

from collections.abc import Callable
from dataclasses import dataclass

from django.core.cache import cache
from django.db.models import Max

from curation.models import Decision
from labeling.models import Annotation
from projects.models import Project

MANY_ANSWERS = 20_000  # rows of the ledger from which it is worth it; below, what is found is always new
KEPT_SECONDS = 20


def kept(project: Project, name: str, find: Callable[[], set[int]]) -> set[int]:
    """Return the example ids that `find` finds, or found under this name a moment ago.

    Answers that came since are missing for so long. What curators decide must not be: leave it to the caller.
    """
    numbers = Annotation.objects.values_list("pk", flat=True)
    newest, oldest = numbers.order_by("-pk").first(), numbers.order_by("pk").first()
    if newest is None or oldest is None or newest - oldest < MANY_ANSWERS:
        return find()
    return set(cache.get_or_set(f"{name}:{project.pk}", find, KEPT_SECONDS) or ())


@dataclass(frozen=True)
class Mark:
    """The last decision and the last answer that somebody had seen."""

    decision: int
    annotation: int


def mark_now() -> Mark:
    decision, annotation = (model.objects.aggregate(last=Max("pk"))["last"] or 0 for model in (Decision, Annotation))
    return Mark(decision, annotation)


def touched_since(mark: Mark, *, most: int) -> set[int] | None:
    """The examples decided or answered after a mark; None if they are more than `most`."""
    decided = Decision.objects.filter(pk__gt=mark.decision).values_list("example_id", flat=True).order_by()
    answered = Annotation.objects.filter(pk__gt=mark.annotation).values_list("example_id", flat=True).order_by()
    touched = {*decided[:most + 1], *answered[:most + 1]}
    return touched if len(touched) <= most else None


MANY_EXAMPLES = 2000  # from which it is worth to keep what is found; below, it is always found anew
MOST_TOUCHED = 1000
KEPT_UP_SECONDS = 600


def kept_up(name: str, n_examples: int, find: Callable[[set[int] | None], set[int]]) -> set[int]:
    """Return the example ids that `find(None)` finds: kept, and mended for what was decided or answered since.

    find: what it finds among these examples, or among all if None. n_examples: how many there are about.
    """
    if n_examples < MANY_EXAMPLES:
        return find(None)
    mark, held = mark_now(), cache.get(name)
    if held is not None and held[0] == mark:
        return set(held[1])
    touched = touched_since(held[0], most=MOST_TOUCHED) if held is not None else None
    found = find(None) if touched is None else held[1] - touched | (find(touched) if touched else set())
    cache.set(name, (mark, found), KEPT_UP_SECONDS)
    return found


def kept_count(name: str, n_examples: int, count: Callable[[], int],
               change: Callable[[Mark, set[int]], int]) -> int:
    """Return `count()`: kept, and mended like `kept_up`.

    change: by how much the count among these examples differs from what it was at a mark.
    """
    if n_examples < MANY_EXAMPLES:
        return count()
    mark, held = mark_now(), cache.get(name)
    if held is not None and held[0] == mark:
        return int(held[1])
    touched = touched_since(held[0], most=MOST_TOUCHED) if held is not None else None
    n = count() if touched is None else held[1] + (change(held[0], touched) if touched else 0)
    cache.set(name, (mark, n), KEPT_UP_SECONDS)
    return n
