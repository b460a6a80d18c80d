"""`doctor`: looks at every part that Goldpan needs, and says what to do about the ones that are not well."""

import importlib.util
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from curation.services.embeddings import encoder_name
from goldpan.sqlite import FIRST_SOUND_VERSION
from jobs.models import Job
from labeling.label_studio import LabelStudioError
from labeling.services.server import label_studio

NEEDED_GB = 2  # a snapshot, an adapter and their checkpoints fit well below it


@dataclass(frozen=True)
class Finding:
    """A part, whether it is well, and in words how it is or what to do."""

    part: str
    ok: bool
    words: str


def examine() -> Iterator[Finding]:
    """Every part in turn; a part whose look fails in a way nobody thought of is not well, and says how."""
    for part, look in PARTS.items():
        try:
            ok, words = look()
        except Exception as error:  # a broken part must not hide the others
            ok, words = False, f"{type(error).__name__}: {error}"
        yield Finding(part, ok, words)


Look = Callable[[], tuple[bool, str]]


def _python() -> tuple[bool, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    new_enough = sys.version_info >= (3, 11)
    return new_enough, version if new_enough else f"{version} is too old: 3.11 or newer is needed"


def _sqlite() -> tuple[bool, str]:
    if connection.vendor != "sqlite":
        return True, f"not used: the database is {connection.vendor}"
    sound = sqlite3.sqlite_version_info >= FIRST_SOUND_VERSION
    advice = "" if sound else " can corrupt a database with several writers: run make setup"
    return sound, sqlite3.sqlite_version + advice


def _database() -> tuple[bool, str]:
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return False, f"not reachable ({error}): check DATABASE_URL"
    return not waiting, "migrated" if not waiting else f"{len(waiting)} migrations wait: run manage.py migrate"


def _disk() -> tuple[bool, str]:
    settings.GOLDPAN_DATA.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.GOLDPAN_DATA).free / 1e9
    words = f"{free:.0f} GB free in {settings.GOLDPAN_DATA}"
    return free > NEEDED_GB, words if free > NEEDED_GB else f"{words}: make room, at least {NEEDED_GB} GB are needed"


def _secrets() -> tuple[bool, str]:
    mode = (settings.GOLDPAN_DATA / "secrets.env").stat().st_mode & 0o777
    if mode != 0o600:
        return False, f"others can read secrets.env (mode {mode:o}): chmod 600 {settings.GOLDPAN_DATA}/secrets.env"
    return True, "only their owner can read them"


def _worker() -> tuple[bool, str]:
    waiting = Job.objects.filter(state=Job.State.queued, run_after__lt=timezone.now() - timedelta(seconds=60))
    n = waiting.exclude(exclusive__in=Job.objects.filter(state__in=Job.HELD).values("exclusive")).count()
    busy = Job.objects.filter(state__in=Job.HELD).count()
    if n and not busy:
        return False, f"{n} jobs have waited for over a minute and none runs: start make run, or look into var/log"
    return True, f"{busy} jobs run, {n} wait"


def _encoder() -> tuple[bool, str]:
    return True, encoder_name(settings.GOLDPAN_ENCODER)


def _language_model() -> tuple[bool, str]:
    if settings.GOLDPAN_LLM_URL:
        return True, f"{settings.GOLDPAN_LLM_MODEL} at {settings.GOLDPAN_LLM_URL} for prompts"
    there = (settings.GOLDPAN_BASE_MODEL / "config.json").exists()
    return there, str(settings.GOLDPAN_BASE_MODEL) + ("" if there else " is missing: run make setup")


def _training() -> tuple[bool, str]:
    missing = [name for name in ("torch", "transformers", "peft", "trl") if importlib.util.find_spec(name) is None]
    return not missing, "torch, transformers, peft and trl are there" if not missing else \
        f"{', '.join(missing)} missing: run make setup"


def _label_studio() -> tuple[bool, str]:
    try:
        version = label_studio().version()
    except LabelStudioError as error:
        return False, str(error)
    return True, f"{version} at {settings.GOLDPAN_LABEL_STUDIO_URL}"


PARTS: dict[str, Look] = {
    "Python": _python, "SQLite": _sqlite, "Database": _database, "Disk": _disk, "Secrets": _secrets,
    "Worker": _worker, "Embeddings": _encoder, "Language model": _language_model, "Training": _training,
    "Label Studio": _label_studio,
}
