"""What a project's answers are worth, as somebody said it, and its verdicts weighed with that."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction

from curation.models import LabelForecast, Snapshot
from curation.services.forecasts import price_of
from labeling.services.agreement import agreement_of, shared_answers
from labeling.services.batches import rules_of
from projects.models import Project
from projects.services import audit
from stats.intervals import Interval
from training.economics import (
    Economics,
    Guess,
    Outcome,
    Projection,
    Weighed,
    answer_cost,
    chance_words,
    money_words,
    not_weighed,
    weigh,
)
from training.models import Evaluation, ProjectEconomics, Quote, Run, Verdict, Weighing
from training.services.comparison import pair

SEED = 0
GUESSES = ("requests", "value", "realised")


def economics_of(project: Project) -> ProjectEconomics:
    """What was said last; an empty row that is not stored where nobody has said anything."""
    found = ProjectEconomics.objects.filter(project=project).select_related(
        "machine", "prompt_price", "trained_price").first()
    return found or ProjectEconomics(project=project, currency=rules_of(project).currency)


def save_economics(project: Project, values: Mapping[str, Any], *, by: User) -> ProjectEconomics:
    """Write down what was said, and weigh the project's verdicts anew with it."""
    with transaction.atomic():
        said = ProjectEconomics.objects.create(
            **{**values, "project": project, "currency": rules_of(project).currency, "created_by": by})
        audit(project, by, "say_economics", {"economics": said.pk, **{
            name: getattr(value, "pk", value) for name, value in values.items() if value is not None}})
        for verdict in Verdict.objects.filter(snapshot__project=project).select_related("snapshot__project"):
            weigh_verdict(verdict, quote=Quote.objects.filter(snapshot=verdict.snapshot_id).first())
    return said


def weigh_verdict(verdict: Verdict, *, quote: Quote | None = None) -> Weighing:
    """Weigh a verdict with all that is known now, and keep that."""
    project = verdict.snapshot.project
    said = economics_of(project)
    ceiling = ceiling_of(project)
    weighed = weighed_of(verdict, said, ceiling, quote)
    return Weighing.objects.create(
        verdict=verdict, economics=said if said.pk else None, quote=quote, outcome=weighed.outcome,
        words=weighed.words, next_step=weighed.next_step, ceiling=asdict(ceiling) if ceiling else None,
        found=weighed.to_json())


def latest_weighing(verdict: Verdict | None) -> Weighing | None:
    return verdict.weighing if verdict else None


def weighed_of(verdict: Verdict, said: ProjectEconomics, ceiling: Interval | None, quote: Quote | None) -> Weighed:
    evaluation = Evaluation.objects.get(run=verdict.best_prompt_id, snapshot=verdict.snapshot_id, split="test")
    outcome = cast(Outcome, verdict.outcome)
    if evaluation.n_right is None:
        return not_weighed(outcome, verdict.next_step, metric=evaluation.measured.name)
    forecast = LabelForecast.objects.filter(project=verdict.snapshot.project).first()
    return weigh(
        outcome, verdict.next_step, n_right=evaluation.n_right, n=evaluation.n,
        target=verdict.target_value, economics=in_plain(said, verdict.best_prompt, quote),
        projection=projection_of(verdict.snapshot, forecast), ceiling=ceiling,
        training=quote.money if quote else None, labour=(quote.labour["money"] or 0.0) if quote else 0.0,
        labels_needed=_labels_needed(forecast, verdict.snapshot), seed=SEED)


def in_plain(said: ProjectEconomics, best_prompt: Run, quote: Quote | None) -> Economics:
    """The row as the plain module takes it; tokens that nobody said are those that were measured."""
    n_dev = best_prompt.snapshot.counts["dev"]
    measured = best_prompt.config.get("prompt_tokens")
    tokens_in = said.tokens_in if said.tokens_in is not None else measured / n_dev if measured and n_dev else None
    trial = quote.trial if quote else {}
    tokens_out = said.tokens_out if said.tokens_out is not None else trial.get("completion_tokens")
    trained_in = said.trained_tokens_in if said.trained_tokens_in is not None else trial.get("prompt_tokens")
    prompt_cost = trained_cost = None
    if said.prompt_price and tokens_in is not None and tokens_out is not None:
        prompt_cost = answer_cost(tokens_in, tokens_out, price_in=said.prompt_price.per_million_in or 0.0,
                                  price_out=said.prompt_price.per_million_out or 0.0,
                                  cached_share=said.cached_share or 0.0, cached_discount=said.cached_discount or 0.0)
    if said.trained_price and trained_in is not None and tokens_out is not None:
        trained_cost = answer_cost(trained_in, tokens_out, price_in=said.trained_price.per_million_in or 0.0,
                                   price_out=said.trained_price.per_million_out or 0.0)
    return Economics(
        **{name: _guess(said, name) for name in GUESSES}, months=said.months, prompt_cost=prompt_cost,
        trained_cost=trained_cost, hosting=said.hosting, retrainings=said.retrainings, currency=said.currency)


