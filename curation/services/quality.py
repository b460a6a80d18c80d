"""What a quality report says, made ready to be read: shares with their intervals, labels, histogram, annotators."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

from django.db.models import Count, F, Q
from django.db.models.functions import Floor

from curation.answers import COMPARED, MODELLED
from curation.models import QualityReport
from curation.services.labels import answers_of
from labeling.models import Annotation
from stats.intervals import Interval, wilson

N_BINS = 20
MIN_AGREEMENT = 30  # examples with several answers, below which an interval says next to nothing


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
class AnswerFacts:
    """What can be said of answers that are not one label.

    no_model: why no classifier doubts them, in words, "" where one does. agreement: of the answers to one example, the
    mean over the n_several examples with several; None below MIN_AGREEMENT of them. compared: what they agree in.
    failed: check → how many answers fail it. set_aside: check → why it is held against nobody.
    """

    no_model: str
    agreement: Interval | None
    n_several: int
    compared: str
    failed: dict[str, int]
    set_aside: dict[str, str]
    min_agreement: int = MIN_AGREEMENT


@dataclass(frozen=True)
class Quality:
    """agreement: of the model's out-of-sample predictions with the given labels; baseline: of always saying the
    commonest label. Both None where the model could not be fitted, histogram None where scores are hidden.
    labels: one row per label, [] where answers have none. answers: None for classification."""

    report: QualityReport
    n_labelled: int
    agreement: Interval | None
    baseline: Interval | None
    labels: list[LabelRow]
    histogram: Histogram | None
    annotators: list[AnnotatorRow]
    answers: AnswerFacts | None = None

    @property
    def is_modelled(self) -> bool:
        """Whether quality is what a model says of a label; elsewhere it is how far people agree."""
        return self.report.project.task_type in MODELLED

    @property
    def shows_flagged(self) -> bool:
        return self.answers is not None or not self.report.hidden_because

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
        if not self.is_modelled:
            return (f"Agreement of the answers to {self.report.n_scored:,} examples: {low:,} at 0.5 or below, where no "
                    "less sets them apart than joins them")
        return (f"Label quality of {self.report.n_scored:,} examples: {low:,} below 0.5, where the model prefers "
                "another label")


def read_quality(report: QualityReport, names: Mapping[int, str] | None = None) -> Quality:
    """Return the report's figures. Four queries at most, whatever the number of examples.

    names: annotator pk → what this reader may call them; their own names if left out.
    """
    is_one_label = report.project.task_type == "classification"
    labels = _labels(report) if is_one_label else _names(report)
    # Hidden scores are not stored, but the model was compared with every label that was not left out.
    n_compared = report.n_scored or sum(row.n for row in labels if not row.left_out_because)
    n_labelled = sum(row.n for row in labels) if is_one_label else report.scores.exclude(label="").count()
    return Quality(
        report=report, n_labelled=n_labelled, agreement=_share(report.accuracy, n_compared),
        baseline=_share(report.majority_share, n_compared), labels=labels, histogram=_histogram(report),
        annotators=_annotators(report, names), answers=None if is_one_label else _answer_facts(report))


def _answer_facts(report: QualityReport) -> AnswerFacts:
    found = report.job.result
    agreement = Interval(**found["agreement"]) if found.get("agreement") else None
    n_several = agreement.n if agreement else 0
    return AnswerFacts(
        no_model=answers_of(report.project).no_model, compared=COMPARED[report.project.task_type],
        agreement=agreement if n_several >= MIN_AGREEMENT else None, n_several=n_several,
        failed=found.get("n_failed", {}), set_aside=found.get("set_aside", {}))


def _names(report: QualityReport) -> list[LabelRow]:
    """The names that answers are made of; an example with several counts in the row of each."""
    counts = report.job.result.get("names", {})
    names = [*report.project.labels, *sorted(set(counts) - set(report.project.labels))]
    return [LabelRow(name, n, n_flagged, wilson(n_flagged, n) if n else None, report.left_out.get(name, ""))
            for name, (n, n_flagged) in ((name, counts.get(name, (0, 0))) for name in names)]


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
    if report.n_scored < (1 if report.project.task_type in MODELLED else MIN_AGREEMENT):
        return None
    counts = [0] * N_BINS
    for number, n in (report.scores.filter(label_quality__isnull=False).order_by()
                      .annotate(bin=Floor(F("label_quality") * N_BINS)).values_list("bin").annotate(n=Count("pk"))):
        counts[min(floor(number), N_BINS - 1)] += n  # a quality of exactly 1 belongs to the last bin
    return Histogram(counts, [k / N_BINS for k in range(N_BINS + 1)])


def _annotators(report: QualityReport, names: Mapping[int, str] | None) -> list[AnnotatorRow]:
    if not report.annotators:
        return []
    found = {name: (pk, n) for pk, name, n in Annotation.objects.current().filter(
        annotator__project=report.project_id).order_by().values_list("annotator", "annotator__name").annotate(
        n=Count("pk"))}
    rows = []
    for name, quality in sorted(report.annotators.items(), key=lambda item: item[1]):
        pk, n = found.get(name, (0, 0))
        rows.append(AnnotatorRow(names.get(pk, "an annotator") if names else name, quality, n))
    return rows
