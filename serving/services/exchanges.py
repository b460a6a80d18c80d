"""What is kept of requests: a row for each behind its answer, counts by day, and for a while the words of a sample."""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import close_old_connections, connection, transaction
from django.db.models import F
from django.utils import timezone

from labeling.models import Example
from labeling.texts import content_sha256
from serving.log_writer import LogWriter
from serving.masking import mask, mask_all
from serving.models import Deployment, Exchange, ExchangeContent, Feedback, ServingRules, TrafficDay
from serving.services.deployments import forget_examples
from training.services.economics import economics_of
from training.services.endpoint import token_cost

KEPT_DAYS = 400  # of a request's row without words: a year and some
PURGED_AT_ONCE = 1000


@dataclass(frozen=True)
class Words:
    """A request's words as they came, and how they are kept."""

    text: str
    data: Mapping[str, Any]
    group: str
    answer: dict[str, Any]
    masks: bool
    retention_days: int


@dataclass(frozen=True)
class Entry:
    """A request that ended. outcome: a counter's name in TrafficDay. exchange: None for one that was refused."""

    project: int
    outcome: str
    at: datetime
    exchange: Exchange | None = None
    n_together: int = 1
    backend: str = ""
    words: Words | None = None


def is_in_sample(rules: ServingRules) -> bool:
    return random.random() < rules.sample_share  # a sample, no secret


def write_entries(entries: Sequence[Entry], lost: Counter[Hashable]) -> None:
    """Store rows, words and counts together. lost: project → how many entries were lost before."""
    if not connection.in_atomic_block:  # the writer's thread has a connection of its own, which may have gone stale
        close_old_connections()
    prices = _Prices()
    days: defaultdict[tuple[int, date], Counter[str]] = defaultdict(Counter)
    rows, contents = [], []
    for entry in entries:
        count = days[entry.project, entry.at.astimezone(UTC).date()]
        count[entry.outcome] += 1
        if entry.exchange is None:
            continue
        exchange = entry.exchange
        exchange.cost = prices.cost_of(entry)
        count.update({"prompt_tokens": exchange.prompt_tokens or 0, "answer_tokens": exchange.answer_tokens or 0,
                      "cost": exchange.cost or 0, "n_uncosted": int(exchange.is_answered and exchange.cost is None)})
        rows.append(exchange)
        if entry.words is not None:
            contents.append(_content(exchange, entry.words))
    today = timezone.now().astimezone(UTC).date()
    for project, n in lost.items():
        days[int(str(project)), today]["n_lost"] += n
    with transaction.atomic():
        Exchange.objects.bulk_create(rows)
        ExchangeContent.objects.bulk_create(contents)
        for (project_id, day), count in sorted(days.items()):
            TrafficDay.objects.get_or_create(project_id=project_id, day=day)
            TrafficDay.objects.filter(project_id=project_id, day=day).update(
                **{name: F(name) + n for name, n in count.items() if n})


LOG: LogWriter[Entry] = LogWriter(write_entries, group_of=lambda entry: entry.project)


class _Prices:
    """What answers cost, project by project: an endpoint's by tokens, this machine's by the time in the model."""

    def __init__(self) -> None:
        self._machines: dict[int, Any] = {}

    def cost_of(self, entry: Entry) -> float | None:
        exchange = entry.exchange
        assert exchange is not None
        if entry.backend == Deployment.Backend.endpoint:
            return token_cost(exchange.prompt_tokens or 0, exchange.answer_tokens or 0)
        if entry.project not in self._machines:
            self._machines[entry.project] = economics_of(exchange.project).machine
        machine = self._machines[entry.project]
        return machine.of_seconds(exchange.model_seconds / entry.n_together) if machine else None


def _content(exchange: Exchange, words: Words) -> ExchangeContent:
    kept: dict[str, Any] = {"text": words.text, "data": dict(words.data), "answer": words.answer}
    if words.masks:
        kept = {"text": mask(words.text), "data": mask_all(kept["data"]), "answer": {
            **words.answer, "text": mask(words.answer["text"]), "value": mask_all(words.answer["value"])}}
    return ExchangeContent(
        exchange=exchange, project_id=exchange.project_id, group=words.group, **kept, is_masked=words.masks,
        content_sha256=content_sha256(words.text),
        delete_on=(exchange.at + timedelta(days=words.retention_days)).astimezone(UTC).date())


def purge(*, now: datetime | None = None) -> int:
    """Delete the words whose retention has ended, and rows that are older than KEPT_DAYS; return how many words.

    Called by the tick; a round deletes so many, so that nobody waits for it.
    """
    now = now or timezone.now()
    due = ExchangeContent.objects.filter(delete_on__lte=now.astimezone(UTC).date())
    n = _delete_some(due)
    _delete_some(Exchange.objects.filter(at__lt=now - timedelta(days=KEPT_DAYS)))
    return n


def _delete_some(rows: Any) -> int:
    pks = list(rows.order_by("pk").values_list("pk", flat=True)[:PURGED_AT_ONCE])
    if pks:
        rows.model.objects.filter(pk__in=pks).delete()
    return len(pks)


def shorten_retention(rules: ServingRules) -> int:
    """Bring the day of deletion of what is kept already forward to what the rules say now; return of how many."""
    n = 0
    contents = ExchangeContent.objects.filter(project=rules.project)
    for day, in contents.values_list("exchange__at__date").distinct():
        until = day + timedelta(days=rules.retention_days)
        n += contents.filter(exchange__at__date=day, delete_on__gt=until).update(delete_on=until)
    return n


def erase_exchanges(examples: Sequence[Example]) -> dict[str, int]:
    """Delete the words of exchanges about these examples of one project, and blank what corrections of them say.

    What prompts may show of the project is forgotten, too, and read anew from its snapshots.

    An erasure calls it in its transaction, see GOLDPAN_ON_ERASE. Returns n_exchanges, of how many words were deleted.
    """
    from curation.services.erasing import BLANK

    project = examples[0].project
    ids = [example.pk for example in examples]
    said = Feedback.objects.filter(taken__example__in=ids)
    contents = ExchangeContent.objects.filter(project=project)
    found: set[int] = set(contents.filter(
        content_sha256__in={content_sha256(example.text) for example in examples}).values_list("pk", flat=True))
    found |= set(contents.filter(exchange__name__in=list(said.values_list("exchange_name", flat=True))).values_list(
        "pk", flat=True))
    ExchangeContent.objects.filter(pk__in=found).delete()
    forget_examples(project)
    said.exclude(comment="").update(comment="")
    if project.task_type in BLANK:
        said.filter(correction__isnull=False).update(correction=BLANK[project.task_type])
    return {"n_exchanges": len(found)}


def kept_since(days: int, *, today: date | None = None) -> date:
    """The first of the last so many days, today among them."""
    return (today or timezone.now().astimezone(UTC).date()) - timedelta(days=days - 1)


def traffic_of(rows: Iterable[TrafficDay]) -> Counter[str]:
    """Sums of the counts over days."""
    total: Counter[str] = Counter()
    for row in rows:
        for name in ("n_answered", "n_failed", "n_refused", "n_lost", "prompt_tokens", "answer_tokens", "cost",
                     "n_uncosted"):
            total[name] += getattr(row, name)
    return total
