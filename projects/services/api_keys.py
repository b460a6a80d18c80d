"""Keys with which programs come in: made by a person, for one project, good for what the person names."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from projects.errors import UserError
from projects.models import ApiKey, Membership, Project
from projects.services.auditing import audit

PREFIX = "gp_"
SHOWN = len(PREFIX) + 6  # characters of a key that lists show, so that people can tell their keys apart
MAX_DAYS = 366


class KeyRefused(UserError):
    """The key does not open this: it is unknown, revoked, expired, or made for something else."""


class ScopeMissing(KeyRefused):
    """The key is sound, but made for something else."""


@transaction.atomic
def create_api_key(project: Project, *, name: str, scopes: Sequence[str], by: User,
                   days: int | None = 90) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is kept nowhere: only its hash is.

    scopes: of ApiKey.Scope. days: until it expires; None for never.
    A key may at most what its maker may, and no longer than its maker is a member of the project.
    Raises UserError without a name or scope, for an unknown scope, or for days beyond a year.
    """
    name = name.strip()
    if not 1 <= len(name) <= 60:
        raise UserError(f"A key needs a name of 1 to 60 characters, so that people know what breaks without it; this "
                        f"one has {len(name)}.")
    if not scopes:
        raise UserError("Choose at least one thing that the key is good for.")
    if unknown := sorted(set(scopes) - set(ApiKey.Scope.values)):
        raise UserError(f"“{unknown[0]}” is nothing that a key can be good for. There are: "
                        f"{', '.join(ApiKey.Scope.values)}.")
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise UserError(f"A key lives 1 to {MAX_DAYS} days, or until it is revoked; {days} is neither.")
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        project=project, name=name, scopes=sorted(set(scopes)), shown=secret[:SHOWN], secret_sha256=_hash(secret),
        created_by=by, expires_at=timezone.now() + timedelta(days=days) if days else None)
    audit(project, by, "create_api_key", {"key": key.pk, "name": name, "scopes": key.scopes, "days": days})
    return key, secret


@transaction.atomic
def revoke_api_key(key: ApiKey, *, by: User) -> None:
    """End a key, for ever. Raises UserError if it has been ended before."""
    if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
        raise UserError(f"“{key.name}” has been revoked already.")
    audit(key.project, by, "revoke_api_key", {"key": key.pk, "name": key.name})


def api_key_of(secret: str, scope: str, *, now: datetime | None = None) -> ApiKey:
    """Return the key with this secret, with its project and its maker, if it is good for the scope.

    Remembers the day on which it was last used. Raises KeyRefused in words, which do not tell an unknown key from one
    that is revoked; ScopeMissing for a sound one that is not good for this.
    """
    now = now or timezone.now()
    key = ApiKey.objects.select_related("project", "created_by").filter(
        secret_sha256=_hash(secret), revoked_at=None).first()
    if key is None or not key.created_by.is_active or not Membership.objects.filter(
            project=key.project, user=key.created_by).exists():
        raise KeyRefused("This key opens nothing here. Make one on the project's page of keys.")
    if key.expires_at and key.expires_at <= now:
        raise KeyRefused(f"The key “{key.name}” expired on {key.expires_at:%d %B %Y}. Make a new one.")
    if scope not in key.scopes:
        raise ScopeMissing(f"The key “{key.name}” is good for {', '.join(key.scopes)}, and not for {scope}. Make one "
                         "that is.")
    if key.last_used_on != now.date():
        ApiKey.objects.filter(pk=key.pk).update(last_used_on=now.date())
    return key


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
