"""Telling people and programs what happened: one function for whoever has something to tell, and the inbox."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from projects.errors import UserError
from projects.events import event_of
from projects.models import InboxItem, Membership, Notice, Project, Webhook, WebhookDelivery
from projects.wording import shortened

FORGOTTEN_AT_ONCE = 500
DIGEST_HOUR = 7  # of the day, in GOLDPAN_TIME_ZONE


@transaction.atomic
def notify(project: Project, event: str, *, title: str, link: str, data: Mapping[str, Any], text: str = "",
           people: Iterable[User | None] = (), by: User | None = None, key: str | None = None) -> Notice | None:
    """Tell of something, in the caller's transaction: if that is taken back, nobody has been told.

    The members with the event's roles find it in their inbox, and get a mail if they want one; every webhook of the
    project that has chosen the event gets it, within seconds after the commit.
    title, text: for people; longer ones are shortened. No text of an example belongs into them.
    link: the page about it, a path. data: for programs, exactly the keys that the event declares.
    people: who else is told, if they are members. by: whose doing it was; they know.
    key: what has been told under this key in this project is not told again, and None is returned.
    Raises ValueError for an event, keys or a link that cannot be: a mistake of the caller's.
    """
    spec = event_of(event)
    if data.keys() != spec.data.keys():
        raise ValueError(f"{event} has the data {sorted(spec.data)}, got {sorted(data)}")
    if not link.startswith("/") or link.startswith("//"):
        raise ValueError(f"a notice links to a page of Goldpan, got {link!r}")
    fields = {"event": event, "title": shortened(title, 160), "text": shortened(text, 500), "link": link,
              "data": dict(data), "by": by}
    if key is None:
        notice = Notice.objects.create(project=project, **fields)
    else:
        notice, is_new = Notice.objects.get_or_create(project=project, key=key, defaults=fields)
        if not is_new:
            return None
    _into_inboxes(notice, spec.roles, [user.pk for user in people if user])
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(webhook=webhook, notice=notice)
        for webhook in Webhook.objects.filter(project=project, removed_at=None) if event in webhook.events)
    return notice


def forget_notices() -> int:
    """Called by the tick: delete old notices with their inbox items and deliveries, read or not; return how many.

    What still waits to be sent stays until it has been, or was given up.
    """
    before = timezone.now() - timedelta(days=settings.GOLDPAN_NOTICE_DAYS)
    old = Notice.objects.filter(at__lt=before).exclude(deliveries__state=WebhookDelivery.State.waiting)
    pks = list(old.order_by("pk").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    if pks:
        Notice.objects.filter(pk__in=pks).delete()
    return len(pks)


def _into_inboxes(notice: Notice, roles: Sequence[str], people: list[int]) -> None:
    members = Membership.objects.filter(Q(role__in=roles) | Q(user__in=people), project=notice.project,
                                        user__is_active=True).exclude(user=notice.by_id or 0).select_related("user")
    InboxItem.objects.bulk_create(
        InboxItem(notice=notice, user=member.user, mail_due_at=_mail_due(member)) for member in members)


def _mail_due(member: Membership) -> datetime | None:
    if member.mail == Membership.Mail.none or not member.user.email or not settings.GOLDPAN_EMAIL_URL:
        return None
    now = timezone.localtime()
    if member.mail == Membership.Mail.at_once:
        return now
    today = now.replace(hour=DIGEST_HOUR, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def mark_read(user: User, *, up_to: int | None = None, item: int | None = None) -> int:
    """Mark one item, or all up to a number, as read; what is read is not mailed any more. Returns how many."""
    unread = InboxItem.objects.filter(user=user, read_at=None)
    chosen = unread.filter(pk=item) if item is not None else unread.filter(pk__lte=up_to or 0)
    return chosen.update(read_at=timezone.now(), mail_due_at=None)


@transaction.atomic
def choose_mail(user: User, *, address: str, choices: Mapping[int, str]) -> None:
    """Set where a person's mail goes, and how often there is some: the ids of their memberships → Membership.Mail.

    What waits to be mailed from a project is forgotten where no mail is wanted any more.
    Raises UserError if mail is wanted and there is no address.
    """
    wanted = {mail for mail in choices.values() if mail != Membership.Mail.none}
    if wanted and not address:
        raise UserError("Say to which address the mail should go, or choose “no mail” everywhere.")
    User.objects.filter(pk=user.pk).update(email=address)
    for membership in Membership.objects.filter(user=user, pk__in=choices):
        Membership.objects.filter(pk=membership.pk).update(mail=choices[membership.pk])
        if choices[membership.pk] == Membership.Mail.none:
            InboxItem.objects.filter(user=user, notice__project=membership.project_id).update(mail_due_at=None)
