"""What a quality report says, made ready to be read: shares with their intervals, labels, histogram, annotators."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import floor
from urllib.parse import urlencode

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Floor

from curation.answers import COMPARED, MODELLED
from curation.models import Decision, Flag, QualityReport, ScoreChange
from curation.services.labels import answers_of
from curation.services.queue import Filter, Queue
from labeling.models import Annotation
from labeling.services.bulk import CHUNK
from projects.errors import UserError
from projects.wording import counted
from stats.intervals import Interval, wilson

N_BINS = 20
N_PAIRS = 8
N_REPORTS = 20  # of the newest, how the share of doubted labels went
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
class FlagRow:
    """One kind of flag: how many pool examples have it, and how many of those nobody has decided about."""

    kind: str
    name: str
    why: str
    n: int
    n_left: int


@dataclass(frozen=True)
class PairRow:
    """n undecided examples look wrong, are given the one label, and a model suggests the other."""

    given: str
    suggested: str
    n: int


@dataclass(frozen=True)
class ReportRow:
    """The share of the scored labels that looked wrong in one report."""

    pk: int
    created_at: datetime
    flagged: Interval


@dataclass(frozen=True)
class ChangeRow:
    """How many examples changed in one way since the report before. query: what the page of changes is asked for."""

    name: str
    n: int
    query: str


@dataclass(frozen=True)
class Changes:
    """What a report says otherwise than the one before: flags by kind (newly, no longer), labels and qualities."""

    n_new: int
    newly: list[ChangeRow]
    cleared: list[ChangeRow]
    others: list[ChangeRow]

    @property
    def n_newly(self) -> int:
        return sum(row.n for row in self.newly)

    @property
    def n_cleared(self) -> int:
        return sum(row.n for row in self.cleared)

    @property
    def is_nothing(self) -> bool:
        return not (self.n_new or self.newly or self.cleared or self.others)


@dataclass(frozen=True)
class Quality:
    """agreement: of the model's out-of-sample predictions with the given labels; baseline: of always saying the
    commonest label. Both None where the model could not be fitted, histogram None where scores are hidden.
    labels: one row per label, [] where answers have none. answers: None for classification. reports: the newest that
    scored labels, oldest first, of classification only."""

    report: QualityReport
    n_labelled: int
    agreement: Interval | None
    baseline: Interval | None
    labels: list[LabelRow]
    histogram: Histogram | None
    annotators: list[AnnotatorRow]
    answers: AnswerFacts | None = None
    flags: list[FlagRow] = field(default_factory=list)
    changes: Changes | None = None
    reports: list[ReportRow] = field(default_factory=list)

    @property
    def is_modelled(self) -> bool:
        """Whether quality is what a model says of a label; elsewhere it is how far people agree."""
        return self.report.project.task_type in MODELLED

    @property
    def knows_kinds(self) -> bool:
        """Whether the report was written by a scoring that flags every kind."""
        return "language" in self.report.job.result

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
            return (f"Agreement of the answers to {counted(self.report.n_scored, 'example')}: {low:,} at 0.5 or below, "
                    "where no less sets them apart than joins them")
        return (f"Label quality of {counted(self.report.n_scored, 'example')}: {low:,} below 0.5, where the model "
                "prefers another label")


def read_quality(report: QualityReport, names: Mapping[int, str] | None = None) -> Quality:
    """Return the report's figures. Seven queries at most, whatever the number of examples.

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
        annotators=_annotators(report, names), answers=None if is_one_label else _answer_facts(report),
        flags=flag_rows(report), changes=_changes(report) if report.previous_id else None,
        reports=_reports(report) if is_one_label else [])


def _reports(report: QualityReport) -> list[ReportRow]:
    scored = QualityReport.objects.filter(project=report.project_id, pk__lte=report.pk, n_scored__gt=0)
    newest = scored.values_list("pk", "created_at", "n_issues", "n_scored")[:N_REPORTS]
    return [ReportRow(pk, at, wilson(n_issues, n_scored)) for pk, at, n_issues, n_scored in reversed(newest)]


