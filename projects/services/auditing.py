"""The audit chain of a project: every event names the hash of the one before it."""

from datetime import UTC
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from projects.audit import FIRST, event_sha256
from projects.models import AuditEvent, Project


@transaction.atomic
def audit(project: Project, who: User | None, what: str, detail: dict[str, Any]) -> AuditEvent:
    """Append an event to the project's chain, in the caller's transaction.

    who: None for what Goldpan does by itself.
    """
    Project.objects.select_for_update().get(pk=project.pk)  # one writer of a chain at a time
    last = AuditEvent.objects.filter(project=project).order_by("-sequence").first()
    at = timezone.now()
    event: dict[str, Any] = {"sequence": last.sequence + 1 if last else 1, "who": who.username if who else "goldpan",
             "what": what, "detail": detail}
    previous = last.sha256 if last else FIRST
    return AuditEvent.objects.create(
        project=project, at=at, previous_sha256=previous,
        sha256=event_sha256(previous, at=at.astimezone(UTC).isoformat(), **event), **event)
