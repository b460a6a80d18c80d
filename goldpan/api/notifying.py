"""Webhooks: where a project's notices are sent to programs, and the log of what was."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Query, Router, Schema, Status
from pydantic import Field

from goldpan.api.paging import Page, Paging, page_of
from goldpan.api.policy import MAX_ID, Request, on
from projects.events import EVENTS
from projects.models import Project, Webhook, WebhookDelivery
from projects.services.webhooks import (
    create_webhook,
    edit_webhook,
    rotate_secret,
    send_again,
    set_webhook_state,
    try_webhook,
)

router = Router(tags=["Webhooks"])
TOLD_ONCE = "By which the receiver knows that it was Goldpan. Told this once: null in an answer that is repeated."


class WebhookShape(Schema):
    id: int
    project_id: int
    url: str
    events: list[str]
    state: Literal["sending", "paused", "removed"]
    paused_at: datetime | None
    paused_because: str
    n_failures: int = Field(description="Tries in a row that failed.")
    failing_since: datetime | None
    old_secret_until: datetime | None = Field(description="Until then the secret before this one signs, too.")
    created_by: str
    created_at: datetime

    @staticmethod
    def resolve_state(webhook: Any) -> str:
        return "removed" if webhook.removed_at else "paused" if webhook.paused_at else "sending"

    @staticmethod
    def resolve_created_by(webhook: Any) -> str:
        return str(webhook.created_by)


class DeliveryShape(Schema):
    """A notice on its way to a webhook. state: waiting, delivered or given_up."""

    id: int
    uuid: UUID = Field(description="The webhook-id that the receiver sees, the same in every try.")
    event: str
    title: str
    at: datetime = Field(description="When it happened.")
    state: str
    n_tries: int
    next_at: datetime | None
    tried_at: datetime | None
    status: int | None = Field(description="What the receiver answered last.")
    words: str = Field(description="Why there was no answer.")
    answer: str = Field(description="How the receiver's answer begins.")

    @staticmethod
    def resolve_event(delivery: Any) -> str:
        return str(delivery.notice.event)

    @staticmethod
    def resolve_title(delivery: Any) -> str:
        return str(delivery.notice.title)

    @staticmethod
    def resolve_at(delivery: Any) -> Any:
        return delivery.notice.at


class WebhookAsked(Schema):
    url: str = Field(min_length=1, max_length=500, description="It begins with https:// and is reachable from the "
                     "internet.")
    events: list[str] = Field(max_length=100, description=f"What it gets, of {', '.join(EVENTS)}.")


class NewWebhookShape(Schema):
    webhook: WebhookShape
    secret: str | None = Field(description=TOLD_ONCE)


@router.get("/projects/{id}/webhooks", response=Page[WebhookShape])
@on(Project, "manage_webhooks")
def webhook_list(request: Request, project: Project, paging: Query[Paging]) -> dict[str, Any]:
    """The project's webhooks without those that were removed, in the order in which they were made."""
    rows = Webhook.objects.filter(project=project, removed_at=None).select_related("created_by")
    return page_of(rows, paging, by="pk")


@router.post("/projects/{id}/webhooks", response={201: NewWebhookShape})
@on(Project, "manage_webhooks", shown_once="secret")
def webhook_create(request: Request, project: Project, asked: WebhookAsked) -> Status:
    """Add a webhook, and get the secret that signs what is sent to it: it is told now and never again."""
    webhook, secret = create_webhook(project, url=asked.url, events=asked.events, by=request.auth.user)
    return Status(201, {"webhook": webhook, "secret": secret})


@router.get("/webhooks/{id}", response=WebhookShape)
@on(Webhook, "manage_webhooks")
def webhook(request: Request, webhook: Webhook) -> Webhook:
    """One webhook, also one that was removed; never its secret."""
    return webhook


@router.put("/webhooks/{id}", response=WebhookShape)
@on(Webhook, "manage_webhooks")
def webhook_change(request: Request, webhook: Webhook, asked: WebhookAsked) -> Webhook:
    """Change where a webhook sends, and what."""
    return edit_webhook(webhook, url=asked.url, events=asked.events, by=request.auth.user)


class WebhookStateAsked(Schema):
    state: Literal["sending", "paused", "removed"]


@router.put("/webhooks/{id}/state", response=WebhookShape)
@on(Webhook, "manage_webhooks")
def webhook_state(request: Request, webhook: Webhook, asked: WebhookStateAsked) -> Webhook:
    """Pause a webhook, let it go on, or remove it for good.

    What waits while it is paused is sent when it goes on.
    """
    return set_webhook_state(webhook, asked.state, by=request.auth.user)


class NewSecretShape(Schema):
    secret: str | None = Field(description=TOLD_ONCE)
    old_secret_until: datetime | None = Field(description="Until then the one before it signs, too.")


@router.post("/webhooks/{id}/secret", response={201: NewSecretShape})
@on(Webhook, "manage_webhooks", shown_once="secret")
def webhook_secret(request: Request, webhook: Webhook) -> Status:
    """Give a webhook a new secret, which is told this once; for a day the old one signs beside it."""
    secret = rotate_secret(webhook, by=request.auth.user)
    return Status(201, {"secret": secret, "old_secret_until": webhook.old_secret_until})


@router.post("/webhooks/{id}/test", response={201: DeliveryShape})
@on(Webhook, "manage_webhooks", is_harmless=True)
def webhook_test(request: Request, webhook: Webhook) -> Status:
    """Send a notice that says only that somebody tries the webhook, once and now, and tell how that went.

    It is sent while the webhook is paused, too. A receiver has 10 seconds.
    """
    return Status(201, try_webhook(webhook, by=request.auth.user))


class DeliveriesAsked(Paging):
    state: Literal["waiting", "delivered", "given_up"] | None = None


@router.get("/webhooks/{id}/deliveries", response=Page[DeliveryShape])
@on(Webhook, "manage_webhooks")
def webhook_delivery_list(request: Request, webhook: Webhook, asked: Query[DeliveriesAsked]) -> dict[str, Any]:
    """What was sent to a webhook and what came back, newest first."""
    log = WebhookDelivery.objects.filter(webhook=webhook).select_related("notice")
    return page_of(log.filter(state=asked.state) if asked.state else log, asked)


class DeliveryAsked(Schema):
    delivery: int = Field(ge=1, le=MAX_ID)


@router.post("/webhooks/{id}/again", response=DeliveryShape)
@on(Webhook, "manage_webhooks")
def webhook_again(request: Request, webhook: Webhook, asked: DeliveryAsked) -> WebhookDelivery:
    """Send a notice once more that was delivered or given up.

    It goes out within seconds under the same id, so that a receiver that has it can tell.
    """
    return send_again(webhook, asked.delivery, by=request.auth.user)
