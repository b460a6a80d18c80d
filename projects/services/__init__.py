"""What is done to a project itself: founding it, its people and keys, its guideline, the record of who did what."""

from projects.services.api_keys import KeyRefused, ScopeMissing, api_key_of, create_api_key, revoke_api_key
from projects.services.auditing import audit
from projects.services.founding import DEFAULT_SHARES, add_member, create_project
from projects.services.guidelines import publish_guideline
from projects.services.notices import notify

__all__ = ["DEFAULT_SHARES", "KeyRefused", "ScopeMissing", "add_member", "api_key_of", "audit", "create_api_key",
           "create_project", "notify", "publish_guideline", "revoke_api_key"]
