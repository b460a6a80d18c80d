from celery import shared_task
from django.db import close_old_connections

from jobs import services


@shared_task
def wake(job_id: int) -> None:
    close_old_connections()
    services.run(job_id)  # the message is one number; kind and params are in the row
