"""Bringing notices to webhooks and mailboxes, at least once each, whatever dies in between.

1. What is due is claimed by moving its next try ahead, compare and set: of two ticks one gets it.
2. It is sent without a transaction.
3. What came back is written down. A process that dies before that leaves a row whose next try comes: then it is sent
   again, under the same id, by which the receiver can tell.
"""

import json
import logging
import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import connection, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from projects.backoff import LONGEST_SECONDS, wait_seconds
from projects.errors import UserError
from projects.events import TEST
from projects.models import InboxItem, Notice, Webhook, WebhookDelivery
from projects.outbound import MAX_STRAGGLERS, Answer, Post, n_stragglers, post_all
from projects.services.notices import notify
from projects.services.sealing import decrypt
from projects.signing import signed_headers
from projects.wording import counted, shortened

log = logging.getLogger(__name__)

SECONDS = 10.0  # that a receiver has
LEASE = timedelta(seconds=60)  # after which a sender that has said nothing is taken for dead
WEBHOOKS_AT_ONCE = 4
EACH_AT_ONCE = 4  # deliveries of one webhook
PAUSE_AFTER = timedelta(hours=18)  # of failures only: less than all tries take, so what waits is kept, not given up
MIN_FAILURES = 10
MAX_MAILS = 50  # in one round
LINES = 100  # of a digest
GONE = 410  # HTTP's word for: never again

_round = threading.Lock()


def send_due() -> None:
    """Called by the tick: send what is due, in a thread, as a slow receiver must not keep it from dead workers."""
    if (_due_deliveries().exists() or _due_mail().exists()) and _round.acquire(blocking=False):
        threading.Thread(target=_send_and_release, name="goldpan-sending").start()


def _send_and_release() -> None:
    try:
        send_round()
    except Exception:  # the next tick tries again; what was claimed comes back by itself
        log.exception("notices could not be sent")
    finally:
        connection.close()
        _round.release()


def send_round() -> int:
    """Send everything that is due now; return how many deliveries and mails were tried."""
    n = 0
    while n_stragglers() < MAX_STRAGGLERS and (some := _next_deliveries()):
        n += send(some)
    return n + send_mail()


def _due_deliveries() -> Any:
    return WebhookDelivery.objects.filter(state=WebhookDelivery.State.waiting, next_at__lte=timezone.now(),
                                          webhook__paused_at=None, webhook__removed_at=None)


def _next_deliveries() -> list[WebhookDelivery]:
    """The longest due ones of some webhooks: which ones is drawn, so that nobody waits behind a slow one's heap."""
    webhooks = list(_due_deliveries().order_by().values_list("webhook", flat=True).distinct())
    drawn = random.sample(webhooks, min(len(webhooks), WEBHOOKS_AT_ONCE))
    waiting = _due_deliveries().select_related("webhook", "notice__project").order_by("next_at", "pk")
    return [delivery for pk in drawn for delivery in waiting.filter(webhook=pk)[:EACH_AT_ONCE]]


def send(deliveries: Sequence[WebhookDelivery]) -> int:
    """Claim these deliveries, send what is claimed side by side, write down what came back; return how many."""
    mine = [delivery for delivery in deliveries if _claim(delivery)]
    ready: list[tuple[WebhookDelivery, Post]] = []
    for delivery in mine:
        try:
            ready.append((delivery, _post_of(delivery)))
        except UserError as error:  # the key to its secret is lost: unsigned it is not sent
            _record(delivery, Answer(None, str(error)))
    answers = post_all([sent for _, sent in ready], seconds=SECONDS, allowed_origins=settings.GOLDPAN_ALLOWED_ORIGINS)
    for (delivery, _), answer in zip(ready, answers, strict=True):
        _record(delivery, answer)
    return len(mine)


def _claim(delivery: WebhookDelivery) -> bool:
    """Whether this process is the one that sends it now."""
    now = timezone.now()
    changed = WebhookDelivery.objects.filter(
        pk=delivery.pk, state=WebhookDelivery.State.waiting, n_tries=delivery.n_tries, next_at=delivery.next_at).update(
        n_tries=F("n_tries") + 1, next_at=now + LEASE, tried_at=now)
    delivery.n_tries += 1
    return changed == 1


def body_of(delivery: WebhookDelivery) -> bytes:
    """What a webhook gets, the same bytes in every try."""
    notice = delivery.notice
    return json.dumps({
        "id": str(delivery.uuid), "type": notice.event, "timestamp": notice.at.astimezone(UTC).isoformat(),
        "project": {"id": notice.project_id, "name": notice.project.name}, "title": notice.title, "text": notice.text,
        "link": settings.GOLDPAN_URL + notice.link, "data": notice.data}, ensure_ascii=False).encode()


def _post_of(delivery: WebhookDelivery) -> Post:
    body = body_of(delivery)
    headers = signed_headers(secrets_of(delivery.webhook), id=str(delivery.uuid),
                             timestamp=int(timezone.now().timestamp()), body=body)
    return Post(delivery.webhook.url, body, {"Content-Type": "application/json", "User-Agent": "Goldpan", **headers})


def secrets_of(webhook: Webhook) -> list[str]:
    """The secrets that sign now, the newest first. Raises UserError if they cannot be read."""
    has_old = webhook.old_secret_until is not None and webhook.old_secret_until > timezone.now()
    return [decrypt(text) for text in (webhook.secret_encrypted, *([webhook.old_secret_encrypted] if has_old else []))]


