"""What is found by reading every answer of a project: kept for seconds, where it takes longer than a page may."""

from collections.abc import Callable

from django.core.cache import cache

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
