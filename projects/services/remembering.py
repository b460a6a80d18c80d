"""Requests that a program sends twice: the second gets the first one's answer, and nothing happens twice."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from projects.errors import UserError
from projects.models import Project, RememberedAnswer

KEPT = timedelta(days=1)
MAX_CHARS = 200  # of a key


class KeyMeansAnother(UserError):
    """The key came before, with another request."""


def request_hash(method: str, path: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join([method.encode(), path.encode(), body])).hexdigest()


def claim(project: Project, user: User, key: str, request_sha256: str) -> RememberedAnswer:
    """Return the answer that this key stands for; one with status 0 is new, and for the caller to fill in.

    To be called in the transaction of the request's effect: who claims the same key meanwhile waits for its end.
    Raises KeyMeansAnother if the key came with another request within a day, UserError if it has no or over 200
    characters.
    """
    if not 1 <= len(key) <= MAX_CHARS or not key.isprintable():
        raise UserError(f"An Idempotency-Key has 1 to {MAX_CHARS} printable characters; this one has {len(key)}. A "
                        "random UUID does.")
    try:
        with transaction.atomic():
            return RememberedAnswer.objects.create(project=project, user=user, key=key, request_sha256=request_sha256)
    except IntegrityError:
        found = RememberedAnswer.objects.get(project=project, user=user, key=key)
    if found.created_at < timezone.now() - KEPT:
        found.delete()
        return claim(project, user, key, request_sha256)
    if found.request_sha256 != request_sha256:
        raise KeyMeansAnother("This Idempotency-Key came with another request before. Send a new key with each new "
                              "request, and the old one only to repeat the same.")
    return found


def remember(answer: RememberedAnswer, *, status: int, content: str) -> None:
    """Keep what is answered; nothing where the request itself has made it forgotten, as an erasure does."""
    RememberedAnswer.objects.filter(pk=answer.pk).update(status=status, content=content)


def forget_answers() -> None:
    """Forget what is older than a day. The tick calls it."""
    RememberedAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()


def forget_answers_about(examples: Sequence[Any]) -> dict[str, int]:
    """Forget what was answered in the project of these examples: it may quote them. See GOLDPAN_ON_ERASE."""
    RememberedAnswer.objects.filter(project=examples[0].project).delete()
    return {}
