"""Label budget: how many labels more the target may take, in hours and in money, or that they may never reach it."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from django.contrib.auth.models import User

from curation.experiments import Training, answered
from curation.models import LabelForecast
from curation.services.experiments import judge_of
from curation.services.gold_pool import read_pool
from curation.services.scoring import latest_report
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotation, Annotator
from labeling.pace import typical_seconds
from labeling.services.batches import rules_of
from projects.errors import UserError
from projects.models import Project
from projects.services import audit
from projects.wording import percent_words
from stats.classification import accuracy, macro_f1
from stats.learning_curve import REACH, Forecast, forecast

N_SIZES, N_SUBSETS = 6, 5
MIN_LABELLED = 120  # below, six sizes say nothing
N_TIMES = 1_000  # newest answers that the pace is read from
SEED = 0


@dataclass(frozen=True)
class Price:
    """seconds: of one answer, None while too few are timed. per_example: answers that a labelled example has.

    wage: per hour in currency, None where it is not told.
    """

    seconds: float | None
    per_example: float
    wage: float | None
    currency: str

    def hours(self, n_examples: int) -> float | None:
        return None if self.seconds is None else n_examples * self.per_example * self.seconds / 3600

    def money(self, n_examples: int) -> float | None:
        hours = self.hours(n_examples)
        return None if hours is None or self.wage is None else hours * self.wage


def start_forecast(project: Project, *, by: User, wake: bool = True) -> Job:
    """Queue a forecast. Raises UserError if the type of task has no probe or there is no report."""
    if obstacle := forecast_obstacle(project):
        raise UserError(obstacle)
    return enqueue("forecast", project, title="How many labels more?", requested_by=by,
                   exclusive=f"forecast:{project.pk}", wake=wake)


def forecast_obstacle(project: Project) -> str:
    """Why no forecast can be made in this project, in words; "" if one can."""
    if project.task_type != Project.TaskType.classification:
        return (f"A forecast needs a model that learns in seconds, and there is one for one label per text only; this "
                f"project is “{project.get_task_type_display()}”.")
    if latest_report(project) is None:
        return "Score the project first: the forecast learns from labels that do not look wrong."
    return ""


def run_forecast(job: Job, progress: Progress) -> None:
    project = job.project
    report = latest_report(project)
    assert report is not None, "a report is never removed"
    progress("Reading labels", 0, 1)
    pool = read_pool(project, report)
    _, judge = judge_of(project, report, "dev")
    candidates = pool.candidates
    assert candidates.embeddings is not None and pool.is_known is not None
    usable = pool.is_known & ~candidates.crosses_split & ~candidates.is_excluded & ~candidates.is_label_issue
    usable &= ~candidates.is_under_discussion
    rows = np.flatnonzero(usable)
    if len(rows) < MIN_LABELLED:
        raise UserError(f"{len(rows)} pool examples have a label that does not look wrong; a forecast takes at least "
                        f"{MIN_LABELLED}. Label some more first.")
    sizes = sizes_of(len(rows))
    orders = [np.random.default_rng(SEED + number).permutation(rows) for number in range(N_SUBSETS)]
    gold = np.asarray(judge.labels, dtype=object)
    metric = (accuracy if project.target_metric == Project.Metric.accuracy else
              partial(macro_f1, labels=project.labels))
    errors = []
    for number, size in enumerate(sizes):
        draws = orders[:1] if size == len(rows) else orders  # all of them are one subset
        said = answered([Training(candidates.embeddings[order[:size]], [str(pool.labels[row]) for row in order[:size]])
                         for order in draws], judge)
        found = [1 - metric(gold, one) for one in said]
        errors.append(found * (N_SUBSETS // len(found)))
        progress("Learning from more and more labels", number + 1, len(sizes))
    told = forecast(np.array(sizes), np.array(errors), target_error=1 - project.target_value, n_test=len(gold),
                    seed=SEED)
    price = price_of(project)
    words = forecast_words(told, len(rows), float(np.mean(errors[-1])), project, price)
    with completing(job) as result:
        made = LabelForecast.objects.create(
            project=project, report=report, job=job, target_metric=project.target_metric,
            target_value=project.target_value, n_train=len(rows), n_dev=len(gold), sizes=sizes, errors=errors,
            found=_found(told, price), words=words)
        audit(project, job.requested_by, "forecast", {"forecast": made.pk, "n_train": len(rows)})
        result |= {"forecast": made.pk, "words": words}


def sizes_of(n: int) -> list[int]:
    """N_SIZES rising numbers of rows, each the same factor above the last, from a tenth of n (at least 30) to n."""
    return [round(float(size)) for size in np.geomspace(max(30, n / 10), n, N_SIZES)]


def price_of(project: Project) -> Price:
    """What a label takes here: the median time of the newest answers, how many an example has, and the wage."""
    people = list(Annotator.objects.filter(project=project).values_list("pk", flat=True))
    newest = Annotation.objects.filter(annotator__in=people, skipped=False, seconds__isnull=False)
    seconds = typical_seconds(list(newest.order_by("-pk").values_list("seconds", flat=True)[:N_TIMES]))  # type: ignore[arg-type]
    answers = Annotation.objects.filter(annotator__in=people, example__split="pool", skipped=False, retracted=False)
    n_examples = answers.values("example").distinct().count()
    rules = rules_of(project)
    return Price(seconds, max(1.0, answers.count() / n_examples) if n_examples else 1.0,
                 float(rules.hourly_wage) or None, rules.currency)


def forecast_words(told: Forecast, n: int, error: float, project: Project, price: Price) -> list[str]:
    """What the forecast says, the headline first."""
    target = f"the target of {percent_words(project.target_value)} {project.get_target_metric_display()}"
    reach = f"{round(REACH * n):,}, twice what there is"
    if told.needed_high is not None and told.needed_high <= n:
        return [f"The labels there are suffice: with {n:,} a quick model is at {percent_words(1 - error)}, and "
                f"{target} lies below the whole interval."]
    if told.needed is None:
        said = [f"Labels alone may never reach {target}." if told.may_never else
                f"{target[0].upper()}{target[1:]} is not reached with {reach}; nothing honest can be said beyond."]
        said.append(f"A quick model is at {percent_words(1 - error)} with {n:,} labels; with {reach}, it would be at "
                    f"{percent_words(1 - float(told.band.error[-1]))} ({percent_words(1 - float(told.band.high[-1]))} "
                    f"to {percent_words(1 - float(told.band.low[-1]))}).")
        if told.needed_low is not None:
            said.append(f"At best {max(told.needed_low - n, 0):,} more would do.")
        said.append("Label some, and ask again; or mend what more labels do not: unclear rules, a better model.")
        return said
    if told.needed <= n:
        here = int(np.searchsorted(told.band.sizes, n))
        return [f"A quick model is at {percent_words(1 - error)} with the {n:,} labels there are, above {target}, but "
                f"its interval ({percent_words(1 - float(told.band.high[here]))} to "
                f"{percent_words(1 - float(told.band.low[here]))}) still reaches below.",
                "More labels in dev make the interval narrower; more to learn from hardly do."]
    more, least = told.needed - n, max((told.needed_low or 0) - n, 0)
    most = None if told.needed_high is None else told.needed_high - n
    span = f"between {least:,} and {most:,}" if most is not None else (
        f"at least {least:,}, and whether twice as many as there are would do is open")
    said = [f"About {more:,} labelled examples more may reach {target} ({span})."]
    costs = [_cost_words(price, count) for count in (more, most or round(REACH * n) - n)]
    if all(costs):
        said.append(f"That is {costs[0]}; {'at the upper end' if most is not None else 'for twice the labels'} "
                    f"{costs[1]}.")
    elif price.seconds is None:
        said.append("How long a label takes is not known yet: too few answers are timed.")
    if told.may_never:
        said.append("The interval holds the case that they never do: label in rounds and ask again after each.")
    return said


def _cost_words(price: Price, n_examples: int) -> str:
    hours, money = price.hours(n_examples), price.money(n_examples)
    if hours is None:
        return ""
    return f"{hours:,.1f} hours" + (f" or {money:,.0f} {price.currency}" if money is not None else "")


def _found(told: Forecast, price: Price) -> dict[str, Any]:
    band = told.band
    return {"floor": told.floor, "backtest": told.backtest, "widened_by": told.widened_by, "needed": told.needed,
            "needed_low": told.needed_low, "needed_high": told.needed_high, "may_never": told.may_never,
            "price": asdict(price),
            "band": [[int(size), round(float(error), 5), round(float(low), 5), round(float(high), 5)] for
                     size, error, low, high in zip(band.sizes, band.error, band.low, band.high, strict=True)]}
