import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections
from django.utils.module_loading import import_string

from jobs import services


class Command(BaseCommand):
    help = "Every few seconds: bring back the jobs of dead workers, wake workers for waiting jobs. Safe to run twice."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then stop")

    def handle(self, *, once: bool, **options: Any) -> None:
        while True:
            try:
                tick()
            except DatabaseError as error:  # the database is away; it will be back
                self.stderr.write(f"tick: {error}")
            if once:
                return
            time.sleep(settings.GOLDPAN_TICK_SECONDS)
            close_old_connections()


def tick() -> None:
    services.reap()
    for due in settings.GOLDPAN_ON_TICK:
        import_string(due)()
    for job_id in services.due():
        services.send_wake(job_id)
