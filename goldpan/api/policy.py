"""Who may call an operation: somebody with an API key of the project, or somebody who is logged in."""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Path
from ninja.security.apikey import APIKeyCookie
from ninja.security.http import HttpBearer
from ninja.throttling import BaseThrottle
from ninja.utils import check_csrf

from goldpan.api.repeating import said_before
from projects.models import ApiKey, Project, Role
from projects.rights import MAY, require
from projects.services import api_key_of

READING = ("GET", "HEAD")
MAX_ID = 2**63 - 1  # of a row in any of our databases
Id = Annotated[int, Path(ge=1, le=MAX_ID)]


@dataclass(frozen=True)
class Caller:
    """Whoever calls: a person, and the key that speaks for them unless they are logged in."""

    user: User
    key: ApiKey | None = None

    def reaches(self, project: Project) -> bool:
        """Whether it can be about this project: a key is of one project, whatever else its maker belongs to."""
        return self.key is None or self.key.project_id == project.pk


class Request(HttpRequest):
    """What an operation gets. project, role: of the object that its address names."""

    auth: Caller
    user: User
    project: Project
    role: Role | None


class ApiKeyAuth(HttpBearer):
    """`Authorization: Bearer gp_…`. A key that is refused is an error, even where somebody is logged in beside it."""

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        key = api_key_of(token, ApiKey.Scope.read if request.method in READING else ApiKey.Scope.write)
        request.user = key.created_by  # whatever session the request carries beside the key
        return Caller(key.created_by, key)


class SessionAuth(APIKeyCookie):
    """The browser's session; whatever changes something needs the page's CSRF token, too."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Caller | None:
        if "Authorization" in request.headers or not isinstance(request.user, User):
            return None
        if check_csrf(request) is not None:
            raise PermissionDenied("The CSRF token is missing or wrong. A page sends it as X-CSRFToken; a program "
                                   "uses an API key in place of a session.")
        return Caller(request.user)

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        raise NotImplementedError("__call__ answers")


class PerMinute(BaseThrottle):
    """At most GOLDPAN_API_PER_MINUTE requests a minute by the clock, of one caller to one web process."""

    def allow_request(self, request: HttpRequest) -> bool:
        if not settings.GOLDPAN_API_PER_MINUTE:
            return True
        caller: Caller = request.auth  # type: ignore[attr-defined]
        who = f"key:{caller.key.pk}" if caller.key else f"user:{caller.user.pk}"
        name = f"api:{who}:{int(time.time() // 60)}"
        cache.add(name, 0, 120)
        try:
            return cache.incr(name) <= settings.GOLDPAN_API_PER_MINUTE
        except ValueError:  # a full cache has thrown the count away
            return True

    def wait(self) -> float:
        return 60 - time.time() % 60


def on(model: type[Model], action: str, *, is_harmless: bool = False,
       shown_once: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Hand the operation the object of its address's `id` instead of the number; as `projects.rights.on` for a view.

    The object is looked up through what the caller may see, so another project's is a 404 like one that does not
    exist; then the action is checked in its project. An object is a Project or has one as `project`.
    is_harmless: doing it twice does no harm, and takes long: no answer is remembered for an Idempotency-Key, which
    would keep a transaction open.
    shown_once: the field of the answer that is told this once; null where a remembered answer is repeated.
    """
    if action not in MAY:
        raise KeyError(f"declare “{action}” in projects.rights.MAY first")

    def decorate(operation: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(operation)
        def checked(request: Request, **values: Any) -> Any:
            found = get_object_or_404(
                model.objects.visible_to(request.auth.user), pk=values.pop("id"))  # type: ignore[attr-defined]
            project = found if isinstance(found, Project) else found.project
            if not request.auth.reaches(project):
                raise Http404
            request.role, request.project = require(request.auth.user, action, project), project
            said = None if is_harmless else said_before(request)
            return said or operation(request, found, **values)

        signature = inspect.signature(operation)
        asked, _, *rest = signature.parameters.values()
        number = inspect.Parameter("id", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Id)
        checked.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[asked, number, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in rest)])
        checked.policy = action  # type: ignore[attr-defined]
        checked.is_remembered = not is_harmless  # type: ignore[attr-defined]
        checked.shown_once = shown_once  # type: ignore[attr-defined]
        return checked

    return decorate

