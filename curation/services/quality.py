"""What a quality report says, made ready to be read: shares with their intervals, labels, histogram, annotators."""

from dataclasses import dataclass
from math import floor

from django.db.models import Count, F, Q
from django.db.models.functions import Floor

from curation.models import QualityReport
from labeling.models import Annotation
from stats.intervals import Interval, wilson

N_BINS = 20


@dataclass(frozen=True)
class LabelRow:
    """One label among the labelled pool examples; `flagged` is the share of them that look wrong."""

    label: str
    n: int
    n_flagged: int
    flagged: Interval | None
    left_out_because: str


@dataclass(frozen=True)
class AnnotatorRow:
    """quality: CROWDLAB's estimate in [0, 1], without an interval. n: current answers of theirs in the project."""

    name: str
    quality: float
    n: int


@dataclass(frozen=True)
class Histogram:
    """counts of N_BINS bins of label quality between edges 0 and 1."""

    counts: list[int]
    edges: list[float]


@dataclass(frozen=True)
class Quality:
    """agreement: of the model's out-of-sample predictions with the given labels; baseline: of always saying the
    commonest label. Both None where the model could not be fitted, histogram None where scores are hidden."""

    report: QualityReport
    n_labelled: int
    agreement: Interval | None
    baseline: Interval | None
    labels: list[LabelRow]
    histogram: Histogram | None
    annotators: list[AnnotatorRow]

    @property
    def compared(self) -> list[Interval]:
        """What the first table shows on one axis."""
        return [share for share in (self.agreement, self.baseline) if share]

    @property
    def flagged(self) -> list[Interval]:
        """The shares of the labels that were scored, to be drawn on one axis."""
        return [row.flagged for row in self.labels if row.flagged and not row.left_out_because]

    @property
    def histogram_words(self) -> str:
        if self.histogram is None:
            return ""
        low = sum(n for n, end in zip(self.histogram.counts, self.histogram.edges[1:], strict=True) if end <= 0.5)
        return (f"Label quality of {self.report.n_scored:,} examples: {low:,} below 0.5, where the model prefers "
                "another label")


def read_quality(report: QualityReport) -> Quality:
    """Return the report's figures. Four queries at most, whatever the number of examples."""
    labels = _labels(report)
    # Hidden scores are not stored, but the model was compared with every label that was not left out.
    n_compared = report.n_scored or sum(row.n for row in labels if not row.left_out_because)
    return Quality(
        report=report, n_labelled=sum(row.n for row in labels), agreement=_share(report.accuracy, n_compared),
        baseline=_share(report.majority_share, n_compared), labels=labels, histogram=_histogram(report),
        annotators=_annotators(report))


def _share(share: float | None, n: int) -> Interval | None:
    return None if share is None else wilson(round(share * n), n)


def _labels(report: QualityReport) -> list[LabelRow]:
    counts = {label: (n, n_flagged) for label, n, n_flagged in
              report.scores.exclude(label="").order_by().values_list("label").annotate(
                  n=Count("pk"), n_flagged=Count("pk", filter=Q(is_label_issue=True)))}
    names = [*report.project.labels, *sorted(set(counts) - set(report.project.labels))]
    return [LabelRow(name, *(found := counts.get(name, (0, 0))), _flagged(report, *found),
                     report.left_out.get(name, "")) for name in names]


def _flagged(report: QualityReport, n: int, n_flagged: int) -> Interval | None:
    return wilson(n_flagged, n) if n and not report.hidden_because else None


def _histogram(report: QualityReport) -> Histogram | None:
    if not report.n_scored:
        return None
    counts = [0] * N_BINS
    for number, n in (report.scores.filter(label_quality__isnull=False).order_by()
                      .annotate(bin=Floor(F("label_quality") * N_BINS)).values_list("bin").annotate(n=Count("pk"))):
        counts[min(floor(number), N_BINS - 1)] += n  # a quality of exactly 1 belongs to the last bin
    return Histogram(counts, [k / N_BINS for k in range(N_BINS + 1)])


def _annotators(report: QualityReport) -> list[AnnotatorRow]:
    if not report.annotators:
        return []
    n_of = dict(Annotation.objects.current().filter(annotator__project=report.project_id).order_by()
                .values_list("annotator__name").annotate(n=Count("pk")))
    return [AnnotatorRow(name, quality, n_of.get(name, 0))
            for name, quality in sorted(report.annotators.items(), key=lambda item: item[1])]
