"""Scoring: which labels look wrong, which texts repeat each other, and what several annotators say together.

1. Texts that have no embedding yet are encoded.
2. Near-duplicates among all examples are joined into clusters; those that cross the held-out line are marked.
3. Pool examples with a label get out-of-sample probabilities that leave whole clusters out.
4. Where pool examples have several labels, CROWDLAB says their consensus.
5. Confident learning flags what looks wrong; the report and its rows are written at once.
Dev and test examples are clustered, never scored: their labels must not depend on a model.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User

from curation.dedup import find_clusters
from curation.label_quality import consensus, score_labels
from curation.models import ExampleScore, QualityReport
from curation.neighbours import nearest
from curation.probabilities import OutOfSample, out_of_sample_probabilities
from curation.services.embeddings import encoder_name, ensure_embeddings, load_embeddings
from curation.services.labels import Ballot, ExampleRow, ballots, codes, example_rows
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotator, Example
from projects.errors import UserError
from projects.models import Project
from projects.services import audit

DUPLICATE_COSINE = 0.95  # at .90 short texts chain into large groups: docs/decisions/0003
N_NEIGHBOURS = 5
SEED = 0


def start_score(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue scoring. Raises UserError if there is nothing to score."""
    n = Example.objects.filter(project=project).count()
    if not n:
        raise UserError("There are no examples yet. Import some first.")
    return enqueue("score", project, title=f"Scoring {n:,} examples", requested_by=by,
                   exclusive=f"score:{project.pk}", wake=wake)


@dataclass
class _Scored:
    """Per example, in the order of `rows`, what will be written; nan and empty where there is nothing to say."""

    rows: list[ExampleRow]
    ballot_of: list[Ballot]
    cluster: np.ndarray
    cluster_size: np.ndarray
    crosses: np.ndarray
    label: list[str | None]
    quality: np.ndarray
    is_issue: np.ndarray
    agreement: np.ndarray
    label_probability: np.ndarray
    predicted_probability: np.ndarray
    predicted: list[str]
    neighbours: dict[int, list[list[float]]] = field(default_factory=dict)
    annotators: dict[str, float] = field(default_factory=dict)
    out_of_sample: OutOfSample | None = None
    hidden_because: str = ""


def run_score(job: Job, progress: Progress) -> None:
    project = job.project
    rows = example_rows(project)
    ensure_embeddings(job, {row.content_sha256: row.text for row in rows}, progress)
    embeddings = load_embeddings([row.content_sha256 for row in rows])
    scored = _cluster(rows, ballots(project), embeddings, progress)
    _score(scored, embeddings, project, progress)
    progress("Writing the report", 0, 1)
    with completing(job) as result:
        report = _write(job, scored)
        audit(project, job.requested_by, "score", {"report": report.pk, "n_issues": report.n_issues})
        result |= {"report": report.pk, "n_scored": report.n_scored, "n_issues": report.n_issues}


def _cluster(rows: list[ExampleRow], found: dict[int, Ballot], embeddings: np.ndarray, progress: Progress) -> _Scored:
    cluster = find_clusters(embeddings, [row.content_sha256 for row in rows], threshold=DUPLICATE_COSINE,
                            progress=progress).cluster
    n = len(rows)
    is_pool = np.array([row.split == Example.Split.pool for row in rows])
    held_out_clusters = np.unique(cluster[~is_pool])
    nothing = np.full(n, np.nan)
    ballot_of = [found.get(row.pk, Ballot()) for row in rows]
    return _Scored(
        rows=rows, ballot_of=ballot_of, cluster=cluster, cluster_size=np.bincount(cluster)[cluster],
        crosses=is_pool & np.isin(cluster, held_out_clusters),
        label=[_label_to_score(row, ballot) for row, ballot in zip(rows, ballot_of, strict=True)],
        quality=nothing.copy(), is_issue=np.zeros(n, dtype=bool), agreement=nothing.copy(),
        label_probability=nothing.copy(), predicted_probability=nothing.copy(), predicted=[""] * n)


def _label_to_score(row: ExampleRow, ballot: Ballot) -> str | None:
    """The label of a pool example before a model is asked: decided, else most votes, else the first vote."""
    if row.split != Example.Split.pool or ballot.is_excluded:
        return None
    first = ballot.votes[0].label if ballot.votes else None
    return ballot.decided_label or ballot.majority or first


def _score(scored: _Scored, embeddings: np.ndarray, project: Project, progress: Progress) -> None:
    """Fill in quality, predictions, consensus and neighbours of the pool examples that have a label."""
    try:
        found = out_of_sample_probabilities(
            embeddings, scored.label, scored.cluster, labels_order=project.labels, seed=SEED, progress=progress)
    except ValueError as error:  # too few labels: duplicates are still worth a report
        scored.hidden_because = str(error)
        return
    scored.out_of_sample = found
    if not found.is_better_than_chance:
        scored.hidden_because = (
            f"A model that read the texts agrees with {found.accuracy:.1%} of the labels, hardly more than always "
            f"saying the commonest one ({found.majority_share:.1%}). Its doubts would mislead, so they are not shown.")
        return
    chosen = np.flatnonzero(found.rows_scored)
    probs = found.pred_probs[chosen]
    _apply_consensus(scored, chosen, probs, found.labels_order)
    label = codes([scored.label[row] for row in chosen], found.labels_order)
    quality = score_labels(label, probs)
    was_set = ~np.isnan(scored.quality[chosen])  # by the consensus of several annotators
    scored.quality[chosen] = np.where(was_set, scored.quality[chosen], quality.label_quality)
    settled = np.array([scored.ballot_of[row].is_settled for row in chosen])
    scored.is_issue[chosen] = quality.is_label_issue & ~settled
    scored.label_probability[chosen] = probs[np.arange(len(chosen)), label]
    scored.predicted_probability[chosen] = probs.max(axis=1)
    for row, k in zip(chosen, quality.predicted_label, strict=True):
        scored.predicted[row] = found.labels_order[k]
    _find_neighbours(scored, embeddings, chosen, progress)


