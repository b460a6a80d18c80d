"""What comes back about answers: thumbs, corrections, outcomes, and that a person had to take over.

It is in the database before anybody is told so.

A correction becomes an example's answer as soon as the exchange's words are stored, mostly in the same transaction;
`poll` takes those whose words came later.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling.reading import Bad
from labeling.reading.labels import Labels
from labeling.services.corrections import take_correction
from labeling.task_types.free_text import check_storable
from projects.errors import UserError
from projects.models import ApiKey, Project
from projects.services import audit
from serving.exchange_id import read_id
from serving.models import Deployment, ExchangeContent, ExposedFeedback, Exposure, Feedback, TakenCorrection
from stats.intervals import Interval, bootstrap_interval, wilson

MAX_COMMENT_CHARS = 2_000
MAX_KEY_CHARS = 100
WAITS = timedelta(hours=1)  # for the words of an exchange; later none will come
TAKEN_AT_ONCE = 200
NEWEST = 5_000  # feedback that figures rest on, at most


class NoSuchExchange(UserError):
    """The id is none of this project's exchanges."""


class AlreadySaid(UserError):
    """The same idempotency key came with something else before."""


@dataclass(frozen=True)
class Taken:
    """feedback: as stored. is_new: False for a repeat. correction: what became of it: "", "answer", "held out",
    "waits" for the exchange's words, or "not kept" if there are none.
    """

    feedback: Feedback
    is_new: bool
    correction: str = ""


def give_feedback(key: ApiKey, *, exchange: str, thumb: str = "", correction: Any = None, outcome: float | None = None,
                  is_escalated: bool = False, comment: str = "", idempotency_key: str | None = None) -> Taken:
    """Store what somebody says about an exchange of the key's project; the same idempotency key again adds nothing.

    correction: the right answer, as the type of task has it. outcome: a finite number of the caller's. is_escalated:
    a person had to take over.
    Raises NoSuchExchange, AlreadySaid, or UserError if it says nothing or a correction is no valid answer.
    """
    named = _named(key.project, exchange)
    content = _content_of(key.project, exchange)
    correction = _checked(key.project, thumb, correction, outcome, is_escalated, comment, idempotency_key, content)
    said = {"exchange": exchange, "thumb": thumb, "correction": correction, "outcome": outcome, "comment": comment,
            **({"escalated": True} if is_escalated else {})}  # said of old, it has to hash as it did then
    sha256 = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    try:
        with transaction.atomic():
            if idempotency_key and (known := _known(key.project, idempotency_key)):
                return _repeated(known, sha256)
            feedback = Feedback.objects.create(
                project=key.project, exchange_name=exchange, deployment=named.deployment, api_key=key,
                idempotency_key=idempotency_key or None, content_sha256=sha256, thumb=thumb, correction=correction,
                outcome=outcome, is_escalated=is_escalated, comment=comment, answered_at=named.at)
            if named.exposure is not None:
                ExposedFeedback.objects.create(feedback=feedback, exposure=named.exposure)
            if correction is not None and content is not None:
                _take(feedback, content)
    except IntegrityError:  # two at once with the same key: the other one was faster
        if known := _known(key.project, idempotency_key or ""):
            return _repeated(known, sha256)
        raise
    return Taken(feedback, True, became_of(feedback))


def became_of(feedback: Feedback) -> str:
    """What a correction became, in a word or two."""
    if feedback.correction is None:
        return ""
    taken = TakenCorrection.objects.filter(feedback=feedback).first()
    if taken is not None:
        return "answer" if taken.annotation_id else "held out"
    return "waits" if feedback.created_at > timezone.now() - WAITS else "not kept"


def poll() -> int:
    """Called by the tick: take corrections whose exchange's words have come meanwhile; return how many."""
    waiting = Feedback.objects.filter(correction__isnull=False, taken=None, created_at__gt=timezone.now() - WAITS)
    n = 0
    for feedback in waiting.select_related("project", "api_key__created_by").order_by("pk")[:TAKEN_AT_ONCE]:
        content = _content_of(feedback.project, feedback.exchange_name)
        if content is None:
            continue
        with transaction.atomic():
            n += _take(feedback, content)
    return n


def _take(feedback: Feedback, content: ExchangeContent) -> bool:
    """Make a correction an example's answer, in the caller's transaction; False if it is no answer to that text."""
    project, key = feedback.project, feedback.api_key
    try:
        value = Labels(project.task_type, project.schema).check(feedback.correction, content.text)
    except Bad:  # spans that could not be held against the text before
        return False
    example, annotation = take_correction(
        project, text=content.text, data=content.data, group=content.group, value=value,
        annotator=f"feedback by {key.name}", at=feedback.created_at)
    TakenCorrection.objects.create(feedback=feedback, example=example, annotation=annotation)
    audit(project, key.created_by, "take_correction", {
        "feedback": feedback.pk, "example": example.pk, "annotation": annotation.pk if annotation else None})
    return True


