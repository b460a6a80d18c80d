"""System checks: settings that no installation may run with. `manage.py check`, and with it every command, says so."""

import os
import tempfile
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from projects.errors import UserError

MIN_KEY_CHARS = 50
MIN_DIFFERENT_CHARS = 5  # the same bounds as Django's own advice for a SECRET_KEY
MAX_SOCKET_BYTES = 100  # of a path; systems take about 107


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the settings; errors stop every command, warnings are only said."""
    looks = (_debug, _secret_key, _allowed_hosts, _data_folder, _door, _base_model, _executors, _trackers,
             _model_socket)
    return [message for look in looks if (message := look()) is not None]


def _debug() -> CheckMessage | None:
    if not (settings.DEBUG and settings.GOLDPAN_HTTPS):
        return None
    return Error("GOLDPAN_DEBUG is on in an installation that serves https: error pages would show code and settings.",
                 hint="Leave GOLDPAN_DEBUG out, or GOLDPAN_HTTPS on a machine for development.", id="goldpan.E001")


def _secret_key() -> CheckMessage | None:
    key = settings.SECRET_KEY
    if (len(key) >= MIN_KEY_CHARS and len(set(key)) >= MIN_DIFFERENT_CHARS
            and not key.startswith("django-insecure-")):
        return None
    return Error(f"GOLDPAN_SECRET_KEY is weak: it has {len(key)} characters, at least {MIN_KEY_CHARS} random ones are "
                 "needed.", hint="Leave it out: the first start makes a random one and keeps it in secrets.env.",
                 id="goldpan.E002")


def _allowed_hosts() -> CheckMessage | None:
    if "*" not in settings.ALLOWED_HOSTS:
        return None
    return Error("GOLDPAN_ALLOWED_HOSTS holds “*”: a foreign page could reach this server under a name of its own.",
                 hint="Name the hosts under which people reach Goldpan.", id="goldpan.E003")


def _data_folder() -> CheckMessage | None:
    folder = settings.GOLDPAN_DATA
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as file:  # a permission bit says nothing of a full or read-only disk
            file.write(b"0")
    except OSError as error:
        return Error(f"GOLDPAN_DATA ({folder}) cannot be written: {error.strerror}.",
                     hint="Give its user the folder, or set GOLDPAN_DATA to another one.", id="goldpan.E004")
    return None


def _door() -> CheckMessage | None:
    door, home = urlsplit(settings.GOLDPAN_DOOR_URL).hostname, urlsplit(settings.GOLDPAN_URL).hostname
    if door == home:
        return None
    return Error(f"GOLDPAN_DOOR_URL is on {door}, GOLDPAN_URL on {home}: a log-in to the one does not reach the other, "
                 "so nobody could label.", hint="Give both the same host name, on different ports.", id="goldpan.E005")


def _model_socket() -> CheckMessage | None:
    n = len(os.fsencode(settings.GOLDPAN_MODEL_SOCKET))
    if n <= MAX_SOCKET_BYTES:
        return None
    return Warning(f"GOLDPAN_MODEL_SOCKET has {n} bytes, a socket's path may have {MAX_SOCKET_BYTES}: nothing can be "
                   "served.", hint="Name a place with a shorter path that only Goldpan's user can reach.",
                   id="goldpan.W002")


def _executors() -> CheckMessage | None:
    from training.services.executors import EXECUTORS  # this module is read before there are models

    unknown = [name for name in settings.GOLDPAN_EXECUTORS if name not in EXECUTORS]
    if settings.GOLDPAN_EXECUTORS and not unknown:
        return None
    said = f"names {', '.join(unknown)}, which nobody knows" if unknown else "is empty, so nothing could be trained"
    return Error(f"GOLDPAN_EXECUTORS {said}.", hint=f"It knows {', '.join(EXECUTORS)}.", id="goldpan.E006")


def _trackers() -> CheckMessage | None:
    from training.services.reports import require_allowed

    for name in settings.GOLDPAN_REPORT_TO:
        try:
            require_allowed(name)
        except UserError as error:
            return Error(str(error), hint="docs/elsewhere.md says what each tracker needs.", id="goldpan.E007")
    return None


def _base_model() -> CheckMessage | None:
    if (settings.GOLDPAN_BASE_MODEL / "config.json").exists():
        return None
    return Warning(f"There is no model in GOLDPAN_BASE_MODEL ({settings.GOLDPAN_BASE_MODEL}): nothing can be trained.",
                   hint="Run make setup, or set GOLDPAN_BASE_MODEL to a folder of safetensors.", id="goldpan.W001")