def _guess(said: ProjectEconomics, name: str) -> Guess | None:
    likely = getattr(said, name)
    if likely is None:
        return None
    low, high = getattr(said, f"{name}_low"), getattr(said, f"{name}_high")
    return Guess(likely if low is None else low, likely, likely if high is None else high)


def ceiling_of(project: Project) -> Interval | None:
    """How often one person agrees with the others, from the answers there are; None where too few answered twice."""
    ceiling = agreement_of(shared_answers(project), project).ceiling
    return ceiling if ceiling is not None and np.isfinite(ceiling.low) else None


def projection_of(snapshot: Snapshot, forecast: LabelForecast | None) -> Projection | None:
    """What an adapter may bring: as the project's newest evaluated run did, else by the newest learning curve."""
    run = Run.objects.filter(snapshot__project=snapshot.project_id, kind=Run.Kind.lora, evaluations__split="test",
                             snapshot__verdict__isnull=False).select_related("snapshot__verdict").first()
    if run is not None:
        prompt = Evaluation.objects.get(run=run.snapshot.verdict.best_prompt_id, split="test", snapshot=run.snapshot_id)
        gain = pair(prompt, run.evaluations.get(split="test")).difference
        return Projection(None, gain, f"if it does as run {run.pk} did on {run.snapshot} ({gain.n:,} rows)")
    if forecast is None:
        return None
    n_train = snapshot.counts["train"]
    _, error, low, high = min(forecast.found["band"], key=lambda point: abs(point[0] - n_train))
    share = Interval(1 - error, 1 - high, 1 - low, forecast.n_dev)
    return Projection(share, None, f"if it learns as the quick model of the label budget does from {n_train:,} rows")


def _labels_needed(forecast: LabelForecast | None, snapshot: Snapshot) -> int | None:
    needed = forecast.found["needed"] if forecast else None
    return max(0, needed - snapshot.counts["train"]) or None if needed else None


def labour_of(snapshot: Snapshot) -> dict[str, Any]:
    """What the labels of a snapshot's train rows have taken: how many, hours and money; None where nothing tells."""
    project, n_train = snapshot.project, int(snapshot.counts["train"])
    price, said = price_of(project), economics_of(project)
    n_labels = round(n_train * price.per_example)
    money = n_labels * said.label_price if said.label_price is not None else price.money(n_train)
    return {"labels": n_labels, "hours": price.hours(n_train), "money": money}


@dataclass(frozen=True)
class WorthLine:
    """One figure with what 5 to 95 % of the futures hold."""

    name: str
    figure: str
    span: str


def worth_lines(weighing: Weighing | None) -> list[WorthLine]:
    """What a weighing says in figures, for a table; [] where nothing can be told."""
    worth = weighing.found["worth"] if weighing else None
    if not worth or weighing is None:
        return []
    currency = weighing.economics.currency if weighing.economics else ""

    def line(name: str, told: Mapping[str, float | None] | None, words: Callable[[float], str]) -> list[WorthLine]:
        if told is None:
            return []
        ends = {end: "never" if told[end] is None else words(told[end]) for end in told}  # type: ignore[arg-type]
        return [WorthLine(name, ends["estimate"], f"{ends['low']} to {ends['high']}")]

    return [*line("Value over all months", worth["value"], lambda money: money_words(money, currency)),
            WorthLine("It pays", f"in {chance_words(worth['p_positive'])} of what may come", ""),
            *line("Break-even, requests a month", worth["break_even"], lambda n: f"{max(0, n):,.0f}"),
            *line("Return of the first year", worth["roi"], lambda share: f"{share:,.1f} ×"),
            *line("Earned back after", worth["payback_months"], lambda months: f"{max(0, months):,.1f} months"),
            *([WorthLine("Return above 0", f"in {chance_words(worth['p_roi'])} of what may come", "")]
              if worth["p_roi"] is not None else [])]