def _apply_consensus(scored: _Scored, chosen: np.ndarray, probs: np.ndarray, order: list[str]) -> None:
    """CROWDLAB for the chosen examples, if some have several labels and nobody has decided on them."""
    votes = [(position, vote.annotator_id, order.index(vote.label))
             for position, row in enumerate(chosen) for vote in scored.ballot_of[row].votes if vote.label in order]
    n_votes = np.bincount([position for position, _, _ in votes], minlength=len(chosen))
    if n_votes.max(initial=0) < 2 or n_votes.min(initial=1) < 1:
        return
    position_of, annotator_of, label_of = (np.array(column) for column in zip(*votes, strict=True))
    said = consensus(position_of, annotator_of, label_of, probs)
    people = Annotator.objects.filter(pk__in=said.annotator_quality, is_person=True)
    scored.annotators = {person.name: round(said.annotator_quality[person.pk], 4) for person in people}
    for position in np.flatnonzero(n_votes >= 2):
        row = chosen[position]
        scored.agreement[row] = said.annotator_agreement[position]
        if not scored.ballot_of[row].is_settled:
            scored.label[row] = order[said.consensus_label[position]]
            scored.quality[row] = said.consensus_quality[position]


def _find_neighbours(scored: _Scored, embeddings: np.ndarray, chosen: np.ndarray, progress: Progress) -> None:
    """The nearest labelled pool examples of the rows that somebody will look at first, as evidence."""
    worst = chosen[np.argsort(scored.quality[chosen], kind="stable")][:2000]
    asked = np.union1d(worst, np.flatnonzero(scored.is_issue))
    rows, similarity = nearest(embeddings[asked], embeddings[chosen], k=N_NEIGHBOURS + 1, progress=progress)
    for row, found, cosines in zip(asked, chosen[rows], similarity, strict=True):
        scored.neighbours[int(row)] = [
            [scored.rows[other].pk, round(float(cosine), 4)]
            for other, cosine in zip(found, cosines, strict=True) if other != row][:N_NEIGHBOURS]


def _reasons(scored: _Scored, row: int) -> list[str]:
    """Why a curator should look at this example, in plain words."""
    reasons = []
    if scored.is_issue[row]:
        reasons.append("The label looks wrong to a model that has not seen it.")
    if scored.agreement[row] < 1:
        reasons.append(f"Annotators disagree: {scored.agreement[row]:.0%} of them gave “{scored.label[row]}”.")
    if scored.crosses[row]:
        reasons.append("A near-duplicate of it is held out for testing, so it will not be trained on.")
    return reasons


def _write(job: Job, scored: _Scored) -> QualityReport:
    found = scored.out_of_sample
    is_scored = ~np.isnan(scored.quality)
    sizes = np.bincount(scored.cluster) if len(scored.cluster) else np.zeros(0, dtype=int)
    report = QualityReport.objects.create(
        project=job.project, job=job, encoder=encoder_name(settings.GOLDPAN_ENCODER), n_examples=len(scored.rows),
        n_scored=int(is_scored.sum()), n_issues=int(scored.is_issue.sum()), n_clusters=int((sizes > 1).sum()),
        n_crossing=int(scored.crosses.sum()), duplicate_threshold=DUPLICATE_COSINE,
        accuracy=found.accuracy if found else None, majority_share=found.majority_share if found else None,
        hidden_because=scored.hidden_because, left_out=found.left_out if found else {}, annotators=scored.annotators)
    ExampleScore.objects.bulk_create((_score_row(report, scored, row) for row in range(len(scored.rows))), 2000)
    return report


def _score_row(report: QualityReport, scored: _Scored, row: int) -> ExampleScore:
    return ExampleScore(
        report=report, example_id=scored.rows[row].pk, label=scored.label[row] or "",
        n_labels=len(scored.ballot_of[row].votes), predicted_label=scored.predicted[row],
        label_quality=_or_none(scored.quality[row]), is_label_issue=bool(scored.is_issue[row]),
        label_probability=_or_none(scored.label_probability[row]),
        predicted_probability=_or_none(scored.predicted_probability[row]),
        annotator_agreement=_or_none(scored.agreement[row]), cluster=int(scored.cluster[row]),
        cluster_size=int(scored.cluster_size[row]), crosses_split=bool(scored.crosses[row]),
        neighbours=scored.neighbours.get(row, []), reasons=_reasons(scored, row))


def _or_none(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def latest_report(project: Project) -> QualityReport | None:
    return QualityReport.objects.filter(project=project).first()
