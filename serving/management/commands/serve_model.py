import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from serving.model_process import keep_alive


class Command(BaseCommand):
    help = "Holds the embedded model and the adapters on it, and answers the gateway; starts it anew if it dies."

    def handle(self, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        keep_alive({"address": str(settings.GOLDPAN_MODEL_SOCKET), "model": str(settings.GOLDPAN_BASE_MODEL),
                    "most_waiting": settings.GOLDPAN_MODEL_QUEUE, "threads": settings.GOLDPAN_THREADS,
                    "encoder": settings.GOLDPAN_ENCODER, "kept_in": str(settings.GOLDPAN_DATA / "runtimes.json")})
