import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Print where Goldpan and Label Studio answer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--stay", action="store_true", help="then wait until ended")

    def handle(self, *, stay: bool, **options: Any) -> None:
        self.stdout.write(f"Goldpan       {settings.GOLDPAN_URL}\nLabel Studio  {settings.GOLDPAN_LABEL_STUDIO_URL}\n"
                          "Ctrl-C ends both.")
        if stay:
            signal.pause()
