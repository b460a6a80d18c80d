"""The declared policy of every URL: our views carry theirs (projects.rights), other packages' views stand here."""

from collections.abc import Callable

from projects.rights import PUBLIC, SIGNED_IN, SUPERUSER

API = "api"  # each of its operations has a policy of its own, and asks for a key or a session itself: goldpan.api
OTHERS = {
    "api:api-root": SIGNED_IN,
    "account_login": PUBLIC,
    "account_logout": SIGNED_IN,
    "account_change_password": SIGNED_IN,
    "account_reauthenticate": SIGNED_IN,
}


def policy_of(view: Callable[..., object], view_name: str) -> str | None:
    """The policy a view was declared with: one of the names in projects.rights, an action of MAY, or API.

    None if it has none.
    """
    declared: str | None = getattr(view, "policy", None)
    if declared is None and view_name.startswith("admin:"):
        return SUPERUSER
    declared = declared or OTHERS.get(view_name)
    if declared is None and view_name.startswith("api:"):
        return API
    return declared
