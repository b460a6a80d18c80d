"""Every error as application/problem+json. Source: RFC 9457, Problem Details for HTTP APIs."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic import Field

from projects.errors import UserError
from projects.services import KeyRefused, ScopeMissing
from projects.services.remembering import KeyMeansAnother

CONTENT_TYPE = "application/problem+json"
NO_KEY = ("Send an API key as “Authorization: Bearer gp_…”. One is made on the project's page of keys.")


class FieldProblem(Schema):
    """What is wrong with one field. Of a body `pointer` is set (RFC 6901), else `parameter`."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(Schema):
    """What went wrong, in words for a person; `errors` names fields where some are wrong."""

    type: str = Field(default="about:blank", description="The status says which kind of problem it is.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, with the number, and what to do.")
    errors: list[FieldProblem] | None = None


def problem(status: int, detail: str, *, errors: Sequence[FieldProblem] = ()) -> HttpResponse:
    said = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail,
                   errors=list(errors) or None)
    response = HttpResponse(said.model_dump_json(exclude_none=True), status=status, content_type=CONTENT_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="Goldpan"'
    return response


def answer_errors(api: NinjaAPI) -> None:
    """Let every error that an operation raises leave the API as a problem; what nobody foresaw stays a 500."""
    said = {
        UserError: 409, KeyRefused: 401, ScopeMissing: 403, KeyMeansAnother: 422, PermissionDenied: 403}
    for kind, status in said.items():
        api.add_exception_handler(kind, _said_with(status))
    api.add_exception_handler(Http404, lambda request, error: problem(
        404, "There is nothing at this address that you could see."))
    api.add_exception_handler(AuthenticationError, lambda request, error: problem(401, NO_KEY))
    api.add_exception_handler(RequestDataTooBig, lambda request, error: problem(
        413, "The request is too large. Send a file as an upload, and less of anything else."))
    api.add_exception_handler(HttpError, _http_problem)
    api.add_exception_handler(ValidationError, _validation_problem)


def _said_with(status: int) -> Any:
    return lambda request, error: problem(status, str(error) or HTTPStatus(status).phrase)


def _http_problem(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(error.status_code, str(error.__cause__ or error))


def _validation_problem(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(422, "The request is not as the operation needs it; `errors` says where.",
                   errors=[_field_problem(one) for one in error.errors])


def _field_problem(error: dict[str, Any]) -> FieldProblem:
    """A pydantic error, whose `loc` begins with where the field came from and the parameter's name."""
    source, *path = (str(part) for part in error["loc"])
    if source in ("body", "form", "file"):
        return FieldProblem(detail=error["msg"], pointer="#/" + "/".join(path[source == "body":]))
    return FieldProblem(detail=error["msg"], parameter=path[-1] if path else source)


def as_problem(response: HttpResponse) -> HttpResponse:
    """An error that came from before or behind the operations (no such address, wrong method, a fault) as a problem."""
    if response.status_code < 400 or response.get("Content-Type") == CONTENT_TYPE:
        return response
    words = {404: "There is nothing at this address. /api/docs lists all operations.",
             405: f"This address takes {response.get('Allow', 'another method')}.",
             500: "This is a fault of Goldpan's, not yours; the log has it."}
    made = problem(response.status_code, words.get(response.status_code, "The request could not be understood."))
    if "Allow" in response:
        made["Allow"] = response["Allow"]
    return made
