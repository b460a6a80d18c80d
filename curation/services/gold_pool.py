"""The pool as a selection reads it: rows with the labels that stand now, what people decided, embeddings and strata."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from django.conf import settings
from django.db.models import Exists, F, OuterRef

from curation.answers import rarest_names
from curation.compared import compared_text
from curation.models import Decision, Embedding, QualityReport
from curation.selection import Candidates, GoldRule
from curation.services.embeddings import encoder_name, load_embeddings
from curation.services.labels import Ballot, answers_of, ballots
from curation.services.text_groups import groups_of
from labeling.models import BatchItem, Example
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import Project

NEW_TEXTS = "new since the scoring"
_SILENT = Ballot()


class Row(NamedTuple):
    """The columns of a score that the selection needs."""

    example_id: int
    label: str
    quality: float | None
    is_label_issue: bool
    cluster: int
    crosses_split: bool
    predicted: str
    content_sha256: str


@dataclass(frozen=True)
class Pool:
    """The pool's examples as the selection reads them. labels: each row's now.

    is_known: (n,) bool, whether the row has an embedding; None where none were loaded.
    """

    rows: list[Row]
    labels: list[str | None]
    ballot_of: list[Ballot]
    candidates: Candidates
    is_known: np.ndarray | None = None


def read_pool(project: Project, report: QualityReport, *, rule: GoldRule | None = None) -> Pool:
    """The pool with its embeddings, and with what a rule favours. Raises UserError if no pool example has a label."""
    pool = _with_embeddings(pool_of(project, report), project)
    if rule is None or not rule.favoured_batches:
        return pool
    favoured = set(BatchItem.objects.filter(batch__project=project, batch__number__in=rule.favoured_batches)
                   .values_list("example", flat=True))
    is_favoured = np.array([row.example_id in favoured for row in pool.rows], dtype=bool)
    return replace(pool, candidates=replace(pool.candidates, is_favoured=is_favoured))


def pool_of(project: Project, report: QualityReport) -> Pool:
    """The pool without embeddings, for whoever only counts. Raises UserError if no pool example has a label."""
    rows = [Row(*values) for values in report.scores.filter(example__split=Example.Split.pool).order_by(
        "example_id").values_list("example_id", "label", "label_quality", "is_label_issue", "cluster", "crosses_split",
                                  "predicted_label", "example__content_sha256")]
    found = _ballots_that_matter(project, report)
    ballot_of = [found.get(row.example_id, _SILENT) for row in rows]
    labels = [_label(row, ballot) for row, ballot in zip(rows, ballot_of, strict=True)]
    if not any(labels):
        raise UserError("No pool example has a label yet. Import labels, or ask people to label some.")
    flagged = _flagged_when_decided(project)
    candidates = replace(
        _candidates(rows, labels, _strata(project, report, rows, labels), ballot_of),
        is_settled=np.array([ballot.decided_label is not None for ballot in ballot_of], dtype=bool),
        was_flagged=np.array([row.is_label_issue or row.example_id in flagged for row in rows], dtype=bool))
    return Pool(rows, labels, ballot_of, candidates)


def _flagged_when_decided(project: Project) -> set[int]:
    """The examples that looked wrong in the report in which somebody decided on them."""
    return set(Decision.objects.filter(
        example__project=project, report__scores__example=F("example"), report__scores__is_label_issue=True)
        .values_list("example_id", flat=True))


def _with_embeddings(pool: Pool, project: Project) -> Pool:
    """The pool with a vector for every labelled row, of length 0 where the present encoder has not seen the text."""
    wanted = [number for number, label in enumerate(pool.labels) if label is not None]
    contents = _contents(project, [pool.rows[number] for number in wanted])
    try:
        vectors = load_embeddings(contents)
    except KeyError:  # another encoder, or texts that came after the scoring
        vectors = np.zeros((0, 1), dtype=np.float32)
    if len(vectors) != len(contents):  # where no text at all is known, nothing is raised
        there = _encoded(contents)
        wanted = [number for number, content in zip(wanted, contents, strict=True) if content in there]
        vectors = load_embeddings([content for content in contents if content in there])
    is_known = np.zeros(len(pool.rows), dtype=bool)
    is_known[wanted] = True
    embeddings = np.zeros((len(pool.rows), vectors.shape[1]), dtype=np.float32)
    embeddings[wanted] = vectors
    return replace(pool, candidates=replace(pool.candidates, embeddings=embeddings), is_known=is_known)


def _contents(project: Project, rows: Sequence[Row]) -> list[str]:
    """The hash under which each row's text is embedded."""
    if project.task_type not in ("preference", "chat"):
        return [row.content_sha256 for row in rows]
    compared = {pk: content_sha256(compared_text(project.task_type, text, data)) for pk, text, data in
                Example.objects.filter(project=project, split=Example.Split.pool).values_list("pk", "text", "data")}
    return [compared[row.example_id] for row in rows]


def _encoded(contents: Sequence[str]) -> set[str]:
    name, found = encoder_name(settings.GOLDPAN_ENCODER), set()
    for start in range(0, len(contents), 500):
        found |= set(Embedding.objects.filter(encoder=name, content_sha256__in=contents[start:start + 500])
                     .values_list("content_sha256", flat=True))
    return found


def label_as_given(ballot: Ballot) -> str | None:
    """The label that people gave, before anybody decided; None where they gave none."""
    return ballot.consensus or (ballot.votes[0].label if ballot.votes else None)


def _ballots_that_matter(project: Project, report: QualityReport) -> dict[int, Ballot]:
    """The ballots of the pool examples that somebody decided on, or that had no label when the report was written."""
    decided = Exists(Decision.objects.filter(example_id=OuterRef("pk")))
    unlabelled = Exists(report.scores.filter(example_id=OuterRef("pk"), label=""))
    pool = Example.objects.filter(project=project, split=Example.Split.pool)
    return ballots(project, among=pool.filter(decided | unlabelled))


def _strata(project: Project, report: QualityReport, rows: list[Row],
            labels: list[str | None]) -> list[str | None] | None:
    """What each row counts for in the quotas; None where that is its label."""
    answers = answers_of(project)
    if answers.are_labels:
        return None
    if project.labels:
        return rarest_names(answers, labels)
    group_of = groups_of(report)
    return [None if label is None else group_of.get(row.example_id, NEW_TEXTS)
            for row, label in zip(rows, labels, strict=True)]


def _candidates(rows: list[Row], labels: list[str | None], strata: list[str | None] | None,
                ballot_of: list[Ballot]) -> Candidates:
    return Candidates(
        labels=labels, strata=strata,
        quality=np.array([np.nan if row.quality is None else row.quality for row in rows]),
        clusters=np.array([row.cluster for row in rows]),
        is_excluded=np.array([ballot.is_excluded for ballot in ballot_of]),
        is_label_issue=np.array([row.is_label_issue and not ballot.is_settled
                                 for row, ballot in zip(rows, ballot_of, strict=True)]),
        is_under_discussion=np.array([ballot.is_under_discussion for ballot in ballot_of]),
        crosses_split=np.array([row.crosses_split for row in rows]))


def _label(row: Row, ballot: Ballot) -> str | None:
    return ballot.decided_label or row.label or ballot.consensus
