"""The gateway's WSGI application: only what programs ask, on a port of its own; pages are the web server's."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "goldpan.settings")
os.environ["GOLDPAN_ANSWERS_PROGRAMS"] = "on"
django_application = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer /v1/… and the health check; nothing else is here."""
    path = environ.get("PATH_INFO", "")
    if not path.startswith("/v1/") and path != "/healthz":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Here is only /v1.\n"]
    return django_application(environ, start_response)
