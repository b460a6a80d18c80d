"""The declared policy of every URL: our views carry theirs (projects.rights), other packages' views stand here."""

from collections.abc import Callable

from projects.rights import PUBLIC, SIGNED_IN, SUPERUSER

OTHERS = {
    "account_login": PUBLIC,
    "account_logout": SIGNED_IN,
    "account_change_password": SIGNED_IN,
    "account_reauthenticate": SIGNED_IN,
}


def policy_of(view: Callable[..., object], view_name: str) -> str | None:
    """The policy a view was declared with: one of the names in projects.rights or an action of MAY; None if none."""
    declared: str | None = getattr(view, "policy", None)
    if declared is None and view_name.startswith("admin:"):
        return SUPERUSER
    return declared or OTHERS.get(view_name)
