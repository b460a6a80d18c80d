"""From labels to models and back: what holds an example, and what was made from labels that have changed since."""

from collections.abc import Sequence
from dataclasses import dataclass

from curation.answers import Answers
from curation.models import Snapshot, SnapshotRow
from curation.services.labels import answers_of, ballot_of
from curation.services.staleness import changed_rows, label_now, n_erased
from labeling.models import Example
from projects.models import Project
from projects.wording import count_words
from training.models import Adapter, Run
from training.services.champions import champion_of


@dataclass(frozen=True)
class Holding:
    """A snapshot that holds an example, as which row, and what was made from it.

    label: as it is frozen; shown, shown_now: that label, and the one it would get today, in words, "" for left out.
    """

    row: SnapshotRow
    shown: str
    shown_now: str
    has_changed: bool
    runs: list[Run]
    adapters: list[Adapter]

    @property
    def snapshot(self) -> Snapshot:
        return self.row.snapshot

    @property
    def was_learned(self) -> bool:
        """Whether the adapters have seen its label: dev and test rows only judge."""
        return self.row.split == "train"


def holdings(example: Example) -> list[Holding]:
    """Every snapshot that holds the example, newest first, with its runs and adapters. Seven queries at most."""
    rows = list(SnapshotRow.objects.filter(example=example).select_related("snapshot").order_by("-snapshot__number"))
    runs = list(Run.objects.filter(snapshot__in=[row.snapshot_id for row in rows]).select_related("adapter"))
    answers, ballot = answers_of(example.project), ballot_of(example) if rows else None
    is_erased = hasattr(example, "erasure")
    return [_holding(row, label_now(row.label, row.split, ballot, answers) if not is_erased else row.label, answers,
                     example.text, [run for run in runs if run.snapshot_id == row.snapshot_id]) for row in rows]


def _holding(row: SnapshotRow, now: str, answers: Answers, text: str, runs: list[Run]) -> Holding:
    return Holding(
        row=row, shown=answers.show(row.label, source=text), shown_now=answers.show(now, source=text),
        has_changed=now != row.label, runs=runs, adapters=[run.adapter for run in runs if hasattr(run, "adapter")])


@dataclass(frozen=True)
class Stale:
    """A snapshot whose rows are not what they would be today, and the adapters that were trained on it."""

    snapshot: Snapshot
    n_changed: int
    n_erased: int
    adapters: list[Adapter]

    @property
    def n(self) -> int:
        return self.n_changed + self.n_erased

    @property
    def words(self) -> str:
        """“The label of 3 rows changed since snapshot 2 was frozen; adapter 1 was trained on it”."""
        what = []
        if self.n_changed:
            what.append(f"the label of {count_words(self.n_changed)} row{'s' if self.n_changed > 1 else ''} changed")
        if self.n_erased:
            what.append(f"{count_words(self.n_erased)} row{'s were' if self.n_erased > 1 else ' was'} erased")
        said = " and ".join(what)
        names = [f"adapter {adapter.pk}" for adapter in self.adapters]
        trained = f"; {' and '.join(names)} {'were' if len(names) > 1 else 'was'} trained on it" if names else ""
        return f"{said[:1].upper()}{said[1:]} since {str(self.snapshot).lower()} was frozen{trained}"


def stale(snapshots: Sequence[Snapshot]) -> list[Stale]:
    """Those of these snapshots whose labels have changed, or of which rows were erased, in their order."""
    adapters = list(Adapter.objects.filter(run__snapshot__in=snapshots).select_related("run").order_by("pk"))
    found = [Stale(snapshot, len(changed_rows(snapshot)), n_erased(snapshot),
                   [adapter for adapter in adapters if adapter.run.snapshot_id == snapshot.pk])
             for snapshot in snapshots]
    return [one for one in found if one.n]


def stale_in(project: Project, newest: Snapshot | None) -> list[Stale]:
    """What is stale among the snapshots that the project goes on with: the newest, and the champion's."""
    if newest is None:
        return []
    champion = champion_of(project)
    snapshots = [newest]
    if champion is not None and champion.run.snapshot_id != newest.pk:
        snapshots.append(champion.run.snapshot)
    for snapshot in snapshots:
        snapshot.project = project  # spares a query
    return stale(snapshots)
