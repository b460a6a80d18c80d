"""Looks: a sample of a period's traffic becomes examples that people label without seeing what the model said.

1. The requests that were kept are held against the first ones after promotion, or against the test rows while those
   are too few: signals that need no labels (`stats.shift`).
2. A share of the labels is drawn at random, for the alarm; the rest with chances in proportion to a priority: where the
   model is unsure, users complained, or something is new. An extra look takes the highest priorities instead.
3. What is drawn becomes examples as an import would make them, a batch asks for their labels, and the model's answers
   are kept beside them: they are held against each other in `look_counts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse

from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Batch, Example
from labeling.services.batches import create_batch
from labeling.services.corrections import example_of
from labeling.services.sync import start_sync
from projects.errors import UserError
from projects.models import Project
from projects.services import audit, notify
from projects.wording import counted
from serving.models import Deployment, ExchangeContent, Look, LookRow, SignalReading, WatchPlan
from serving.priority import Priority, priority_of
from serving.services.kept_traffic import (
    Measured,
    Period,
    Reference,
    Request,
    compared_words,
    kept_words,
    measure,
    read_period,
    reference_of,
    seed_of,
)
from serving.services.look_labels import blind_labels
from serving.services.rules import rules_of
from serving.services.watch_plans import Watched, floor_of, responsible, watched_of
from stats.label_sample import LabelSample, draw_label_sample
from stats.shift import N_EXAMPLES, Signal, shift_signals

EXTRA = 2  # times a look's labels are asked for where something has changed
N_UNLABELLED = 2_000  # answers that nobody labels whose confidence is kept


def start_look(watched: Watched, since: date, until: date, *, wake: bool = True) -> Job:
    """Queue the look at a period that has ended; however often this is called, there is one."""
    return enqueue("look", watched.project, title=f"Drawing what people label of {since:%d %b} to {until:%d %b}",
                   requested_by=None, exclusive=f"look:{watched.project.pk}", wake=wake,
                   dedupe_key=look_key(watched.project, until),
                   params={"kind": Look.Kind.regular, "since": str(since), "until": str(until),
                           "deployment": watched.deployment.pk})


def look_key(project: Project, until: date) -> str:
    """Of a period's job: of two ticks at once one queues it."""
    return f"look:{project.pk}:{until}"


def start_extra(project: Project, *, since: date, until: date, by: User | None, because: Look | None = None,
                wake: bool = True) -> Job:
    """Queue an extra look at what looks newest in the requests since a day.

    Raises UserError while nothing is watched.
    """
    watched = watched_of(project)
    if watched is None:
        raise UserError("Nothing serves yet, so there is nothing to look at.")
    if since >= until:
        raise UserError("Since what serves began to serve no day has ended. Ask again tomorrow.")
    return enqueue("look", project, title="Drawing what looks new", requested_by=by, exclusive=f"look:{project.pk}",
                   dedupe_key=f"extra look:{because.pk}" if because else None, wake=wake,
                   params={"kind": Look.Kind.extra, "since": str(since), "until": str(until),
                           "deployment": watched.deployment.pk, "because": because.pk if because else None})


def start_extra_now(project: Project, *, by: User, today: date, wake: bool = True) -> Job:
    """Queue an extra look at the last period and the days since, because somebody asks; one that waits is returned."""
    watched = watched_of(project)
    if watched is None:
        raise UserError("Nothing serves yet, so there is nothing to look at.")
    waiting = Job.objects.active().filter(project=project, kind="look", params__kind=Look.Kind.extra).first()
    period = watched.period(today)
    return waiting or start_extra(project, since=period[0] if period else watched.began_on, until=today, by=by,
                                  wake=wake)


@dataclass(frozen=True)
class Drawn:
    """Which requests a look asks about, by row number. chance: None where they were chosen."""

    rows: np.ndarray
    is_uniform: np.ndarray
    chance: np.ndarray | None