@dataclass(frozen=True)
class _Named:
    """exposure: the arm of an A/B test that answered."""

    deployment: Deployment
    at: datetime
    exposure: Exposure | None


def _named(project: Project, exchange: str) -> _Named:
    words = f"“{exchange:.80}” is no exchange of “{project}”. Send the id that came with the answer."
    try:
        named = read_id(exchange, secret=settings.SECRET_KEY)
    except ValueError:
        raise NoSuchExchange(words) from None
    deployment = Deployment.objects.filter(project=project, pk=named.deployment).first()
    if named.project != project.pk or deployment is None:
        raise NoSuchExchange(words)
    exposure = Exposure.objects.filter(
        pk=named.exposure, experiment__project=project).first() if named.exposure else None
    return _Named(deployment, datetime.fromtimestamp(named.milliseconds / 1000, UTC), exposure)


def _content_of(project: Project, exchange: str) -> ExchangeContent | None:
    return ExchangeContent.objects.filter(project=project, exchange__name=exchange).first()


def _checked(project: Project, thumb: str, correction: Any, outcome: float | None, is_escalated: bool, comment: str,
             idempotency_key: str | None, content: ExchangeContent | None) -> Any:
    """The correction as it is stored. Raises UserError in words."""
    if thumb not in ("", *Feedback.Thumb.values):
        raise UserError(f"“thumb” has to be up or down, got “{thumb:.40}”.")
    if not thumb and correction is None and outcome is None and not is_escalated:
        raise UserError("Say something: “thumb” (up or down), “correction” (the right answer), “outcome” (a number) or "
                        "“escalated” (true: a person had to take over).")
    if outcome is not None and not math.isfinite(outcome):
        raise UserError("“outcome” has to be a finite number.")
    if len(comment) > MAX_COMMENT_CHARS or len(idempotency_key or "") > MAX_KEY_CHARS:
        raise UserError(f"A comment may have {MAX_COMMENT_CHARS:,} characters, an idempotency key {MAX_KEY_CHARS}.")
    try:
        check_storable(comment + (idempotency_key or ""))
        return None if correction is None else Labels(project.task_type, project.schema).check(
            correction, content.text if content else "")
    except Bad as error:
        raise UserError(f"The correction is no answer that “{project}” can have: {error}") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"The correction cannot be read: {error!s:.200}") from None


def _known(project: Project, idempotency_key: str) -> Feedback | None:
    return Feedback.objects.filter(project=project, idempotency_key=idempotency_key).first()


def _repeated(known: Feedback, sha256: str) -> Taken:
    if known.content_sha256 != sha256:
        raise AlreadySaid(f"The idempotency key “{known.idempotency_key}” came with other feedback before. Give new "
                          "feedback a key of its own.")
    return Taken(known, False, became_of(known))


@dataclass(frozen=True)
class FeedbackFacts:
    """What came back about a project's newest answers. thumbs: the share that is up, the last word on an exchange
    counts; outcome: the mean of outcomes. None where nobody said any.
    """

    n: int
    n_up: int
    n_down: int
    n_corrections: int
    n_taken: int
    n_outcomes: int
    n_escalated: int
    thumbs: Interval | None
    outcome: Interval | None


def facts_of(project: Project, *, since: datetime) -> FeedbackFacts:
    rows = list(Feedback.objects.filter(project=project, created_at__gte=since).values_list(
        "exchange_name", "thumb", "correction", "outcome", "taken__annotation", "is_escalated")[:NEWEST])
    last = _last({name: thumb for name, thumb, *_ in reversed(rows) if thumb})
    outcomes = list({name: outcome for name, _, _, outcome, *_ in reversed(rows) if outcome is not None}.values())
    return FeedbackFacts(
        n=len(rows), n_up=last["up"], n_down=last["down"], n_outcomes=len(outcomes),
        n_corrections=sum(correction is not None for _, _, correction, *_ in rows),
        n_taken=sum(annotation is not None for *_, annotation, _ in rows),
        n_escalated=len({name for name, *_, is_escalated in rows if is_escalated}),
        thumbs=wilson(last["up"], last.total()) if last else None, outcome=_mean(outcomes))


def _last(thumbs: dict[str, str]) -> Counter[str]:
    return Counter(thumbs.values())


def _mean(values: Sequence[float]) -> Interval | None:
    if not values:
        return None
    numbers = np.array(values)
    return bootstrap_interval(lambda rows: float(numbers[rows].mean()), np.arange(len(numbers)))
