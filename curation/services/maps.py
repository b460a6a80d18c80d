"""The map: every example on a plane, drawn by a job, and the selections that people make on it.

1. Texts that have no embedding yet are encoded; all vectors go into one file, block by block.
2. A subprocess draws them on a plane; what is known of each example then goes beside its place.
3. Three files hold a map by their hash: the examples' ids, the points for the browser, a table for other programs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User

from curation.map_file import FLAGS, NONE, numbered, pack, quality_steps, read_bits, write_table
from curation.models import ExampleScore, Map, QualityReport, Selection
from curation.projection import METHODS, installed_methods
from curation.services.embeddings import embedding_blocks, encoder_name, ensure_embeddings
from curation.services.labels import Ballot, ExampleRow, ballots, example_rows
from curation.services.queue import names_of
from curation.services.scoring import latest_report
from curation.services.selections import create_selection, read_ids, selected_ids, store_ids
from jobs.child import run_child
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from labeling.models import Example
from labeling.services.bulk import CHUNK
from projects.errors import UserError
from projects.models import Project
from projects.objects import put_object
from projects.wording import counted

SEED = 0
MIN_POINTS = 3
MAX_CLUSTER_SIZE = 0xFFFE
SEVERAL = 0xFFFE  # in the annotators' column: more than one person answered


def start_map(project: Project, *, by: User, method: str = "pca", wake: bool = True) -> Job:
    """Queue drawing the map. Raises UserError if there is too little to draw or the method is not installed."""
    n = Example.objects.filter(project=project).count()
    if n < MIN_POINTS:
        raise UserError(f"A map needs at least {MIN_POINTS} examples; there are {n}. Import more first.")
    if method not in installed_methods():
        can = ", ".join(METHODS[name] for name in installed_methods())
        raise UserError(f"“{method}” cannot be used here. These can: {can}; for others see requirements-map.txt.")
    return enqueue("map", project, title=f"Drawing {counted(n, 'example')}", requested_by=by, params={"method": method},
                   exclusive=f"map:{project.pk}", wake=wake)


@dataclass
class _Known:
    """What is known of each example, in the order of the rows; quality is nan where it has none."""

    label: list[str | None]
    predicted: list[str | None]
    quality: np.ndarray
    flags: np.ndarray
    cluster_size: np.ndarray
    annotator: list[int | None] = field(default_factory=list)


def run_map(job: Job, progress: Progress) -> None:
    project, method = job.project, job.params["method"]
    rows = example_rows(project)
    hashes = [row.compared_sha256 for row in rows]
    ensure_embeddings(job, {row.compared_sha256: row.compared for row in rows}, progress)
    coordinates, explained = _draw(job, hashes, method, progress)
    report = latest_report(project)
    progress("Writing the map", 0, 1)
    files = _files(job, rows, coordinates, _known(rows, ballots(project), report), project)
    with completing(job) as result:
        drawn = Map.objects.create(
            project=project, job=job, report=report, encoder=encoder_name(settings.GOLDPAN_ENCODER), method=method,
            seed=SEED, explained=explained, n_points=len(rows), **files)
        result |= {"map": drawn.pk, "n_points": drawn.n_points}


def _draw(job: Job, hashes: Sequence[str], method: str, progress: Progress) -> tuple[np.ndarray, float | None]:
    folder = work_folder(job)
    vectors: Any = None
    n_done = 0
    for block in embedding_blocks(hashes):
        if vectors is None:
            vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16,
                                                (len(hashes), block.shape[1]))
        vectors[n_done:n_done + len(block)] = block
        n_done += len(block)
        progress("Collecting the embeddings", n_done, len(hashes))
    vectors.flush()
    del vectors
    found = run_child("curation.projection", {"method": method, "seed": SEED}, folder=folder, progress=progress)
    return np.load(folder / "coordinates.npy", allow_pickle=False), found["explained"]


def _known(rows: Sequence[ExampleRow], ballot_of: dict[int, Ballot], report: QualityReport | None) -> _Known:
    n, nothing = len(rows), Ballot()
    given = [ballot_of.get(row.pk, nothing) for row in rows]
    known = _Known(
        label=[_label(ballot) for ballot in given], predicted=[None] * n, quality=np.full(n, np.nan),
        flags=np.full(n, NONE["u1"], dtype=np.uint8), cluster_size=np.ones(n, dtype=np.uint16),
        annotator=[_annotator(ballot) for ballot in given])
    if report is None:
        return known
    place, kinds = {row.pk: k for k, row in enumerate(rows)}, list(FLAGS)
    scores = report.scores.values_list(
        "example_id", "label", "predicted_label", "label_quality", "is_label_issue", "annotator_agreement",
        "cluster_size", "crosses_split")
    for pk, label, predicted, quality, is_issue, agreement, size, crosses in scores.iterator(CHUNK):
        row = place.get(pk)
        if row is None:
            continue
        known.label[row] = (given[row].decided_label or label) or known.label[row]
        known.predicted[row] = predicted or None
        known.quality[row] = np.nan if quality is None else quality
        holds = (is_issue and not given[row].is_settled, agreement is not None and agreement < 1, crosses, size > 1)
        known.flags[row] = next((k for k in range(len(kinds)) if holds[k]), NONE["u1"])
        known.cluster_size[row] = min(size, MAX_CLUSTER_SIZE)
    return known


def _label(ballot: Ballot) -> str | None:
    return ballot.decided_label or (ballot.majority if ballot.votes else None)


def _annotator(ballot: Ballot) -> int | None:
    people = {vote.annotator_id for vote in ballot.votes}
    return None if not people else SEVERAL if len(people) > 1 else people.pop()


def _files(job: Job, rows: Sequence[ExampleRow], coordinates: np.ndarray, known: _Known,
           project: Project) -> dict[str, str]:
    """Store the map's three files; return the fields of Map that name them."""
    columns: dict[str, np.ndarray] = {}
    names: dict[str, list[Any]] = {}
    colours = (("label", known.label), ("predicted", known.predicted)) if names_of(project) else ()
    for name, values in colours:  # of other answers hardly two are equal, and the points are to hold no words
        if any(value is not None for value in values):
            columns[name], names[name] = numbered(values, project.labels)
    columns["split"], names["split"] = numbered([row.split for row in rows], Example.Split.values)
    columns["annotator"], names["annotator"] = _people(known.annotator)
    if not np.isnan(known.quality).all():
        columns["quality"] = quality_steps(known.quality)
    columns["flag"], names["flag"] = known.flags, list(FLAGS.values())
    columns["cluster"] = known.cluster_size
    store, ids = settings.GOLDPAN_OBJECTS, np.array([row.pk for row in rows], dtype=np.int64)
    table = work_folder(job) / "map.parquet"
    write_table(table, {
        "id": ids, "key": [row.key for row in rows], "x": coordinates[:, 0], "y": coordinates[:, 1],
        "text": [row.text for row in rows], "label": known.label, "predicted_label": known.predicted,
        "label_quality": [None if np.isnan(value) else float(value) for value in known.quality],
        "split": [row.split for row in rows], "cluster_size": known.cluster_size})
    return {"ids_sha256": store_ids(ids), "points_sha256": put_object(store, pack(coordinates, columns, names)),
            "table_sha256": put_object(store, table)}


