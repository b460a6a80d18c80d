"""The review queue: which examples it holds and in which order. All of it stands in the address.

1. A `Filter` is read from an address and written into one.
2. A `Queue` is the filter on a report: its first example, the next and the previous one, how many there are.
3. What is undecided follows from the decisions, so a queue can also be what it was at a mark: the last decision and the
   last answer that somebody had seen.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from urllib.parse import urlencode

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from curation.answers import Answers
from curation.models import Decision, ExampleScore, Flag, QualityReport
from curation.services.keeping import Mark, Moment, ids_kept_up, kept_up
from curation.services.labels import answers_of
from curation.services.outdated import outdated, outdated_at
from curation.services.selections import selected_ids, selection_of
from labeling.models import Annotation, Example
from projects.errors import UserError
from projects.models import Project

VIEWS = {
    "flagged": "looks wrong",
    "disagreement": "annotators disagree",
    "discuss": "needs discussion",
    "outdated": "guideline changed",
    "all": "everything",
}
ORDERS = {"gain": "most to gain first", "quality": "lowest quality first", "came": "as they came"}
STATES = {"open": "undecided", "settled": "settled", "any": "settled or not"}
DONE = (*Decision.SETTLED, Decision.Verdict.discuss)  # what leaves the views other than “discuss”
MAX_QUERY = 200  # characters of a text that is looked for


@dataclass(frozen=True)
class Filter:
    """What a queue holds, as the address says it; "", 0 and None leave a part open; clusters are numbered from 0.

    view: of VIEWS. flag: of Flag.Kind. label: that the report gives it; predicted: that the model suggests.
    annotator: who has answered it. cluster: its near-duplicates. selection: the number of one that it is in.
    q: words in its text. state: of STATES; the views of what is discussed and what is outdated go by themselves.
    order: of ORDERS. split: pool; dev and test are there to be looked at, and nobody settles them here by the dozen.
    """

    view: str = "flagged"
    flag: str = ""
    label: str = ""
    predicted: str = ""
    annotator: int = 0
    cluster: int | None = None
    selection: int = 0
    split: str = Example.Split.pool
    q: str = ""
    state: str = "open"
    order: str = "gain"

    @property
    def query(self) -> str:
        """The filter as an address has it: the view, and what differs from a plain one."""
        plain = asdict(Filter())
        return urlencode({"view": self.view, **{
            name: value for name, value in asdict(self).items() if name != "view" and value != plain[name]}})

    @property
    def is_plain(self) -> bool:
        """Whether it is a view and nothing more, in whatever order."""
        return replace(self, order="gain") == Filter(view=self.view)


def read_filter(given: Mapping[str, str]) -> Filter:
    """The filter of an address. A view, state, order or number that does not exist counts as left out.

    With a flag or a selection alone, everything that has it or is in it is meant. Raises UserError for a kind of flag
    that there is not.
    """
    flag, selection = given.get("flag", ""), _number(given.get("selection", "")) or 0
    if flag and flag not in Flag.Kind.values:
        raise UserError(f"There is no flag “{flag}”. The flags are: {', '.join(Flag.Kind.values)}.")
    return Filter(
        view=_one_of(VIEWS, given.get("view", ""), "all" if flag or selection else "flagged"), flag=flag,
        label=given.get("label", ""), predicted=given.get("predicted", ""),
        annotator=_number(given.get("annotator", "")) or 0, cluster=_number(given.get("cluster", "")),
        selection=selection,
        split=_one_of(dict(Example.Split.choices), given.get("split", ""), Example.Split.pool),
        q=given.get("q", "").strip()[:MAX_QUERY], state=_one_of(STATES, given.get("state", ""), "open"),
        order=_one_of(ORDERS, given.get("order", ""), "gain"))


def _one_of(names: Mapping[str, str], given: str, otherwise: str) -> str:
    return given if given in names else otherwise


def _number(given: str) -> int | None:
    return int(given) if given.isdecimal() and len(given) < 19 else None


def filter_words(filter_: Filter, names: Mapping[int, str]) -> str:
    """The filter in words. names: annotator pk → what the reader may call them."""
    parts = [VIEWS[filter_.view]]
    if filter_.flag:
        parts.append(f"flagged: {Flag.Kind(filter_.flag).label}")
    if filter_.label:
        parts.append(f"given “{filter_.label}”")
    if filter_.predicted:
        parts.append(f"suggested “{filter_.predicted}”")
    if filter_.annotator:
        parts.append(f"answered by {names.get(filter_.annotator, 'somebody unknown')}")
    if filter_.cluster is not None:
        parts.append(f"near-duplicates of group {filter_.cluster}")
    if filter_.selection:
        parts.append(f"of selection {filter_.selection}")
    if filter_.q:
        parts.append(f"with “{filter_.q}” in the text")
    if filter_.state != "open" and filter_.view not in ("discuss", "outdated"):
        parts.append(STATES[filter_.state])
    if filter_.split != Example.Split.pool:
        parts.append(f"held out for {filter_.split}")
    return ", ".join(parts)


def names_of(project: Project) -> list[str]:
    """The labels that a queue can be narrowed to; [] where answers are not made of labels alone."""
    return project.labels if answers_of(project).are_names else []


@dataclass(frozen=True)
class Queue:
    """The examples of a filter in a report, in its order; at a mark, as they were then.

    Answers that no model doubts may have no quality; in that order they come last.
    """

    report: QualityReport
    filter: Filter
    mark: Mark | None = None

    @cached_property
    def rows(self) -> QuerySet[ExampleScore]:
        """The scores, in no order."""
        chosen = self.filter
        rows = self._reviewable.filter(example__split=chosen.split)
        if chosen.split != Example.Split.pool:
            rows = rows.filter(expected_gain=0)  # as all of them have; so an index leads past the pool
        if chosen.view == "discuss":
            discussed = self._current.filter(example__project=self.report.project_id, verdict=Decision.Verdict.discuss)
            rows = rows.filter(example_id__in=list(discussed.values_list("example_id", flat=True)))  # always few
        elif chosen.view == "outdated":
            rows = rows.filter(example__pk__among=self._outdated)
        elif chosen.state == "open":
            rows = rows.filter(~Exists(self._decided(DONE)))
        elif chosen.state == "settled":
            rows = rows.filter(Exists(self._decided(Decision.SETTLED)))
        if chosen.view == "flagged":
            rows = rows.filter(is_label_issue=True)
        elif chosen.view == "disagreement":
            rows = rows.filter(annotator_agreement__lt=1)
        return self._narrowed(rows)

    @cached_property
    def _outdated(self) -> set[int]:
        return outdated_at(self.report.project, self.mark) if self.mark else outdated(self.report.project)

    @cached_property
    def _selected(self) -> list[int]:
        return selected_ids(selection_of(self.report.project, self.filter.selection)).tolist()

    @property
    def _reviewable(self) -> QuerySet[ExampleScore]:
        """What can be reviewed: labels with a quality; where no model doubts them, every answer; what has the flag or
        is selected."""
        if self.filter.flag or self.filter.selection or self.filter.split != Example.Split.pool:
            return self.report.scores.all()
        return reviewable(self.report)

    def _narrowed(self, rows: QuerySet[ExampleScore]) -> QuerySet[ExampleScore]:
        chosen, answers = self.filter, answers_of(self.report.project)
        if chosen.flag:
            rows = rows.filter(pk__in=self.report.flags.filter(kind=chosen.flag).values("score"))
        if chosen.label:
            rows = rows.filter(_has_name("label", chosen.label, answers))
        if chosen.predicted:
            rows = rows.filter(_has_name("predicted_label", chosen.predicted, answers))
        if chosen.annotator:
            given = Annotation.objects.current().filter(annotator=chosen.annotator).order_by()
            given = given.filter(pk__lte=self.mark.annotation) if self.mark else given
            rows = rows.filter(example__in=given.values("example"))
        if chosen.cluster is not None:
            rows = rows.filter(cluster=chosen.cluster)
        if chosen.selection:
            rows = rows.filter(example__pk__among=self._selected)
        return rows.filter(example__text__icontains=chosen.q) if chosen.q else rows

    @property
    def _current(self) -> QuerySet[Decision]:
        """The decision that counts, or at the mark counted, for each example."""
        if self.mark is None:
            return Decision.objects.current()
        newer = Decision.objects.filter(
            example_id=OuterRef("example_id"), pk__gt=OuterRef("pk"), pk__lte=self.mark.decision)
        return Decision.objects.filter(~Exists(newer), pk__lte=self.mark.decision)

    def _decided(self, verdicts: tuple[Decision.Verdict, ...]) -> QuerySet[Decision]:
        return self._current.filter(example_id=OuterRef("example_id"), verdict__in=verdicts)

    def n(self, moment: Moment | None = None) -> int:
        """How many there are; in a large project counted once and kept up with what is decided."""
        report, name = self.report, f"queue:{self.report.pk}:{replace(self.filter, order='gain').query}"
        if self.filter.view == "outdated":  # to find it anew at a mark would be dearer than to keep the ids
            return len(ids_kept_up(f"{name}:{report.project.instructions_version}", report.n_examples,
                                   self._ids_among, moment))
        return kept_up(name, report.n_examples, self.rows.count, lambda n, mark, touched: (
            n + self._n_among(touched) - replace(self, mark=mark)._n_among(touched)), moment)

    def _n_among(self, examples: set[int]) -> int:
        return self.rows.filter(example__in=examples).count()

    def _ids_among(self, examples: set[int] | None) -> set[int]:
        if examples is None:
            return set(self.rows.values_list("example_id", flat=True))
        few = Queue(self.report, replace(self.filter, view="all", state="any")).rows
        return set(few.filter(example__in=examples & self._outdated).values_list("example_id", flat=True))

    # Two conditions that an index can follow in order; “greater or (equal and later)” makes SQLite sort everything.

    @property
    def ordered(self) -> QuerySet[ExampleScore]:
        rows = self.rows.select_related("example")
        if self.filter.order == "came":
            return rows.order_by("example_id")
        return rows.order_by(F("label_quality").asc(), "pk") if self.filter.order == "quality" else rows.order_by(
            "-expected_gain", "pk")

    def first(self) -> ExampleScore | None:
        if self.filter.order != "quality":
            return self.ordered.first()
        return self._judged.first() or self._unjudged.first()

    def after(self, score: ExampleScore) -> ExampleScore | None:
        """The first of the queue after this score, which may itself have left the queue; None at its end."""
        if self.filter.order == "came":
            return self.ordered.filter(example_id__gt=score.example_id).first()
        if self.filter.order == "gain":
            return self.ordered.filter(expected_gain__lte=score.expected_gain).exclude(
                expected_gain=score.expected_gain, pk__lte=score.pk).first()
        if score.label_quality is None:
            return self._unjudged.filter(pk__gt=score.pk).first()
        return self.ordered.filter(label_quality__gte=score.label_quality).exclude(
            label_quality=score.label_quality, pk__lte=score.pk).first() or self._unjudged.first()

    def before(self, score: ExampleScore) -> ExampleScore | None:
        """The last of the queue before this score; None at its beginning."""
        backwards = self.ordered.reverse()
        if self.filter.order == "came":
            return backwards.filter(example_id__lt=score.example_id).first()
        if self.filter.order == "gain":
            return backwards.filter(expected_gain__gte=score.expected_gain).exclude(
                expected_gain=score.expected_gain, pk__gte=score.pk).first()
        if score.label_quality is None:
            return self._unjudged.filter(pk__lt=score.pk).reverse().first() or self._judged.reverse().first()
        return backwards.filter(label_quality__lte=score.label_quality).exclude(
            label_quality=score.label_quality, pk__gte=score.pk).first()

    @property
    def _judged(self) -> QuerySet[ExampleScore]:
        return self.ordered.filter(label_quality__isnull=False)

    @property
    def _unjudged(self) -> QuerySet[ExampleScore]:
        return self.ordered.filter(label_quality__isnull=True)


def reviewable(report: QualityReport) -> QuerySet[ExampleScore]:
    """The scores of what can be reviewed: labels with a quality; where no model doubts them, every answer."""
    if report.project.task_type == "classification":
        return report.scores.filter(label_quality__isnull=False)
    return report.scores.exclude(label="")


def _has_name(field: str, name: str, answers: Answers) -> Q:
    """Labels that are this name, or of a set of labels have it."""
    if answers.task_type != "multilabel":
        return Q(**{field: name})
    return (Q(**{field: name}) | Q(**{f"{field}__startswith": f"{name}\n"}) | Q(**{f"{field}__endswith": f"\n{name}"})
            | Q(**{f"{field}__contains": f"\n{name}\n"}))
