"""What programs ask: OpenAI's chat completions and models, a typed answer, feedback. A key opens it, nothing else."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from projects.errors import UserError
from projects.models import ApiKey
from projects.rights import public
from projects.services.api_keys import KeyRefused, ScopeMissing, api_key_of
from projects.strict_json import parse_strict
from serving import chat
from serving.answering import Busy, Question, Unanswerable, Unavailable
from serving.chat import BadRequest, read_chat
from serving.services.deployments import NotServed, names_of
from serving.services.feedback import AlreadySaid, NoSuchExchange, give_feedback
from serving.services.gateway import Asked, begin, shown
from serving.services.rules import TooMany

log = logging.getLogger(__name__)
MAX_BYTES = 1_000_000  # of a request
Body = dict[str, Any]
V1View = Callable[..., HttpResponse | StreamingHttpResponse]


class _Refused(Exception):
    """An answer that is none, in OpenAI's shape."""

    def __init__(self, status: int, message: str, kind: str, code: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.retry_after = status, message, kind, code, retry_after

    def response(self) -> HttpResponse:
        response = JsonResponse({"error": chat.error(self.message, self.kind, self.code)}, status=self.status)
        if self.retry_after is not None:
            response["Retry-After"] = str(max(1, round(self.retry_after)))
        if self.status == 401:
            response["WWW-Authenticate"] = "Bearer"
        return response


def with_key(method: str, scope: str) -> Callable[[V1View], Callable[..., HttpResponse | StreamingHttpResponse]]:
    """Hand the view the key of the request and its body; every way in which it can fail is told in OpenAI's shape.

    There is no session and no cookie here, so there is nothing that a foreign page could use: no CSRF token is asked.
    """

    def decorate(view: V1View) -> Callable[..., HttpResponse | StreamingHttpResponse]:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse | StreamingHttpResponse:
            try:
                if request.method != method:
                    raise _Refused(405, f"This address takes {method} only.", "invalid_request_error",
                                   "method_not_allowed")
                if not settings.GOLDPAN_ANSWERS_PROGRAMS:
                    raise _Refused(421, f"Models answer at {settings.GOLDPAN_GATEWAY_URL}/v1, so that they keep no "
                                   "page waiting. Ask there.", "invalid_request_error", "other_address")
                key = _key_of(request, scope)
                return view(request, key, *args, **kwargs, **({"body": _body_of(request)} if method == "POST" else {}))
            except Exception as error:
                return _refused(error).response()

        return public(csrf_exempt(checked))

    return decorate


@with_key("GET", "predict")
def model_list(request: HttpRequest, key: ApiKey) -> HttpResponse:
    return JsonResponse({"object": "list", "data": [
        {"id": name, "object": "model", "created": int(key.project.created_at.timestamp()), "owned_by": "goldpan"}
        for name in names_of(key.project)]})


@with_key("POST", "predict")
def chat_completions(request: HttpRequest, key: ApiKey, body: Body) -> HttpResponse | StreamingHttpResponse:
    said = read_chat(body, task_type=key.project.task_type)
    asked = begin(key, said.question, model=said.model, route="chat", unit=_unit(body))
    if said.is_streamed:
        return _stream(asked, wants_usage=said.wants_usage)
    answer, reply = asked.whole()
    return JsonResponse(chat.completion(asked.name, asked.served.name, int(asked.at.timestamp()), answer, reply))


@with_key("POST", "predict")
def predict(request: HttpRequest, key: ApiKey, pk: int, body: Body) -> HttpResponse:
    """The answer as the project's type of task has it, with the probability of each label where labels are scored."""
    if pk != key.project_id:
        raise _Refused(404, f"This key is of “{key.project}”, which is project {key.project_id}.",
                       "invalid_request_error", "project_not_found")
    text, data = shown(key.project, body)
    asked = begin(key, Question(text, data), model=_text(body, "model"), route="predict", group=_text(body, "group"),
                  unit=_unit(body))
    answer, reply = asked.whole()
    return JsonResponse({
        "exchange": asked.name, "model": asked.served.name, "deployment": asked.deployment.pk,
        "answer": answer.value, "probabilities": answer.probabilities, "text": answer.text,
        "problem": answer.problem or None, "usage": chat.usage(answer, reply)})


@with_key("POST", "feedback")
def feedback(request: HttpRequest, key: ApiKey, body: Body) -> HttpResponse:
    """Thumbs, a correction, an outcome, an escalation; what is answered with 200 is in the database."""
    outcome = body.get("outcome")
    if outcome is not None and (isinstance(outcome, bool) or not isinstance(outcome, int | float)):
        raise BadRequest("“outcome” has to be a number.")
    if not isinstance(body.get("escalated", False), bool):
        raise BadRequest("“escalated” has to be true or false: whether a person had to take over.")
    taken = give_feedback(
        key, exchange=_text(body, "exchange"), thumb=_text(body, "thumb"), correction=body.get("correction"),
        outcome=outcome, is_escalated=body.get("escalated", False), comment=_text(body, "comment"),
        idempotency_key=request.headers.get("Idempotency-Key") or _text(body, "idempotency_key") or None)
    return JsonResponse({"id": taken.feedback.pk, "exchange": taken.feedback.exchange_name, "is_new": taken.is_new,
                         "correction": taken.correction or None})


def _stream(asked: Asked, *, wants_usage: bool) -> StreamingHttpResponse:
    pieces = asked.pieces()
    first = next(pieces, "")  # what is refused is refused here, before the answer has a status
    response = StreamingHttpResponse(_events(asked, first, pieces, wants_usage=wants_usage),
                                     content_type="text/event-stream")
    response["Cache-Control"], response["X-Accel-Buffering"] = "no-cache", "no"
    return response


def _events(asked: Asked, first: str, rest: Iterator[str], *, wants_usage: bool) -> Iterator[bytes]:
    about = (asked.name, asked.served.name, int(asked.at.timestamp()))
    try:
        yield chat.chunk(*about, delta={"role": "assistant", "content": ""})
        if first:
            yield chat.chunk(*about, delta={"content": first})
        for piece in rest:
            yield chat.chunk(*about, delta={"content": piece})
        answer, reply = asked.answer, asked.reply
        assert answer is not None and reply is not None
        if not first:  # nothing was written: the answer is a label, or empty
            yield chat.chunk(*about, delta={"content": answer.text})
        if reply.refusal:
            yield chat.chunk(*about, delta={"refusal": reply.refusal})
        yield chat.chunk(*about, delta={}, finish="stop" if reply.is_whole else "length")
        if wants_usage:
            yield chat.chunk(*about, used=chat.usage(answer, reply))
        yield chat.DONE
    except GeneratorExit:
        rest.close()  # type: ignore[attr-defined]
        raise
    except Exception as error:
        refused = _refused(error)
        yield chat.failed_chunk(refused.message, refused.code)


def _key_of(request: HttpRequest, scope: str) -> ApiKey:
    said = request.headers.get("Authorization", "")
    scheme, _, secret = said.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise _Refused(401, "Send a key of the project: “Authorization: Bearer gp_…”.", "authentication_error",
                       "missing_api_key")
    return api_key_of(secret.strip(), scope)


def _body_of(request: HttpRequest) -> Body:
    if int(request.headers.get("Content-Length") or 0) > MAX_BYTES:
        raise _Refused(413, f"A request may have {MAX_BYTES:,} bytes.", "invalid_request_error", "request_too_large")
    try:
        body = parse_strict(request.body.decode())
    except ValueError as error:  # no UTF-8, no JSON, or JSON that no database takes
        raise BadRequest(f"The body is no JSON: {error!s:.200}") from None
    if not isinstance(body, dict):
        raise BadRequest("The body has to be a JSON object.")
    return body


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"“{name}” has to be a text.")
    return value or ""