def run_look(job: Job, progress: Progress) -> None:
    project, params = job.project, job.params
    watched = watched_of(project)
    deployment = Deployment.objects.select_related("run__snapshot__project", "project").get(pk=params["deployment"])
    if watched is None or watched.deployment.pk != deployment.pk:
        raise UserError("Something else serves by now, so this look is not taken.")
    since, until = date.fromisoformat(params["since"]), date.fromisoformat(params["until"])
    progress("Reading requests", 0, 1)
    period = read_period(deployment, since, until)
    reference = reference_of(deployment, since, job, progress)
    found = measure(period, deployment, reference, job, progress)
    progress("Looking for what has changed", 0, 1)
    seed = seed_of(project, "look", params["kind"], since, until)
    is_regular = params["kind"] == Look.Kind.regular
    signals = _signals(reference, found, seed, n_rows=N_EXAMPLES if is_regular else EXTRA * watched.plan.labels)
    priority = priority_of(
        [one.probability for one in found.requests], is_readable=[one.label is not None for one in found.requests],
        is_disliked=[one.is_disliked for one in found.requests], is_new=found.is_new.tolist(),
        warned=[row for signal in signals if signal.is_warning for row in signal.rows.tolist()])
    drawn = _drawn(priority, watched.plan, seed) if is_regular else _newest(found, priority, watched.plan, deployment)
    with completing(job) as result:
        look = _write(job, watched, period, found, signals, priority, drawn, reference)
        result |= {"look": look.pk, "number": look.number, "n_rows": len(drawn.rows),
                   "warnings": [signal.name for signal in signals if signal.is_warning]}


def _signals(reference: Reference, found: Measured, seed: int, n_rows: int) -> list[Signal]:
    if not reference.n or not found.requests:
        return []
    return shift_signals(reference.traffic, found.traffic, seed=seed % 2**32, n_rows=n_rows)


def _drawn(priority: Priority, plan: WatchPlan, seed: int) -> Drawn:
    if not len(priority.value):
        return Drawn(np.zeros(0, dtype=int), np.zeros(0, dtype=bool), np.zeros(0))
    sample: LabelSample = draw_label_sample(priority.value, n=plan.labels, seed=seed, uniform_share=plan.uniform_share)
    return Drawn(sample.rows, sample.is_uniform, sample.chance)


def _newest(found: Measured, priority: Priority, plan: WatchPlan, deployment: Deployment) -> Drawn:
    """The highest priorities of what no look has asked about, in an order that says nothing."""
    asked = set(LookRow.objects.filter(look__deployment=deployment).values_list("example__key", flat=True))
    order = [row for row in np.argsort(-priority.value, kind="stable").tolist()
             if found.requests[row].key not in asked and priority.why[row]][:EXTRA * plan.labels]
    rows = np.array(sorted(order, key=lambda row: found.requests[row].name), dtype=int)
    return Drawn(rows, np.zeros(len(rows), dtype=bool), None)


def _write(job: Job, watched: Watched, period: Period, found: Measured, signals: Sequence[Signal], priority: Priority,
           drawn: Drawn, reference: Reference) -> Look:
    """Store the look with its rows and signals, and ask people, in the caller's transaction."""
    project, params, plan = watched.project, job.params, watched.plan
    since, until = date.fromisoformat(params["since"]), date.fromisoformat(params["until"])
    Project.objects.select_for_update().get(pk=project.pk)
    last = Look.objects.filter(project=project).first()
    number = last.number + 1 if last else 1
    examples = [_example(project, found.requests[row]) for row in drawn.rows.tolist()]
    batch = _batch(watched, examples, number, since, until, is_regular=params["kind"] == Look.Kind.regular,
                   by=job.requested_by)
    floor = floor_of(watched)
    words = kept_words(rules_of(project), period, since=since, until=until, deployment=watched.deployment)
    if found.n_repeats:
        words.append(f"{counted(found.n_repeats, 'request')} that repeat a test row are left out: whoever labels them "
                     "would label what the model was judged on.")
    words.append(reference.words)
    if reference.n and not signals:
        words.append("There are too few rows for signals: each side needs 30.")
    look = Look.objects.create(
        project=project, number=number, kind=params["kind"], deployment=watched.deployment, plan=plan,
        because_id=params.get("because"), since=since, until=until, floor=floor.value, floor_words=floor.words,
        n_answered=period.n_answered, n_kept=period.n_kept, n_eligible=period.n_eligible, n_repeats=found.n_repeats,
        n_reference=reference.n, unlabelled=_unlabelled(found.requests, drawn), words=words, batch=batch, job=job)
    LookRow.objects.bulk_create(
        LookRow(look=look, example=example, exchange_name=found.requests[row].name, position=position,
                is_uniform=bool(drawn.is_uniform[position]), why=priority.why[row],
                chance=None if drawn.chance is None else float(drawn.chance[position]) * period.share_read,
                answer={"label": found.requests[row].label, "probability": found.requests[row].probability})
        for position, (row, example) in enumerate(zip(drawn.rows.tolist(), examples, strict=True)))
    SignalReading.objects.bulk_create(
        SignalReading(look=look, name=signal.name, effect=signal.effect, p_value=signal.p_value,
                      p_adjusted=signal.p_adjusted, is_warning=signal.is_warning, words=signal.words,
                      exchange_names=[found.requests[row].name for row in signal.rows[:N_EXAMPLES].tolist()])
        for signal in signals)
    audit(project, job.requested_by, "look", {"look": look.number, "kind": look.kind, "until": str(until),
                                              "n_rows": len(examples), "batch": batch.number if batch else None})
    _tell(look, signals, n_rows=len(examples))
    return look


