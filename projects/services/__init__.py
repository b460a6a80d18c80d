"""What is done to a project itself: founding it, its people, its guideline, and the record of who did what."""

from projects.services.auditing import audit
from projects.services.founding import DEFAULT_SHARES, add_member, create_project
from projects.services.guidelines import publish_guideline

__all__ = ["DEFAULT_SHARES", "add_member", "audit", "create_project", "publish_guideline"]