@transaction.atomic
def _record(delivery: WebhookDelivery, answer: Answer) -> None:
    """Write down what came back, and what follows for the next try and for the webhook."""
    wait = None if answer.is_taken or answer.status == GONE or delivery.notice.event == TEST else wait_seconds(
        delivery.n_tries, random.random())
    state = (WebhookDelivery.State.delivered if answer.is_taken else
             WebhookDelivery.State.given_up if wait is None else WebhookDelivery.State.waiting)
    next_at = None if wait is None else timezone.now() + timedelta(
        seconds=max(wait, min(answer.retry_after, LONGEST_SECONDS)))
    mine = WebhookDelivery.objects.filter(  # a zombie's word does not count: somebody else has sent it since
        pk=delivery.pk, state=WebhookDelivery.State.waiting, n_tries=delivery.n_tries).update(
        state=state, next_at=next_at, status=answer.status, words=answer.words, answer=answer.text)
    if not mine or delivery.notice.event == TEST:
        return
    webhook = Webhook.objects.filter(pk=delivery.webhook_id)
    if answer.is_taken:
        webhook.exclude(n_failures=0).update(n_failures=0, failing_since=None)
        return
    webhook.filter(failing_since=None).update(failing_since=timezone.now())
    webhook.update(n_failures=F("n_failures") + 1)
    if answer.status == GONE:
        _pause(webhook.get(), "Its receiver says that it is gone for good.")
    else:
        found = webhook.filter(n_failures__gte=MIN_FAILURES, failing_since__lt=timezone.now() - PAUSE_AFTER).first()
        if found is not None:
            _pause(found, f"{counted(found.n_failures, 'try', 'tries')} in a row failed, for 18 hours and more.")


def _pause(webhook: Webhook, because: str) -> None:
    """Stop sending, and tell the admins; what is due waits until somebody lets it go on."""
    if Webhook.objects.filter(pk=webhook.pk, paused_at=None, removed_at=None).update(
            paused_at=timezone.now(), paused_because=because):
        notify(webhook.project, "webhook.paused", title=f"{webhook} is paused: its receiver takes nothing",
               text=f"{because} What happens from now on waits until somebody lets it go on.",
               link=reverse("projects:webhook", args=[webhook.pk]), data={"webhook": webhook.pk})


# Mail

def _due_mail() -> Any:
    """Items whose mail is due, of people who still belong to the project."""
    if not settings.GOLDPAN_EMAIL_URL:
        return InboxItem.objects.none()
    return InboxItem.objects.filter(mail_due_at__lte=timezone.now(),
                                    notice__project__memberships__user_id=F("user_id"))


def send_mail() -> int:
    """Send each person one mail with all that is due for them; return how many mails were tried."""
    due = list(_due_mail().select_related("notice__project", "user").order_by("user", "pk")[:1000])
    groups = [list(items) for _, items in groupby(due, key=lambda item: item.user_id)][:MAX_MAILS]
    if not groups:
        return 0
    server = get_connection()
    try:
        server.open()
    except (OSError, SMTPException) as error:
        log.warning("the mail server cannot be reached: %s", error)
        for items in groups:
            _mail_failed([item for item in items if _claim_mail(item)])
        return len(groups)
    try:
        for items in groups:
            if mine := [item for item in items if _claim_mail(item)]:
                _send_one_mail(mine, server)
    finally:
        server.close()
    return len(groups)


def _claim_mail(item: InboxItem) -> bool:
    changed = InboxItem.objects.filter(pk=item.pk, read_at=None, mail_due_at=item.mail_due_at).update(
        mail_due_at=timezone.now() + LEASE, n_mail_tries=F("n_mail_tries") + 1)
    item.n_mail_tries += 1
    return changed == 1


def _send_one_mail(items: list[InboxItem], server: Any) -> None:
    try:
        mail_of(items, server).send()
    except (OSError, SMTPException, ValueError) as error:  # ValueError: an address or subject that no mail can have
        log.warning("a mail could not be sent: %s", type(error).__name__)
        _mail_failed(items)
        return
    InboxItem.objects.filter(pk__in=[item.pk for item in items]).update(mail_due_at=None, mailed_at=timezone.now())


def _mail_failed(items: list[InboxItem]) -> None:
    for item in items:
        wait = wait_seconds(item.n_mail_tries, random.random())
        InboxItem.objects.filter(pk=item.pk).exclude(mail_due_at=None).update(
            mail_due_at=None if wait is None else timezone.now() + timedelta(seconds=wait))


def mail_of(items: Sequence[InboxItem], server: Any = None) -> EmailMessage:
    """One mail about these notices, which are all of one person. A mail that is sent twice has the same Message-ID."""
    first, n = items[0].notice, len(items)
    projects = sorted({item.notice.project.name for item in items})
    subject = first.title if n == 1 else f"{n} notices from {', '.join(projects)}"
    lines = [_in_mail(item.notice) for item in items[:LINES]]
    if n > LINES:
        lines.append(f"And {n - LINES} more: {settings.GOLDPAN_URL}{reverse('projects:inbox')}")
    lines.append(f"-- \nYou have chosen this in Goldpan. Change it: {settings.GOLDPAN_URL}{reverse('projects:mail')}")
    host = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip(" >")
    return EmailMessage(
        subject=shortened(f"[Goldpan] {subject}", 150), body="\n\n".join(lines), to=[items[0].user.email],
        connection=server, headers={"Message-ID": f"<goldpan.{items[0].pk}.{items[-1].pk}.{n}@{host}>",
                                    "Auto-Submitted": "auto-generated"})


def _in_mail(notice: Notice) -> str:
    at: datetime = timezone.localtime(notice.at)
    words = [f"{notice.title}", f"{notice.project}, {at:%d %B %Y, %H:%M %Z}", *([notice.text] if notice.text else []),
             settings.GOLDPAN_URL + notice.link]
    return "\n".join(words)
