import os
import shutil
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from goldpan.supervisor import end_leftovers, serve
from projects.errors import UserError

OURS = ("goldpan.sqlite3", "goldpan.sqlite3-wal", "goldpan.sqlite3-shm", "objects", "jobs", "queue", "label-studio",
        "log", "secrets.env")  # what a fresh start removes; models and downloads stay


class Command(BaseCommand):
    help = "Run the main job on real parts and real input, show the comparison, and serve."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop after the comparison")
        parser.add_argument("--fresh", action="store_true", help="forget everything and start over")

    def handle(self, *, once: bool, fresh: bool, **options: Any) -> None:
        if fresh:
            end_leftovers(self.stdout.write)
            for name in OURS:
                path = settings.GOLDPAN_DATA / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            # Settings are read once per process, and with them the secrets: start again without the flag.
            call_again = [sys.executable, "manage.py", "demo", *(["--once"] if once else [])]
            os.execv(sys.executable, call_again)  # noqa: S606
        call_command("migrate", verbosity=0)
        try:
            code = serve(story=f"demo_story {'--once' if once else ''}", say=self.stdout.write)
        except UserError as error:
            raise CommandError(str(error)) from error
        sys.exit(code)
