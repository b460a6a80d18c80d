"""The door's WSGI application: annotators' way to their desks in Label Studio, on a port of its own."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "goldpan.settings")
# Looking for the apps' admin pages, which the door has not, would load scikit-learn and more: 150 MB.
settings.INSTALLED_APPS = [app.replace("django.contrib.admin", "django.contrib.admin.apps.SimpleAdminConfig")
                           for app in settings.INSTALLED_APPS]
django.setup()

from django.db import close_old_connections  # noqa: E402

from labeling.door_proxy import Door, Headers, Sessions  # noqa: E402
from labeling.services.door import GoldpanDeskBook, person_of  # noqa: E402

door = Door(who=person_of, desk_book=GoldpanDeskBook(), sessions=Sessions(settings.GOLDPAN_LABEL_STUDIO_URL),
            url=settings.GOLDPAN_DOOR_URL, home=settings.GOLDPAN_URL, log_in=f"{settings.GOLDPAN_URL}/accounts/login/")


def application(environ: dict[str, Any], start_response: Callable[[str, Headers], Any]) -> Iterable[bytes]:
    """Answer one request; a connection to the database lives as long as that, as in Django's own application."""
    close_old_connections()
    try:
        return door(environ, start_response)
    finally:
        close_old_connections()
