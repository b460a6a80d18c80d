"""What the door asks of Goldpan: whose session a cookie is, and whose desk is where. See `labeling/door_proxy.py`."""

from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.http.cookie import parse_cookie

from labeling.door_proxy import Account, Desks
from labeling.models import Desk
from labeling.services.desks import may_answer
from projects.services.sealing import decrypt


def person_of(cookies: str) -> int | None:
    """The pk of the active user whose Goldpan session a Cookie header holds, None if it holds none that is valid."""
    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    if key is None:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return get_user(request).pk  # compares the password's hash, too: a new password ends the session


class GoldpanDeskBook:
    """The `DeskBook` of this installation's database."""

    def desks_of(self, user_id: int) -> Desks | None:
        """The desks of a person in the projects they are a member of now."""
        desks = list(Desk.objects.filter(
            url=settings.GOLDPAN_LABEL_STUDIO_URL, annotator__user=user_id, project__memberships__user=user_id,
            annotator__ls_user_id__isnull=False).exclude(state=Desk.State.gone).select_related("annotator"))
        if not desks:
            return None
        owner = desks[0].annotator  # an account is one per person over all projects
        account = Account(owner.ls_user_id or 0, owner.ls_email, decrypt(owner.ls_password_encrypted))
        return Desks(account, frozenset(desk.ls_project_id for desk in desks
                                        if desk.annotator.ls_user_id == owner.ls_user_id))

    def may_answer(self, ls_project_id: int, ls_task_id: int) -> str:
        desk = Desk.objects.get(url=settings.GOLDPAN_LABEL_STUDIO_URL, ls_project_id=ls_project_id)
        return may_answer(desk, ls_task_id)