def confused_pairs(report: QualityReport) -> list[PairRow]:
    """Which labels a model takes for each other, among what looks wrong and nobody has decided; most frequent first.

    [] where answers are not one label. Each is what the review queue holds for the pair.
    """
    if not answers_of(report.project).are_labels:
        return []
    doubted = Queue(report, Filter(view="flagged")).rows.exclude(predicted_label="").exclude(predicted_label=F("label"))
    counted = doubted.order_by().values_list("label", "predicted_label").annotate(n=Count("pk"))
    return [PairRow(*row) for row in counted.order_by("-n", "label", "predicted_label")[:N_PAIRS]]


WHY = {
    Flag.Kind.label_issue: "A model that has not seen the label would give another.",
    Flag.Kind.disagreement: "People who answered do not agree.",
    Flag.Kind.conflict: "Texts that say the same, or nearly, carry different labels.",
    Flag.Kind.invalid: "The answer does not fit the schema as it is now.",
    Flag.Kind.not_in_source: "A field holds what its text does not say.",
    Flag.Kind.span: "A span cuts a word, takes in a space or overlaps.",
    Flag.Kind.empty: "There is no letter and no digit in it.",
    Flag.Kind.truncated: "It ends in mid-sentence.",
    Flag.Kind.refusal: "The answer declines to answer.",
    Flag.Kind.copied: "The answer repeats its text, or many texts share it.",
    Flag.Kind.language: "Most are in one language, and this is in another.",
    Flag.Kind.pii: "An e-mail address, a phone, IBAN or card number by its pattern. It is not hidden.",
    Flag.Kind.leak: "It repeats a dev or test example, so it is never trained on.",
    Flag.Kind.duplicate: "It says nearly what another example says.",
    Flag.Kind.outlier: "Its nearest texts are far away from it.",
}


def flag_rows(report: QualityReport) -> list[FlagRow]:
    """Every kind of flag that the report has, in the order of Flag.Kind. Two queries while few are decided.

    Counted from the decisions up: there are few of these and many flags.
    """
    decided = list(Decision.objects.current().filter(
        example__project=report.project_id, verdict__in=(*Decision.SETTLED, Decision.Verdict.discuss))
        .order_by().values_list("example_id", flat=True)) if report.n_flags else []
    gone: Counter[str] = Counter()
    for start in range(0, len(decided), CHUNK):
        gone.update(dict(report.flags.filter(score__report=report, score__example__in=decided[start:start + CHUNK])
                         .order_by().values_list("kind").annotate(n=Count("pk"))))
    return [FlagRow(kind.value, kind.label, WHY[kind], n, n - gone[kind.value])
            for kind in Flag.Kind if (n := report.n_flags.get(kind.value, 0))]


def _changes(report: QualityReport) -> Changes:
    rows: dict[str, list[ChangeRow]] = {what: [] for what in ScoreChange.What.values}
    for what in ScoreChange.What:
        kinds = Flag.Kind if what in (ScoreChange.What.flagged, ScoreChange.What.cleared) else [None]
        for kind in kinds:
            if n := report.n_changes.get(f"{what} {kind}" if kind else what.value, 0):
                query = {"what": what.value, **({"kind": kind.value} if kind else {})}
                rows[what].append(ChangeRow(kind.label if kind else what.label, n, urlencode(query)))
    return Changes(report.n_changes.get("new", 0), rows["flagged"], rows["cleared"],
                   [*rows["relabelled"], *rows["better"], *rows["worse"]])


def changed_scores(report: QualityReport, *, what: str, kind: str) -> QuerySet[ScoreChange]:
    """The examples that changed in this way since the report before, in the order of their scores.

    what: of ScoreChange.What. kind: of Flag.Kind where flags came or went, else "".
    Raises UserError for another one.
    """
    if what not in ScoreChange.What or (kind and kind not in Flag.Kind):
        raise UserError(f"There is no change “{what} {kind}”. Follow a link of the quality page.")
    return report.changes.filter(what=what, kind=kind).select_related("score__example").order_by("score")


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
