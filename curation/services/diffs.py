"""What one snapshot holds differently from another: rows added, removed, relabelled, or moved to another split."""

from dataclasses import dataclass

from django.core.cache import cache
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from curation.models import Snapshot, SnapshotRow

KINDS = {"added": "added", "removed": "removed", "relabelled": "relabelled", "moved": "moved to another split"}


@dataclass(frozen=True)
class Changes:
    """Numbers of rows. An example's split follows from its group, so rows move only between other projects' splits."""

    n_added: int
    n_removed: int
    n_relabelled: int
    n_moved: int

    @property
    def n(self) -> int:
        return self.n_added + self.n_removed + self.n_relabelled + self.n_moved


def changes_since(snapshot: Snapshot, earlier: Snapshot) -> Changes:
    """Compare two snapshots of a project example by example. Neither can change, so the answer is kept."""
    key = f"changes:{earlier.sha256[:16]}:{snapshot.sha256[:16]}:{earlier.pk}:{snapshot.pk}"
    counts: dict[str, int] = cache.get_or_set(
        key, lambda: {kind: differing(snapshot, earlier, kind).count() for kind in KINDS}, None) or {}
    return Changes(**{f"n_{kind}": counts[kind] for kind in KINDS})


def differing(snapshot: Snapshot, earlier: Snapshot, kind: str) -> QuerySet[SnapshotRow]:
    """The rows of one kind, in file order: those of `snapshot`, with `before` and `split_before` of the earlier one
    beside them; of the removed ones the rows of the earlier snapshot. Raises KeyError for a kind that there is not.
    """
    theirs = SnapshotRow.objects.filter(snapshot=earlier, example=OuterRef("example"))
    ours = SnapshotRow.objects.filter(snapshot=snapshot).annotate(
        before=Subquery(theirs.values("label")[:1]), split_before=Subquery(theirs.values("split")[:1]))
    found = {
        "added": lambda: ours.filter(~Exists(theirs)),
        "removed": lambda: SnapshotRow.objects.filter(snapshot=earlier).filter(
            ~Exists(SnapshotRow.objects.filter(snapshot=snapshot, example=OuterRef("example")))),
        "relabelled": lambda: ours.filter(Exists(theirs.exclude(label=OuterRef("label")))),
        "moved": lambda: ours.filter(Exists(theirs.exclude(split=OuterRef("split"))))}[kind]()
    return found.order_by("position")
