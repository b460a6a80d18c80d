"""Celery carries wake-ups only: a message is one job id, the job row is the truth (docs/architecture.md)."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["filesystem"] = "jobs.file_broker:Transport"  # kombu's own can end a worker
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "goldpan.settings")
app = Celery("goldpan")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
