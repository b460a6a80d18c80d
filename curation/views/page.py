"""What the pages of this app share: whom a view serves, reading its form, the job it waits for."""

from typing import Any

from django.contrib.auth.models import User
from django.forms import Form
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from jobs.models import Job
from projects.errors import UserError
from projects.models import Project

ROWS_PER_PAGE = 50
LONG_TEXT = 500  # characters from which a text is shown at reading size, so that the buttons stay in sight


class Request(HttpRequest):
    """What a view behind `on` gets: its user is somebody."""

    user: User
    htmx: HtmxDetails


def open_job(project: Project, kind: str) -> Job | None:
    """The last job of this kind if it waits, runs or has failed; what succeeded shows in what it made."""
    job = Job.objects.filter(project=project, kind=kind).first()
    return job if job is not None and (job.is_active or job.state == Job.State.failed) else None


def valid(form: Form) -> dict[str, Any]:
    """The form's values. Raises UserError with the first thing that is wrong."""
    if form.is_valid():
        return form.cleaned_data
    field, errors = next(iter(form.errors.items()))
    raise UserError(errors[0] if field == "__all__" else f"{field.capitalize()}: {errors[0]}")
