"""What the pages of A/B tests show: the result in words, the arms, the looks, what would decide, and who did what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from projects.charts import Chart, decision_chart, difference_chart
from projects.models import Project
from projects.wording import count_words, counted, percent_words, point_ends_words, point_words
from serving.models import ArmName, Deployment, Experiment, ExperimentDay, ExperimentEnd, ExperimentLook
from serving.services.experiments import Judged, judge
from stats.experiment import Arm, differences_needed
from stats.intervals import Interval, wilson, wilson_of_share
from training.services.champions import champion_of

TONES = {"SHIP": "yes", "SHIP_AS_GOOD": "yes", "AA_PASSED": "yes", "KEEP": "no", "HARM": "no", "INVALID": "no",
         "AA_FAILED": "no"}
HEADINGS = {
    "CONTINUE": "It is open so far.", "SHIP": "The challenger is better.", "SHIP_AS_GOOD": "As good, and cheaper.",
    "KEEP": "The challenger is worse.", "NOT_PROVEN": "Not proven better or worse.",
    "HARM": "Stopped: the challenger does harm.", "INVALID": "This test cannot be trusted.",
    "AA_PASSED": "The machinery may be trusted.", "AA_FAILED": "It finds what is not there.",
    "STOPPED": "Stopped before its end."}


@dataclass(frozen=True)
class Listed:
    """A test in a list. tone: a class of the heading."""

    experiment: Experiment
    heading: str
    tone: str
    words: str
    at: datetime


@dataclass(frozen=True)
class ArmShown:
    """name: whose. mean: of the outcome, on the units that have one. rate: the share of its units that have one."""

    name: str
    title: str
    link: Deployment
    arm: Arm
    mean: Interval | None
    rate: Interval | None


@dataclass(frozen=True)
class Step:
    at: datetime
    words: str
    who: str = ""


@dataclass(frozen=True)
class Shown:
    """serves_now: the champion, where that is another one than the test had; "" otherwise."""

    judged: Judged
    heading: str
    tone: str
    arms: list[ArmShown]
    chart: Chart | None
    days_chart: Chart | None
    days: list[tuple[ExperimentDay, Interval]]
    needs: list[tuple[float, float]]
    timeline: list[Step]
    question: str
    progress: tuple[int, int]
    can_ship: bool
    serves_now: str


def listed(project: Project) -> list[Listed]:
    """The project's tests, newest first; those that run are judged when their own page is opened."""
    tests = Experiment.objects.filter(project=project).select_related(
        "end", "challenger__adapter", "challenger__run", "champion__adapter", "champion__run")
    return [_listed(one, getattr(one, "end", None)) for one in tests]


def _listed(experiment: Experiment, end: ExperimentEnd | None) -> Listed:
    if end is None:
        return Listed(experiment, "It runs.", "open", question_of(experiment), experiment.started_at)
    return Listed(experiment, HEADINGS[end.outcome], TONES.get(end.outcome, "open"), end.words[0], end.at)


def question_of(experiment: Experiment) -> str:
    """What is compared, in a sentence."""
    outcome = {"thumb": "more thumbs up", "value": "better outcomes",
               "correction_free": "fewer corrections"}[experiment.outcome]
    if experiment.is_aa:
        return f"Both arms are {experiment.champion.title}: does the machinery find a difference where there is none?"
    return (f"Does {experiment.challenger.title} get {outcome} than {experiment.champion.title}? "
            f"{percent_words(experiment.share, 0)} of the users get it.")


def shown(experiment: Experiment, *, now: datetime | None = None) -> Shown:
    """Judge it, as whoever looks does, and say what it comes to."""
    found = judge(experiment, now=now)
    needs = [(need.n, need.difference) for need in differences_needed(
        experiment.plan, found.champion, found.challenger, past=found.looks)]
    days = [(one, Interval(**one.band)) for one in ExperimentDay.objects.filter(experiment=experiment)]
    is_planned = experiment.engine == Experiment.Engine.planned_looks
    serves = champion_of(experiment.project)
    return Shown(
        judged=found, heading=HEADINGS[found.outcome], tone=TONES.get(found.outcome, "open"),
        arms=[_arm(found, name) for name in ArmName.values], days=days[::-1], needs=needs,
        chart=_decision(found, needs) if needs and (found.looks or not is_planned or found.band) else None,
        days_chart=_by_day(days) if len(days) > 1 else None, timeline=_timeline(found),
        question=question_of(experiment), progress=(round(_per_arm(found)), experiment.n_max),
        can_ship=bool(found.end and found.end.ships) and not (
            serves and serves.run.pk == experiment.challenger.run_id),
        serves_now=serves.title if serves and serves.run.pk != experiment.champion.run_id else "")


def _per_arm(found: Judged) -> float:
    """Outcomes per arm: the harmonic mean of both."""
    n, m = found.champion.n, found.challenger.n
    return 2 * n * m / (n + m) if n + m else 0.0


def _arm(found: Judged, name: str) -> ArmShown:
    is_challenger = name == ArmName.challenger
    arm = found.challenger if is_challenger else found.champion
    deployment = found.experiment.challenger if is_challenger else found.experiment.champion
    mean = Interval(arm.mean, *wilson_of_share(arm.mean, arm.n), arm.n) if arm.n else None
    return ArmShown(name, deployment.title, deployment, arm, mean,
                    wilson(arm.n, arm.n_exposed) if arm.n_exposed else None)


def _decision(found: Judged, needs: Sequence[tuple[float, float]]) -> Chart:
    experiment = found.experiment
    is_planned = experiment.engine == Experiment.Engine.planned_looks
    if is_planned:
        looks = [(look.fraction * experiment.n_max, look.interval) for look in found.looks]
        said = f"{counted(len(looks), 'look')} of {experiment.plan.n_looks} taken" if looks else "No look was taken yet"
        last = f"; the last shows {point_words(looks[-1][1].estimate)}" if looks else ""
    else:
        looks = [(float(found.band.n), found.band)] if found.band else []
        said, last = f"{count_words(round(_per_arm(found)))} outcomes per arm", (
            f"; the difference is {point_words(found.band.estimate)}" if found.band else "")
    decides = ("A difference outside the shaded part decides" if len(needs) > 1 else
               f"A difference from ±{100 * needs[0][1]:.1f} points on decides")
    return decision_chart(needs, looks, n_max=max(experiment.n_max, needs[-1][0]), in_steps=is_planned,
                          words=f"{said}{last}. {decides}")


def _by_day(days: Sequence[tuple[ExperimentDay, Interval]]) -> Chart:
    last = days[-1][1]
    return difference_chart([(one.day, band) for one, band in days], title="difference, points", words=(
        f"Over {counted(len(days), 'day')} the difference came to {point_words(last.estimate)}, "
        f"{point_ends_words(last.low, last.high)}"))


def _timeline(found: Judged) -> list[Step]:
    experiment, end = found.experiment, found.end
    steps = [Step(experiment.started_at, "started", str(experiment.started_by))]
    for look in ExperimentLook.objects.filter(experiment=experiment):
        interval = Interval(**look.interval)
        steps.append(Step(look.at, f"look {look.number} at {counted(interval.n, 'outcome')} per arm: "
                                   f"{point_words(interval.estimate)} "
                                   f"({point_ends_words(interval.low, interval.high)})"))
    if end is not None:
        steps.append(Step(end.at, f"ended: {end.get_outcome_display()}", str(end.by) if end.by else ""))
    return steps
