"""What the pages of this app share: whom a view serves, reading its form, the job it waits for, the steps of a queue.

A queue shows one example at a time in an element that a decision replaces by the next one. Page and part have one
address, in which the whole state stands.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django_htmx.http import push_url
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


def is_part(request: Request) -> bool:
    """Whether only the part of a page that changes is asked for."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def page_or_part(request: Request, page: str, part: str, context: dict[str, Any]) -> HttpResponse:
    response = render(request, part if is_part(request) else page, context)
    patch_vary_headers(response, ["HX-Request"])  # one address for both: a cache must not mix them up
    return response


def after_decision(request: Request, url: str, said: str, show: Callable[[], HttpResponse]) -> HttpResponse:
    """What `show` draws, under the address of what it shows; without JavaScript a redirect there. said: in words."""
    if request.htmx:
        return push_url(show(), url)
    messages.success(request, said)
    return redirect(url)


def place_in(request: HttpRequest) -> int | None:
    """The number of what an address says the queue is at."""
    at = request.GET.get("at", "")
    return int(at) if at.isdecimal() and len(at) < 19 else None
