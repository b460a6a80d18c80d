"""What the pages on drift show: accuracy look by look, the evidence, signals, who labels what, and what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
from django.db.models import Count
from django.utils import timezone

from jobs.models import Job
from labeling.models import Assignment
from projects.charts import Chart, evidence_chart, signal_chart, trend_chart
from projects.models import Project
from projects.wording import counted, percent_words
from serving.models import ExchangeContent, Look, LookCount, LookRow, SignalReading, TrainingProposal
from serving.services.kept_traffic import compared_words, today_in_utc
from serving.services.live import Standing, standing_of
from serving.services.look_counts import scores_of, watch_of
from serving.services.look_counts import standing_of as labels_of
from serving.services.proposals import Step, pays_words, way_of, weigh_retraining
from serving.services.watch_plans import (
    Advice,
    Watched,
    advice_of,
    default_floor,
    floor_of,
    is_binary,
    looks_a_year,
    n_uniform,
    score_name,
    watched_of,
)
from stats.drop_alarm import CADENCES, AlarmRule, Floor, Watch
from stats.intervals import Interval, wilson
from stats.schedule import RetrainProposal
from training.services.champions import Champion, former_champion

SHOWN = 26  # looks on the page
N_ROWS = 12  # requests that are shown as examples of a signal
SIGNAL_NAMES = {
    "labels": "What the model answers", "languages": "Languages", "confidence": "How sure the model is",
    "meaning": "What texts mean", "new kinds": "New kinds of text", "lengths": "Length", "vocabulary": "Words",
    "failures": "Answers that cannot be read"}


@dataclass(frozen=True)
class LookLine:
    """A look in a list. share: of its random rows; n_settled of n rows have a label, where it is not counted yet."""

    look: Look
    count: LookCount | None
    share: Interval | None
    n_rows: int
    n_settled: int
    warnings: list[str]

    @property
    def when(self) -> str:
        return f"{self.look.number}: {self.look.last_day:%d %b}"


@dataclass(frozen=True)
class Labelling:
    """Who labels the open looks now: annotator and how many examples lie on their desk."""

    look: Look
    n_rows: int
    n_settled: int
    people: list[tuple[str, int]]
    is_late: bool


@dataclass(frozen=True)
class Drift:
    """All that the page shows. level: of the newest counted look of this watch, “none” without one."""

    standing: Standing
    watched: Watched | None
    floor: Floor | None
    rule: AlarmRule | None
    found: Watch | None
    level: str
    newest: Interval | None
    lines: list[LookLine]
    accuracy_chart: Chart | None
    evidence: Chart | None
    signals: list[SignalReading]
    signal_look: Look | None
    compared: str
    signals_over_time: Chart | None
    labelling: list[Labelling]
    next_end: date | None
    takes: str
    proposal: TrainingProposal | None
    retraining: RetrainProposal | None
    former: Champion | None
    jobs: list[Job]
    score: str = "accuracy"
    period: str = "week"
    n_uniform: int = 0
    extra: LookLine | None = field(default=None)

    @property
    def is_alarm(self) -> bool:
        return self.level == LookCount.Level.alarm


def drift_of(project: Project, *, now: datetime | None = None) -> Drift:
    now = now or timezone.now()
    today, watched = today_in_utc(now), watched_of(project)
    standing = standing_of(project)
    jobs = [job for job in Job.objects.filter(project=project, kind__in=("look", "count_look"))[:10]
            if job.is_active or job.state == Job.State.failed][:3]
    if watched is None:
        return Drift(standing, None, None, None, None, "none", None, [], None, None, [], None, "", None, [], None, "",
                     None, None, None, jobs, score=score_name(project))
    counted_looks, found, rule = watch_of(watched)
    floor = floor_of(watched)
    lines = _lines(list(watched.looks.select_related("count", "project").order_by("-number")[:SHOWN]))
    extra = _lines(list(Look.objects.filter(project=project, kind=Look.Kind.extra, deployment=watched.deployment)
                        .select_related("count", "project")[:1]))
    newest = next((line for line in lines if line.count and line.share), None)
    readings = _readings([line.look for line in lines])
    shown = lines[0].look if lines else None
    return Drift(
        standing=standing, watched=watched, floor=floor, rule=rule, found=found,
        level=counted_looks[-1].count.level if counted_looks else "none", newest=newest.share if newest else None,
        lines=lines, accuracy_chart=_accuracy_chart(lines, floor, score_name(project)),
        evidence=_evidence_chart(counted_looks, found, rule), signals=[one for one in readings if shown is not None
                                                                        and one.look_id == shown.pk],
        signal_look=shown, compared=compared_words(shown) if shown else "",
        signals_over_time=_signal_chart(lines, readings),
        labelling=_labelling([line for line in [*lines, *extra] if line.count is None], today),
        next_end=watched.next_end(today) if watched.plan.is_on else None, takes=takes_words(watched, floor),
        proposal=TrainingProposal.objects.filter(project=project, deployment=watched.deployment).select_related(
            "decided_by").first(),
        retraining=weigh_retraining(watched, today=today),
        former=former_champion(project), jobs=jobs,
        score=score_name(project), period=CADENCES[looks_a_year(watched.plan)], n_uniform=n_uniform(watched.plan),
        extra=extra[0] if extra else None)


def _lines(looks: Sequence[Look]) -> list[LookLine]:
    warned: dict[int, list[str]] = {}
    for look_id, name in SignalReading.objects.filter(look__in=list(looks), is_warning=True).values_list(
            "look_id", "name"):
        warned.setdefault(look_id, []).append(name)
    n_rows = dict(LookRow.objects.filter(look__in=list(looks)).order_by().values_list("look").annotate(n=Count("pk")))
    lines = []
    for look in looks:
        count = getattr(look, "count", None)
        n_settled = count.n_uniform + count.n_targeted if count else labels_of(look).n_settled
        share = Interval(**count.share) if count and count.share else None
        lines.append(LookLine(look, count, share, n_rows.get(look.pk, 0), n_settled, warned.get(look.pk, [])))
    return lines


def _accuracy_chart(lines: Sequence[LookLine], floor: Floor, name: str) -> Chart | None:
    shown = [line for line in reversed(lines) if line.share is not None and line.count is not None]
    if not shown:
        return None
    first, last = shown[0].share, shown[-1].share
    assert first is not None and last is not None
    words = (f"{name.capitalize()} of {counted(len(shown), 'look')}, from {percent_words(first.estimate)} to "
             f"{percent_words(last.estimate)}; the floor is {percent_words(floor.value)}")
    return trend_chart([(line.when, line.share) for line in shown if line.share], title=name, words=words,
                       floor=floor.value)


def _evidence_chart(looks: Sequence[Look], found: Watch, rule: AlarmRule) -> Chart | None:
    if not looks:
        return None
    points = [(f"{look.number}: {look.last_day:%d %b}", float(value)) for look, value in zip(
        looks, found.evidence, strict=True)][-SHOWN:]
    return evidence_chart(points, warning=rule.warning, alarm=rule.threshold, words=(
        f"The evidence of a drop is {points[-1][1]:.3g} after {counted(len(looks), 'look')}; it warns at "
        f"{rule.warning:.0f} and rings at {rule.threshold:.0f}"))


def _readings(looks: Sequence[Look]) -> list[SignalReading]:
    return list(SignalReading.objects.filter(look__in=list(looks)).select_related("look").order_by(
        "look__number", "pk"))


def _signal_chart(lines: Sequence[LookLine], readings: Sequence[SignalReading]) -> Chart | None:
    if not readings:
        return None
    when = {line.look.pk: line.when for line in lines}
    n_warnings, n_looks = sum(one.is_warning for one in readings), len({one.look_id for one in readings})
    return signal_chart(
        [(SIGNAL_NAMES.get(one.name, one.name), when[one.look_id], one.effect, one.p_adjusted, one.is_warning)
         for one in readings],
        words=f"{counted(n_warnings, 'warning')} of signals in {counted(n_looks, 'look')}")


def _labelling(lines: Sequence[LookLine], today: date) -> list[Labelling]:
    found = []
    for line in lines:
        desks: dict[str, int] = {}
        if line.look.batch_id is not None:
            for name in Assignment.objects.open().filter(item__batch=line.look.batch_id).values_list(
                    "annotator__name", flat=True):
                desks[name] = desks.get(name, 0) + 1
        found.append(Labelling(line.look, line.n_rows, line.n_settled, sorted(desks.items()),
                               today >= line.look.due_on))
    return found


def usual_floor(project: Project, watched: Watched | None) -> float:
    """The floor where nobody chose one."""
    return default_floor(watched).value if watched else project.target_value


def advice_for(project: Project, watched: Watched | None, asked: dict[str, Any]) -> Advice | None:
    """How soon a drop is seen with these values of a plan; None where that cannot be simulated.

    watched: None while nothing serves, so that nothing was measured.
    """
    if not is_binary(project):
        return None
    evaluation, floor = watched.evaluation if watched else None, asked.get("floor")
    measured = evaluation.measured.interval.estimate if evaluation and evaluation.n_right is not None else None
    return advice_of(floor=usual_floor(project, watched) if floor is None else floor, measured=measured,
                     labels=int(asked["labels"]), uniform_share=float(asked["uniform_share"]),
                     cadence=str(asked["cadence"]))


def takes_words(watched: Watched, floor: Floor) -> str:
    """What it would take to know sooner."""
    plan = watched.plan
    advice = advice_for(watched.project, watched, {"floor": floor.value, "labels": plan.labels, "cadence": plan.cadence,
                                                   "uniform_share": plan.uniform_share})
    if advice is None:
        return ("How soon a drop is seen is simulated for answers that are right or wrong as a whole; here it rings "
                "more rarely than once in twenty years by mistake, and later than for those.")
    return f"{advice.words} {advice.needed}"


@dataclass(frozen=True)
class SignalPart:
    reading: SignalReading
    title: str
    samples: list[str]
    n_deleted: int


@dataclass(frozen=True)
class RowPart:
    """A row of a look. answer, label: "" until the look is counted: whoever labels must not find the answer here."""

    row: LookRow
    text: str
    answer: str
    label: str
    why_not: str
    score: float | None


@dataclass(frozen=True)
class LookPage:
    look: Look
    count: LookCount | None
    share: Interval | None
    estimate: Interval | None
    signals: list[SignalPart]
    rows: list[RowPart]
    n_settled: int
    labelling: Labelling | None


def look_page(look: Look, *, now: datetime | None = None) -> LookPage:
    count = LookCount.objects.filter(look=look).first()
    standing = labels_of(look)
    scores = dict(look.rows.filter(score__isnull=False).values_list("pk", "score__score"))
    rows = [RowPart(row, row.example.text, _shown(row) if count else "",
                    (standing.labels[row.example_id].label or "") if count else "",
                    standing.labels[row.example_id].why_not, scores.get(row.pk)) for row in standing.rows]
    line = LookLine(look, count, None, len(rows), standing.n_settled, [])
    return LookPage(
        look, count, Interval(**count.share) if count and count.share else None,
        Interval(**count.estimate) if count and count.estimate else None, _signal_parts(look), rows,
        standing.n_settled, None if count else _labelling([line], today_in_utc(now))[0])


def _shown(row: LookRow) -> str:
    if not row.answer:
        return "erased"
    return row.answer["label"] if row.answer["label"] is not None else "could not be read"


def _signal_parts(look: Look) -> list[SignalPart]:
    readings = list(look.signals.all())
    names = {name for one in readings for name in one.exchange_names[:N_ROWS]}
    words = dict(ExchangeContent.objects.filter(project=look.project_id, exchange__name__in=names).values_list(
        "exchange__name", "text"))
    words |= dict(LookRow.objects.filter(look=look, exchange_name__in=names).exclude(example__text="").values_list(
        "exchange_name", "example__text"))
    parts = []
    for one in readings:
        chosen = one.exchange_names[:N_ROWS]
        texts = [words[name] for name in chosen if name in words]
        parts.append(SignalPart(one, SIGNAL_NAMES.get(one.name, one.name), texts, len(chosen) - len(texts)))
    return parts


@dataclass(frozen=True)
class ProposalPage:
    proposal: TrainingProposal
    pays: list[str]
    way: list[Step]
    live: Interval | None


def proposal_page(proposal: TrainingProposal) -> ProposalPage:
    live = live_share(proposal)
    return ProposalPage(proposal, pays_words(proposal, live), way_of(proposal), live)


def live_share(proposal: TrainingProposal) -> Interval | None:
    """The share of right answers in the random rows of the last four counted looks."""
    looks = list(Look.objects.filter(deployment=proposal.deployment, kind=Look.Kind.regular, count__isnull=False)
                 .order_by("-number")[:4])
    scores = [part for part in scores_of(looks) if len(part)]
    if not scores or not is_binary(proposal.project):
        return None
    together = np.concatenate(scores)
    return wilson(int(together.sum()), len(together))
