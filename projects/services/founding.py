"""Projects and their people: founding one, giving somebody a role in it."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from projects.errors import UserError
from projects.models import Guideline, Membership, Project, Role
from projects.schema import METRICS, validate_schema
from projects.services.auditing import audit

DEFAULT_SHARES = {"pool": 0.64, "dev": 0.08, "test": 0.28}


@transaction.atomic
def create_project(*, name: str, instructions: str, target_value: float, created_by: User,
                   task_type: str = Project.TaskType.classification, schema: Mapping[str, Any] | None = None,
                   labels: Sequence[Mapping[str, str]] | None = None, target_metric: str = "",
                   split_salt: str = "") -> Project:
    """Create a project; its creator becomes its admin.

    schema: what an answer may be; see `projects.schema`. {} by default, where the type needs none.
    labels: short for a schema of labels: {"name", "description"} each, in the order annotators see them.
    target_metric: the one that the type is judged by, if named. target_value: the share in [0, 1] that it should reach.
    split_salt: fixes the split of every group; a random one unless a reproducible split is wanted.
    Raises UserError if the name is taken, the schema does not fit the type or the target is out of range.
    """
    name = name.strip()
    if not 3 <= len(name) <= 50:
        raise UserError(f"A project's name has 3 to 50 characters; “{name[:60]}” has {len(name)}.")
    if not 0 < target_value < 1:
        raise UserError(f"The target is a share between 0 and 1; got {target_value:g}. For 80 % give 0.8.")
    if labels is not None:
        if schema is not None:
            raise UserError("Give labels or a schema, not both: a schema has its labels in it.")
        schema = {"labels": [{name: text.strip() for name, text in label.items()} for label in labels]}
    schema = _checked(schema or {}, task_type)
    metric = METRICS[task_type]
    if target_metric not in ("", metric):
        raise UserError(f"What is judged in a project of type {task_type} is {metric}; got “{target_metric}”.")
    try:
        with transaction.atomic():
            project = Project.objects.create(
                name=name, task_type=task_type, schema=schema, instructions=instructions.strip(), target_metric=metric,
                target_value=target_value, created_by=created_by, split_shares=DEFAULT_SHARES,
                split_salt=split_salt or secrets.token_hex(16))
    except IntegrityError:
        raise UserError(f"There is a project named “{name}” already. Choose another name.") from None
    Guideline.objects.create(project=project, version=1, text=project.instructions, created_by=created_by)
    Membership.objects.create(project=project, user=created_by, role=Role.admin)
    audit(project, created_by, "create_project", {"name": name, "task_type": task_type, "labels": project.labels})
    return project


def _checked(schema: Mapping[str, Any], task_type: str) -> dict[str, Any]:
    """The schema as it is stored: every label has a description, if only an empty one. Raises UserError."""
    try:
        validate_schema(schema, task_type)
    except ValueError as error:
        raise UserError(str(error)) from None
    if "labels" not in schema:
        return dict(schema)
    return {**schema, "labels": [{"name": label["name"], "description": label.get("description", "").strip()}
                                 for label in schema["labels"]]}


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
