import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect

from goldpan.api.problems import as_problem
from goldpan.policies import API, policy_of
from projects.errors import UserError
from projects.rights import PUBLIC, SUPERUSER

log = logging.getLogger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]


class ProblemMiddleware:
    """Makes every error below /api/v1/ a problem in JSON, wherever it comes from: a program cannot read a page."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        return as_problem(response) if request.path.startswith("/api/v1/") else response


class PolicyMiddleware:
    """Refuses every view that has no declared policy, and everybody who is not logged in where one must be."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., HttpResponse],
                     args: object, kwargs: object) -> HttpResponse | None:
        policy = policy_of(view, request.resolver_match.view_name if request.resolver_match else "")
        if policy is None:
            log.error("no policy is declared for %s: refused", request.path)
            raise PermissionDenied("This page has no declared policy.")
        if policy in (PUBLIC, API):
            return None
        if not request.user.is_authenticated:
            return _to_log_in(request)
        if policy == SUPERUSER and not (isinstance(request.user, User) and request.user.is_superuser):
            raise PermissionDenied("This needs a superuser.")
        return None


def _to_log_in(request: HttpRequest) -> HttpResponse:
    """To the log-in, and from there to the page they were on: what a form sends cannot be sent again by an address."""
    htmx = request.htmx  # type: ignore[attr-defined]
    came_from = (htmx.current_url if htmx else request.headers.get("Referer")) or ""
    page = "/"
    if request.method == "GET" and not htmx:
        page = request.get_full_path()
    elif url_has_allowed_host_and_scheme(came_from, {request.get_host()}):
        page = urlsplit(came_from)._replace(scheme="", netloc="").geturl()
    log_in = redirect_to_login(page)
    return HttpResponseClientRedirect(log_in.url) if htmx else log_in


class UserErrorMiddleware:
    """Shows a UserError where its reader is: as a message on the page they came from, or in place of a fragment.

    An address that only a form may send to gets a page in words, too, when somebody opens it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and request.method == "GET":
            response.content = render_to_string("405.html")
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, UserError):
            return None
        if request.htmx:  # type: ignore[attr-defined]
            response = render(request, "_user_error.html", {"message": str(error)}, status=200)
            response["HX-Retarget"] = "#messages"
            response["HX-Reswap"] = "innerHTML"
            return response
        back = request.headers.get("Referer", "")
        if request.method == "POST" and url_has_allowed_host_and_scheme(back, {request.get_host()}):
            messages.error(request, str(error))
            return redirect(back)
        return render(request, "user_error.html", {"message": str(error)}, status=400)
