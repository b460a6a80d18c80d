"""A project's webhooks: made, changed, tried, paused and removed by its admins."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from projects.errors import UserError
from projects.events import EVENTS, TEST
from projects.models import Project, Webhook, WebhookDelivery
from projects.outbound import check_url
from projects.services.auditing import audit
from projects.services.notices import notify
from projects.services.sealing import encrypt
from projects.services.sending import send
from projects.signing import new_secret

MAX_WEBHOOKS = 10
ROTATION = timedelta(days=1)  # for so long the old secret signs, too


@transaction.atomic
def create_webhook(project: Project, *, url: str, events: Sequence[str], by: User) -> tuple[Webhook, str]:
    """Make a webhook and return it with its secret, which is shown only now.

    Raises UserError for an address that nothing would be sent to, without an event, or if there are 10 already.
    """
    Project.objects.select_for_update().get(pk=project.pk)
    if Webhook.objects.filter(project=project, removed_at=None).count() >= MAX_WEBHOOKS:
        raise UserError(f"A project has at most {MAX_WEBHOOKS} webhooks. Remove one first.")
    secret = new_secret()
    webhook = Webhook.objects.create(project=project, url=_checked(url), events=_chosen(events),
                                     secret_encrypted=encrypt(secret), created_by=by)
    audit(project, by, "create_webhook", {"webhook": webhook.pk, "url": webhook.url, "events": webhook.events})
    return webhook, secret


@transaction.atomic
def edit_webhook(webhook: Webhook, *, url: str, events: Sequence[str], by: User) -> Webhook:
    """Change where a webhook sends, or what. Raises UserError as `create_webhook` does, or if it was removed."""
    changes = {"url": _checked(url), "events": _chosen(events)}
    _change(webhook, **changes)
    audit(webhook.project, by, "edit_webhook", {"webhook": webhook.pk, **changes})
    return webhook


@transaction.atomic
def rotate_secret(webhook: Webhook, *, by: User) -> str:
    """Give a webhook a new secret, which is shown only now; for a day the old one signs beside it.

    Raises UserError if an earlier exchange is still under way.
    """
    now = timezone.now()
    if webhook.old_secret_until and webhook.old_secret_until > now:
        raise UserError(f"The secret before this one signs until {timezone.localtime(webhook.old_secret_until):%H:%M}. "
                        "Make another one after that.")
    secret = new_secret()
    changed = Webhook.objects.filter(pk=webhook.pk, removed_at=None, secret_encrypted=webhook.secret_encrypted).update(
        secret_encrypted=encrypt(secret), old_secret_encrypted=webhook.secret_encrypted,
        old_secret_until=now + ROTATION)
    if changed != 1:  # of two clicks one wins
        raise UserError("Somebody has just changed this webhook. Reload the page.")
    audit(webhook.project, by, "rotate_webhook_secret", {"webhook": webhook.pk})
    webhook.refresh_from_db()
    return secret


@transaction.atomic
def set_webhook_state(webhook: Webhook, state: str, *, by: User) -> Webhook:
    """Pause a webhook, let it go on, or remove it for good. What waits while it is paused is sent when it goes on.

    Raises UserError if the state is none of paused, sending and removed, or it was removed already.
    """
    now = timezone.now()
    changes: dict[str, dict[str, Any]] = {
        "paused": {"paused_at": now, "paused_because": f"{by} paused it."},
        "sending": {"paused_at": None, "paused_because": "", "n_failures": 0, "failing_since": None},
        "removed": {"removed_at": now},
    }
    if state not in changes:
        raise UserError(f"A webhook is {', '.join(changes)}; got “{state}”.")
    _change(webhook, **changes[state])
    if state == "sending":  # what failed before it was paused has a whole day again
        waiting = WebhookDelivery.objects.filter(webhook=webhook, state=WebhookDelivery.State.waiting)
        waiting.update(next_at=now, n_tries=0)
    audit(webhook.project, by, "set_webhook_state", {"webhook": webhook.pk, "state": state})
    return webhook


def try_webhook(webhook: Webhook, *, by: User) -> WebhookDelivery:
    """Send a notice that says only that somebody tries this webhook, now, and return how that went.

    It is tried once, also while the webhook is paused. Raises UserError if it was removed.
    """
    if webhook.removed_at:
        raise UserError("This webhook was removed. Make another one.")
    with transaction.atomic():
        notice = notify(webhook.project, TEST, title=f"{by} tries this webhook", by=by, data={"webhook": webhook.pk},
                        link=reverse("projects:webhook", args=[webhook.pk]))
        assert notice is not None, "it has no key under which it could have been told before"
        delivery = WebhookDelivery.objects.create(webhook=webhook, notice=notice)
    send([delivery])
    delivery.refresh_from_db()
    return delivery


def send_again(webhook: Webhook, delivery_id: int, *, by: User) -> WebhookDelivery:
    """Send a notice once more that was delivered or given up, under the same id: a receiver that has it can tell.

    Raises UserError if it waits to be sent anyway, or is none of this webhook's.
    """
    ended = WebhookDelivery.objects.filter(pk=delivery_id, webhook=webhook).exclude(state=WebhookDelivery.State.waiting)
    if ended.update(state=WebhookDelivery.State.waiting, next_at=timezone.now(), n_tries=0) != 1:
        raise UserError("This delivery waits to be sent already. Reload the page.")
    audit(webhook.project, by, "send_webhook_again", {"webhook": webhook.pk, "delivery": delivery_id})
    return WebhookDelivery.objects.get(pk=delivery_id)


def _change(webhook: Webhook, **changes: Any) -> None:
    if Webhook.objects.filter(pk=webhook.pk, removed_at=None).update(**changes) != 1:
        raise UserError("This webhook was removed. Make another one.")
    webhook.refresh_from_db()


def _checked(url: str) -> str:
    url = url.strip()
    if len(url) > 500:
        raise UserError(f"An address has at most 500 characters; this one has {len(url)}.")
    try:
        check_url(url, settings.GOLDPAN_ALLOWED_ORIGINS)
    except ValueError as error:
        raise UserError(f"Nothing can be sent there: {error}. Give an address like https://hooks.example.org/goldpan, "
                        "or ask whoever runs Goldpan to allow its origin by GOLDPAN_ALLOWED_ORIGINS.") from None
    return url


def _chosen(events: Sequence[str]) -> list[str]:
    if unknown := sorted(set(events) - set(EVENTS)):
        raise UserError(f"“{unknown[0]}” is nothing that happens here. There are: {', '.join(EVENTS)}.")
    if not events:
        raise UserError("Choose at least one event that it should get.")
    return [event for event in EVENTS if event in events]
