from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class InvitationOnly(DefaultAccountAdapter):
    """Accounts are made by an admin, never by a visitor."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str) -> bool:
        """After a log-in people may be sent on to the door, which has a port of its own."""
        return url.startswith(f"{settings.GOLDPAN_DOOR_URL}/") or bool(super().is_safe_url(url))
