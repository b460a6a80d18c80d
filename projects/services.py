import secrets
from datetime import UTC
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from projects.audit import FIRST, event_sha256
from projects.errors import UserError
from projects.models import AuditEvent, Membership, Project, Role
from projects.schema import validate_schema

DEFAULT_SHARES = {"pool": 0.64, "dev": 0.08, "test": 0.28}


@transaction.atomic
def create_project(*, name: str, labels: list[dict[str, str]], instructions: str, target_metric: str,
                   target_value: float, created_by: User, split_salt: str = "") -> Project:
    """Create a classification project; its creator becomes its admin.

    labels: {"name", "description"} each, at least two, in the order annotators see them.
    target_value: the share in [0, 1] that the target metric should reach.
    split_salt: fixes the split of every group; a random one unless a reproducible split is wanted.
    Raises UserError if the name is taken, the labels are not usable or the target is out of range.
    """
    name = name.strip()
    if not 3 <= len(name) <= 50:
        raise UserError(f"A project's name has 3 to 50 characters; “{name[:60]}” has {len(name)}.")
    if not 0 < target_value < 1:
        raise UserError(f"The target is a share between 0 and 1; got {target_value:g}. For 80 % give 0.8.")
    if target_metric not in Project.Metric.values:
        raise UserError(f"The metric is one of {', '.join(Project.Metric.values)}; got “{target_metric}”.")
    schema = {"labels": [{"name": label["name"].strip(), "description": label.get("description", "").strip()}
                         for label in labels]}
    try:
        validate_schema(schema)
    except ValueError as error:
        raise UserError(str(error)) from None
    try:
        with transaction.atomic():
            project = Project.objects.create(
                name=name, schema=schema, instructions=instructions.strip(), target_metric=target_metric,
                target_value=target_value, created_by=created_by, split_shares=DEFAULT_SHARES,
                split_salt=split_salt or secrets.token_hex(16))
    except IntegrityError:
        raise UserError(f"There is a project named “{name}” already. Choose another name.") from None
    Membership.objects.create(project=project, user=created_by, role=Role.admin)
    audit(project, created_by, "create_project", {"name": name, "labels": project.labels})
    return project


@transaction.atomic
def add_member(project: Project, user: User, role: str, *, by: User) -> Membership:
    """Give a person a role in the project, or change the one they have."""
    if role not in Role.values:
        raise UserError(f"The role is one of {', '.join(Role.values)}; got “{role}”.")
    membership, _ = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    if not project.memberships.filter(role=Role.admin).exists():
        raise UserError("A project keeps at least one admin. Make somebody else admin first.")
    audit(project, by, "add_member", {"user": user.username, "role": role})
    return membership


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