def _example(project: Project, request: Request) -> Example:
    return example_of(project, text=request.text, data=request.data, group=request.group, at=request.at)


def _batch(watched: Watched, examples: Sequence[Example], number: int, since: date, until: date, *, is_regular: bool,
           by: User | None) -> Batch | None:
    """Ask people about those that nobody has labelled blind and no open batch asks about; None if there are none."""
    labels = blind_labels(watched.project, examples)
    waiting = [example.pk for example in examples if not labels[example.pk].is_settled]
    title = f"Look {number}: {since:%d %b} to {until:%d %b}" if is_regular else f"Look {number}: what looks new"
    try:
        batch = create_batch(watched.project, waiting, title=title, by=by or responsible(watched))
    except UserError:  # all of them are settled, or on people's desks already
        return None
    start_sync(watched.project, by=by)
    return batch


def _unlabelled(requests: Sequence[Request], drawn: Drawn) -> list[float]:
    taken = set(drawn.rows.tolist())
    left = [one.probability for row, one in enumerate(requests) if row not in taken]
    return [round(one, 4) for one in left if one is not None][:N_UNLABELLED]


def _tell(look: Look, signals: Sequence[Signal], *, n_rows: int) -> None:
    project, link = look.project, reverse("serving:look", args=[look.pk])
    if look.batch is not None:
        notify(project, "look.drawn", title=f"{look} waits for labels", link=link, key=f"look.drawn:{look.pk}",
               text=f"{counted(n_rows, 'example')} of the last requests, to be labelled by {look.due_on:%d %B}.",
               data={"look": look.pk, "n_rows": n_rows, "due_on": str(look.due_on)})
    warned = [signal.name for signal in signals if signal.is_warning]
    before = Look.objects.filter(deployment=look.deployment, kind=Look.Kind.regular, number__lt=look.number).first()
    known = set(before.signals.filter(is_warning=True).values_list("name", flat=True)) if before else set()
    if look.is_regular and set(warned) - known:  # what warned a week ago is no news
        notify(project, "drift.signal", title=f"Requests have changed: {', '.join(warned)}", link=link,
               key=f"drift.signal:{look.pk}", text="Whether accuracy has fallen only labels can say; more of what is "
               f"new is labelled with this look. {compared_words(look)}", data={"look": look.pk, "signals": warned})


def blind_among(example_ids: Sequence[int]) -> set[int]:
    """Of these examples those that a look asks about which is not counted yet: no suggestion is shown with them.

    See GOLDPAN_BLIND.
    """
    return set(LookRow.objects.filter(example__in=list(example_ids), look__count=None).values_list(
        "example_id", flat=True))


def erase_looks(examples: Sequence[Example]) -> dict[str, int]:
    """Blank the model's answers to these examples in looks, and delete the words of the requests that they were.

    Their text may be covered where the request's own was not, so that no hash leads from one to the other.
    An erasure calls it, see GOLDPAN_ON_ERASE. Returns n_look_answers, of how many rows.
    """
    rows = LookRow.objects.filter(example__in=examples)
    ExchangeContent.objects.filter(exchange__name__in=list(rows.values_list("exchange_name", flat=True))).delete()
    return {"n_look_answers": rows.exclude(answer={}).update(answer={})}


@transaction.atomic
def tell_of_late(look: Look) -> None:
    """Once: the labels of a look are late."""
    notify(look.project, "look.late", title=f"The labels of {look} are late", key=f"look.late:{look.pk}",
           link=reverse("serving:look", args=[look.pk]), data={"look": look.pk, "waits_until": str(look.waits_until)},
           text=f"They were due on {look.due_on:%d %B}. On {look.waits_until:%d %B} the look counts with what is "
                "there.")


