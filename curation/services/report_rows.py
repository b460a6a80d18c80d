"""The rows of a report: those of the one before, as they are compared and taken over, and those that are written."""

from collections import Counter
from typing import Any

import numpy as np
from django.conf import settings

from curation.expected_gain import expected_gain
from curation.models import ExampleScore, Flag, QualityReport, ScoreChange
from curation.report_changes import Judged, changes
from curation.services.duplicate_search import write_duplicates
from curation.services.embeddings import encoder_name
from curation.services.scored import Earlier, Known, Scored
from jobs.models import Job

BATCH = 2000  # rows written at a time


def read_earlier(report: QualityReport | None) -> Earlier:
    """The report before the one that is made, with what is compared or taken over."""
    if report is None:
        return Earlier(None, {}, {})
    flags: dict[int, dict[str, str]] = {}
    for score, kind, reason in report.flags.order_by().values_list("score_id", "kind", "reason").iterator(BATCH):
        flags.setdefault(score, {})[kind] = reason
    known, judged = {}, {}
    for score, example, label, quality, *found in report.scores.order_by().values_list(
            "pk", "example_id", "label", "label_quality", "checked", "failures", "language").iterator(BATCH):
        known[example] = Known(*found)
        judged[example] = Judged(label, quality, flags.get(score, {}))
    return Earlier(report, known, judged)


def write_report(job: Job, scored: Scored, earlier: Earlier) -> QualityReport:
    found, far_out = scored.out_of_sample, scored.outliers
    is_scored = ~np.isnan(scored.quality)
    sizes = np.bincount(scored.cluster) if len(scored.cluster) else np.zeros(0, dtype=int)
    judged = [Judged(scored.label[row] or "", _or_none(scored.quality[row]), {
        kind: " ".join(reasons) for kind, reasons in scored.flags.get(row, {}).items()})
        for row in range(len(scored.rows))]
    moved = [(row, change) for row, (example, now) in enumerate(zip(scored.rows, judged, strict=True))
             for change in changes(earlier.judged.get(example.pk), now)] if earlier.report else []
    n_changes = Counter(f"{change.what} {change.kind}".strip() for _, change in moved)
    if earlier.report:
        n_changes["new"] = sum(example.pk not in earlier.judged for example in scored.rows)
    report = QualityReport.objects.create(
        project=job.project, job=job, encoder=encoder_name(settings.GOLDPAN_ENCODER), n_examples=len(scored.rows),
        n_scored=int(is_scored.sum()), n_issues=int(scored.is_issue.sum()), n_clusters=int((sizes > 1).sum()),
        n_crossing=int(scored.crosses.sum()), duplicate_threshold=scored.duplicates.threshold.value,
        accuracy=found.accuracy if found else None, majority_share=found.majority_share if found else None,
        hidden_because=scored.hidden_because, left_out=scored.left_out, annotators=scored.annotators,
        n_flags=Counter(kind for one in judged for kind in one.flags), n_changes=n_changes, previous=earlier.report,
        outlier_cosine=far_out.cutoff if far_out else None, language=scored.facts["language"])
    gain = _gain(scored)
    ExampleScore.objects.bulk_create((_score_row(report, scored, row, gain) for row in range(len(scored.rows))), BATCH)
    score_of = dict(report.scores.order_by().values_list("example_id", "pk"))
    Flag.objects.bulk_create((
        Flag(report=report, score_id=score_of[example.pk], kind=kind, label_quality=now.quality, reason=reason)
        for example, now in zip(scored.rows, judged, strict=True) for kind, reason in now.flags.items()), BATCH)
    ScoreChange.objects.bulk_create((
        ScoreChange(report=report, score_id=score_of[scored.rows[row].pk], what=change.what, kind=change.kind,
                    before=change.before, after=change.after) for row, change in moved), BATCH)
    write_duplicates(report, scored.rows, scored.duplicates, scored.label,
                     [ballot.is_excluded for ballot in scored.ballot_of])
    return report


def _reasons(scored: Scored, row: int) -> list[str]:
    """Why a curator should look at this example, in plain words."""
    return [*scored.remarks.get(row, ()), *(reason for found in scored.flags.get(row, {}).values() for reason in found)]


def _gain(scored: Scored) -> np.ndarray:
    """Return (n,) float: what settling each row is expected to change, by which the review queue is ordered.

    The probability that a label is wrong is what the model leaves it out of sample where it has one voter, else 1 less
    its quality; what is flagged counts at least as open.
    """
    one_voter = np.array([len(ballot.votes) < 2 for ballot in scored.ballot_of])
    p_wrong = 1 - np.where(one_voter & ~np.isnan(scored.label_probability), scored.label_probability, scored.quality)
    p_wrong = np.where(scored.is_issue, np.fmax(p_wrong, 0.5), p_wrong)
    order = {label: k for k, label in enumerate(dict.fromkeys(label for label in scored.label if label is not None))}
    label, predicted = (np.array([order.get(name, -1) for name in names], dtype=np.intp)
                        for names in ([name or "" for name in scored.label], scored.predicted))
    if not scored.answers.kind.HAS_LABELS:  # answers that are hardly ever equal have no frequency
        label, predicted = np.minimum(label, 0), np.full(len(label), -1)
    return expected_gain(p_wrong, scored.cluster_size, label, predicted)


def _score_row(report: QualityReport, scored: Scored, row: int, gain: np.ndarray) -> ExampleScore:
    return ExampleScore(
        report=report, example_id=scored.rows[row].pk, label=scored.label[row] or "",
        n_labels=len(scored.ballot_of[row].votes), predicted_label=scored.predicted[row],
        label_quality=_or_none(scored.quality[row]), is_label_issue=bool(scored.is_issue[row]),
        label_probability=_or_none(scored.label_probability[row]),
        predicted_probability=_or_none(scored.predicted_probability[row]),
        annotator_agreement=_or_none(scored.agreement[row]), cluster=int(scored.cluster[row]),
        cluster_size=int(scored.cluster_size[row]), crosses_split=bool(scored.crosses[row]),
        neighbours=scored.neighbours.get(row, []), reasons=_reasons(scored, row),
        nearest_cosine=_or_none(scored.outliers.nearest_cosine[row]) if scored.outliers else None,
        language=scored.language[row], failures=scored.outcomes.get(row, []),
        checked=scored.fingerprint(row) if row in scored.outcomes else None, expected_gain=float(gain[row]))


def _or_none(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