def _unit(body: Body) -> str:
    """Who asks, as OpenAI's requests say it: a text of the caller's that is the same for one person or thread."""
    return _text(body, "user") or _text(body, "safety_identifier")


def _refused(error: Exception) -> _Refused:
    """Any error as an answer in OpenAI's shape."""
    invalid = "invalid_request_error"
    match error:
        case _Refused():
            return error
        case ScopeMissing():
            return _Refused(403, str(error), "permission_error", "insufficient_scope")
        case KeyRefused():
            return _Refused(401, str(error), "authentication_error", "invalid_api_key")
        case BadRequest():
            return _Refused(400, str(error), invalid, error.code)
        case Unanswerable():
            return _Refused(400, str(error), invalid, "context_length_exceeded")
        case TooMany():
            return _Refused(429, str(error), "rate_limit_error", "rate_limit_exceeded", error.retry_after)
        case Busy():
            return _Refused(429, str(error), "rate_limit_error", "queue_full", error.retry_after)
        case Unavailable():
            return _Refused(503, str(error), "server_error", "model_unavailable", error.retry_after)
        case NotServed():
            return _Refused(404, str(error), invalid, "model_not_found")
        case NoSuchExchange():
            return _Refused(404, str(error), invalid, "exchange_not_found")
        case AlreadySaid():
            return _Refused(409, str(error), invalid, "idempotency_conflict")
        case UserError():
            return _Refused(400, str(error), invalid, "invalid_request")
    log.error("a request failed at %s", time.strftime("%H:%M:%S"), exc_info=error)
    return _Refused(500, "Goldpan failed. Its log says why.", "server_error", "internal_error")
