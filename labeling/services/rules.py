"""The rules of labelling in a project: changed by curators, written down in the audit, names shown again by admins."""

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from labeling.models import LabelingRules
from labeling.services.batches import rules_of
from projects.errors import UserError
from projects.models import Project, Role
from projects.rights import role_in
from projects.services import audit


@transaction.atomic
def save_rules(project: Project, values: dict[str, Any], *, by: User) -> LabelingRules:
    """Write these fields of the rules; what changed goes into the audit, and nothing does where nothing changed.

    Raises UserError if somebody other than an admin would make hidden names visible.
    """
    Project.objects.select_for_update().get(pk=project.pk)  # of two first edits one makes the row
    rules = rules_of(project)
    changes = {name: [_plain(getattr(rules, name)), _plain(value)] for name, value in values.items()
               if getattr(rules, name) != value}
    if "hides_names" in changes and not values["hides_names"] and role_in(by, project) != Role.admin:
        raise UserError("Only an admin shows hidden names again. Ask one, or leave them hidden.")
    for name, value in values.items():
        setattr(rules, name, value)
    if changes:
        rules.save()
        audit(project, by, "edit_labeling_rules", changes)
    return rules


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value
