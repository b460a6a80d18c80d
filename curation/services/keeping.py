"""What is found by reading every answer of a project: kept for seconds, where it takes longer than a page may."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from django.core.cache import cache

from curation.models import Decision
from labeling.models import Annotation
from projects.models import Project

T = TypeVar("T")
MANY_ANSWERS = 20_000  # rows of the ledger from which it is worth it; below, what is found is always new
KEPT_SECONDS = 20


def kept(project: Project, name: str, find: Callable[[], set[int]]) -> set[int]:
    """Return the example ids that `find` finds, or found under this name a moment ago.

    Answers that came since are missing for so long. What curators decide must not be: leave it to the caller.
    """
    if n_answers_about() < MANY_ANSWERS:
        return find()
    return set(cache.get_or_set(f"{name}:{project.pk}", find, KEPT_SECONDS) or ())


def n_answers_about() -> int:
    """As many answers as there are numbers of them: the ledger loses none."""
    numbers = Annotation.objects.values_list("pk", flat=True)
    newest, oldest = numbers.order_by("-pk").first(), numbers.order_by("pk").first()
    return newest - oldest if newest and oldest else 0


@dataclass(frozen=True)
class Mark:
    """The last decision and the last answer that somebody had seen; 0 for none."""

    decision: int
    annotation: int


def mark_now(project: Project | None = None) -> Mark:
    """The newest decision and answer that there are, in a project or at all."""
    decisions = Decision.objects.all() if project is None else Decision.objects.filter(example__project=project)
    newest = decisions.order_by("-pk").values_list("pk", flat=True).first()
    return Mark(newest or 0, Annotation.objects.newest_of(project))


MANY_EXAMPLES = 2000  # from which it is worth to keep what is found; below, it is always found anew
MOST_TOUCHED = 1000
KEPT_UP_SECONDS = 600


class Moment:
    """What has been decided and answered by now, asked for once however many things are kept up with it."""

    def __init__(self) -> None:
        self.mark = mark_now()
        self._touched: dict[Mark, set[int] | None] = {}

    def touched_since(self, mark: Mark) -> set[int] | None:
        """The examples decided or answered after a mark; None if they are more than MOST_TOUCHED."""
        if mark not in self._touched:
            found: set[int] = set()
            for model, seen in ((Decision, mark.decision), (Annotation, mark.annotation)):
                found |= {*model.objects.order_by().filter(pk__gt=seen).values_list("example_id", flat=True)[
                    :MOST_TOUCHED + 1]}
            self._touched[mark] = found if len(found) <= MOST_TOUCHED else None
        return self._touched[mark]


def kept_up(name: str, n_examples: int, find: Callable[[], T], mend: Callable[[T, Mark, set[int]], T],
               moment: Moment | None = None) -> T:
    """Return what `find()` finds: kept, and mended for what was decided or answered since.

    n_examples: how many there are about; among few it is always found anew.
    mend: gets what was found, the mark at which, and the examples touched since.
    """
    if n_examples < MANY_EXAMPLES:
        return find()
    moment, held = moment or Moment(), cache.get(name)
    if held is not None and held[0] == moment.mark:
        return held[1]
    touched = moment.touched_since(held[0]) if held is not None else None
    found = find() if touched is None else mend(held[1], held[0], touched) if touched else held[1]
    cache.set(name, (moment.mark, found), KEPT_UP_SECONDS)
    return found


def ids_kept_up(name: str, n_examples: int, find: Callable[[set[int] | None], set[int]],
                moment: Moment | None = None) -> set[int]:
    """`kept_up` for ids of examples. find: those among these examples, or among all if None."""
    return kept_up(name, n_examples, lambda: find(None),
                   lambda held, _, touched: held - touched | find(touched), moment)
