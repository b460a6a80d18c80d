"""What a request's headers ask for beside its operation: Idempotency-Key for a POST, If-None-Match for a GET."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, set_response_etag

from projects.services.remembering import claim, remember, request_hash

HEADER = "Idempotency-Key"
Run = Callable[..., HttpResponse]


def asked_well(run: Run) -> Run:
    """Around an operation's run: remember the answer of a POST with a key, give a GET an ETag.

    The effect and the answer that is remembered are one transaction; an answer that is an error leaves neither.
    """
    operation = run.__self__  # type: ignore[attr-defined]

    @wraps(run)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "GET":
            return _with_etag(request, run(request, *args, **kwargs))
        if HEADER not in request.headers or not getattr(operation.view_func, "is_remembered", False):
            return run(request, *args, **kwargs)
        with transaction.atomic():
            response = run(request, *args, **kwargs)
            if response.status_code >= 400:
                transaction.set_rollback(True)
            elif answer := getattr(request, "to_remember", None):
                remember(answer, status=response.status_code, content=_to_repeat(
                    response.content.decode(), getattr(operation.view_func, "shown_once", "")))
        return response

    return answered


def said_before(request: Any) -> HttpResponse | None:
    """What was answered to this request when it came before, None if it is new or has no key. The caller may be here.

    Raises KeyMeansAnother if its key came with another request.
    """
    key = request.headers.get(HEADER)
    if key is None or request.method in ("GET", "HEAD"):
        return None
    answer = claim(request.project, request.auth.user, key,
                   request_hash(request.method, request.get_full_path(), request.body))
    if answer.status == 0:
        request.to_remember = answer
        return None
    return HttpResponse(answer.content, status=answer.status, content_type="application/json",
                        headers={"Idempotent-Replayed": "true"})


def _to_repeat(content: str, shown_once: str) -> str:
    """The answer as it is kept and said again: without the field that is told once."""
    return json.dumps({**json.loads(content), shown_once: None}) if shown_once else content


def _with_etag(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    if response.streaming or response.status_code != 200:
        return response
    set_response_etag(response)
    found = get_conditional_response(request, etag=response["ETag"], response=response)
    return found if isinstance(found, HttpResponse) else response
