"""The training rows that a prompt may show as solved examples, found by the embeddings that stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.duplicate_threshold import DEFAULT
from curation.models import Snapshot
from curation.services.embeddings import ensure_embeddings, load_embeddings
from curation.services.snapshots import FrozenRow, read_rows
from jobs.models import Job
from jobs.progress import Progress
from labeling.models import Example
from labeling.task_types import task_type
from projects.models import Project
from training.prompts import CLASSIFICATION, Shot
from training.services.scoring import RowShots
from training.shots import balanced_spread, clear_of, shots_like, spread_with_new_answers

N_SHOTS = 8
MOST_SHOTS = 32  # with more than 8 labels, one of each up to so many
LONGEST, LONGEST_WRITTEN = 400, 800  # characters of an example with a label, and of others with their answer
MOST_CHARACTERS = 4_000  # of all written examples together: every request pays for them


@dataclass(frozen=True)
class Showable:
    """Training rows that are short enough and nearly repeat no held-out row; vectors: (n, d), a row for each.

    n_repeating: how many were left out because they nearly repeat a held-out row.
    """

    job: Job
    snapshot: Snapshot
    rows: list[FrozenRow]
    vectors: np.ndarray
    n_repeating: int
    progress: Progress

    def spread(self) -> tuple[Shot, ...]:
        """The same examples for every text: labels take turns; written answers are all different."""
        if not self.rows:
            return ()
        answers = [row.label for row in self.rows]
        if task_type(self.snapshot.project.task_type).HAS_LABELS:
            k = min(max(N_SHOTS, len(set(answers))), MOST_SHOTS)
            chosen = balanced_spread(self.vectors, answers, k)
        else:
            chosen = spread_with_new_answers(self.vectors, answers, [_size(row) for row in self.rows], k=N_SHOTS,
                                             most_characters=MOST_CHARACTERS)
        return tuple(_shot(self.rows[row]) for row in chosen)

    def nearest(self, asked: Sequence[FrozenRow], k: int) -> RowShots:
        """For each row the k examples that are most like it, the most similar last; its own text is never one."""
        if not k:
            return None
        if not self.rows:
            return [()] * len(asked)
        return shots_like(self.shots, self.vectors, [row.text for row in asked],
                          vectors_of(self.job, asked, self.progress), k)

    @property
    def shots(self) -> list[Shot]:
        return [_shot(row) for row in self.rows]


def showable(job: Job, snapshot: Snapshot, progress: Progress, *, rows: Sequence[FrozenRow] | None = None) -> Showable:
    """Return the snapshot's training rows that may be shown. rows: all of the snapshot's, read if left out."""
    rows = read_rows(snapshot) if rows is None else rows
    longest = LONGEST if snapshot.project.task_type == CLASSIFICATION else LONGEST_WRITTEN
    texts = set()
    train = []
    for row in rows:
        if row.split == "train" and row.text.strip() and _size(row) <= longest and row.text.strip() not in texts:
            texts.add(row.text.strip())
            train.append(row)
    vectors = vectors_of(job, train, progress)
    threshold = snapshot.report.duplicate_threshold if snapshot.report else DEFAULT
    is_clear = clear_of(vectors, vectors_of(job, [row for row in rows if row.split != "train"], progress),
                        threshold=threshold)
    return Showable(job, snapshot, [row for row, clear in zip(train, is_clear, strict=True) if clear],
                    vectors[is_clear], int((~is_clear).sum()), progress)


def _contents_of(project: Project, rows: Sequence[FrozenRow]) -> dict[str, str]:
    """key → the hash by which the text's embedding is known."""
    return dict(Example.objects.filter(project=project, key__among=[row.key for row in rows])
                .values_list("key", "content_sha256"))


def vectors_of(job: Job, rows: Sequence[FrozenRow], progress: Progress) -> np.ndarray:
    """Return (n, d) embeddings of length 1, a row for each; texts that have none yet get theirs."""
    if not rows:
        return np.zeros((0, 1), dtype=np.float32)
    contents = _contents_of(job.project, rows)
    ensure_embeddings(job, {contents[row.key]: row.text for row in rows}, progress)
    return load_embeddings([contents[row.key] for row in rows])


def _shot(row: FrozenRow) -> Shot:
    return Shot(row.text.strip(), row.label, row.data)


def _size(row: FrozenRow) -> int:
    """Characters of an example as it is shown, where answers are written with the answer."""
    return len(row.text.strip()) + sum(len(str(value)) for value in row.data.values()) + len(row.label)
