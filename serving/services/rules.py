"""How a project is served, and how many requests it gets."""

import threading
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from projects.errors import UserError
from projects.models import ApiKey, Project
from projects.services import audit
from serving.models import ServingRules
from serving.services.exchanges import shorten_retention
from training.rate_limit import RateLimit

_limits: dict[tuple[str, int, int], RateLimit] = {}
_lock = threading.Lock()


class TooMany(UserError):
    """More requests than the rules allow; the next one is let through in `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def rules_of(project: Project) -> ServingRules:
    """The project's rules; a row with the defaults that is not stored where nobody has changed them."""
    return ServingRules.objects.filter(project=project).first() or ServingRules(project=project)


@transaction.atomic
def save_rules(project: Project, values: dict[str, Any], *, by: User) -> ServingRules:
    """Change how the project is served. A shorter retention counts for what is kept already; a longer one does not."""
    rules, _ = ServingRules.objects.update_or_create(project=project, defaults=values)
    shorten_retention(rules)
    audit(project, by, "change_serving_rules", values)
    return rules


def take_a_turn(key: ApiKey, rules: ServingRules) -> None:
    """Let a request through. Raises TooMany if it is one too many for its key or its project within a minute.

    The counts are this process's own: the gateway is one.
    """
    for scope, pk, limit, whose in (("key", key.pk, rules.key_limit, f"the key “{key.name}”"),
                                    ("project", key.project_id, rules.project_limit, f"“{key.project}”")):
        wait = _limit(scope, pk, limit).attempt()
        if wait > 0:
            raise TooMany(f"More than {limit} requests a minute with {whose}. Ask again in {wait:.0f} s, or have an "
                          "admin raise the limit on the page Live.", wait)


def _limit(scope: str, pk: int, limit: int) -> RateLimit:
    with _lock:
        return _limits.setdefault((scope, pk, limit), RateLimit(limit))
