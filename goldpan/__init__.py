from goldpan.sqlite import use_newer_sqlite

use_newer_sqlite()  # before anything of Django's, whichever way the process was started

from goldpan.celery import app as celery_app  # noqa: E402  # so that every process queues to our broker

__all__ = ["celery_app"]