def _people(annotators: Sequence[int | None]) -> tuple[np.ndarray, list[int]]:
    """Numbers of annotators and the primary keys they stand for; SEVERAL and none keep their own numbers."""
    order = sorted({one for one in annotators if one is not None and one != SEVERAL})
    number = {pk: k for k, pk in enumerate(order)} | {SEVERAL: SEVERAL}
    return np.array([NONE["u2"] if one is None else number[one] for one in annotators], dtype=np.uint16), order


def latest_map(project: Project) -> Map | None:
    return Map.objects.filter(project=project).select_related("report").first()


# Selections

def select_points(drawn: Map, bits: str, *, by: User) -> Selection:
    """Keep the points whose bits are set (see `read_bits`) as a selection of examples. Raises UserError for none."""
    try:
        rows = read_bits(bits, drawn.n_points)
    except ValueError as error:
        raise UserError(f"The selection could not be read ({error}). Reload the map and draw it again.") from None
    if not len(rows):
        raise UserError("No point is selected. Draw a line around some, or choose in the legend.")
    return create_selection(drawn.project, read_ids(drawn.ids_sha256)[rows], by=by, drawn=drawn)


@dataclass(frozen=True)
class Row:
    """An example of a selection as the table shows it; score is None where the map's report has none."""

    example: Example
    score: ExampleScore | None


def rows_of(examples: Sequence[Example], report: QualityReport | None) -> list[Row]:
    """These examples with what the report says of each. One query."""
    scores = {} if report is None else {score.example_id: score for score in report.scores.filter(
        example_id__in=[example.pk for example in examples]).defer("neighbours")}
    return [Row(example, scores.get(example.pk)) for example in examples]


def rows_selected(drawn: Map, selection: Selection) -> np.ndarray:
    """The rows of the map that are selected, ascending; examples that came after it was drawn are on none."""
    return np.flatnonzero(np.isin(read_ids(drawn.ids_sha256), selected_ids(selection), assume_unique=True))


def example_at(drawn: Map, row: int) -> Example | None:
    ids = read_ids(drawn.ids_sha256)
    return Example.objects.filter(pk=int(ids[row])).first() if 0 <= row < len(ids) else None
