"""All operations as one API, its OpenAPI description, and the page that shows it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.errors import ValidationError
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from goldpan.api import (
    ab_tests,
    adapters,
    asking,
    curating,
    data,
    elsewhere,
    judging,
    notifying,
    people,
    prompts,
    serving,
    settling,
    snapshots,
    training,
    watching,
    weighing,
    work,
)
from goldpan.api.policy import READING, ApiKeyAuth, PerMinute, SessionAuth
from goldpan.api.problems import CONTENT_TYPE, Problem, answer_errors
from goldpan.api.repeating import HEADER, asked_well
from projects.rights import FOUNDER, MAY, SIGNED_IN, signed_in
from projects.strict_json import parse_strict

PREFIX = "/api"
ABOUT = """\
Goldpan's straight path for programs, from a file to a champion. Its guide is docs/api.md.

- **Who calls**: `Authorization: Bearer gp_…` with a key of the project, made on its page of keys. It may what its maker
  may there, as far as its scopes go: `read` for GET, `write` for the rest.
- **Work that takes long** answers 202 with a job; ask for the job until its `state` is succeeded, failed or cancelled.
- **Lists** come in pages: pass `next` as `cursor` until it is null.
- **Errors** are application/problem+json (RFC 9457), in words.
- **Sent twice**: a POST with an `Idempotency-Key` is done once; sent again within a day, the first answer is repeated.
"""


class StrictParser(Parser):
    """Bodies as `projects.strict_json` takes them; addresses and forms without what a database could not store."""

    def parse_body(self, request: HttpRequest) -> Any:
        return parse_strict(request.body)

    def parse_querydict(self, data: Any, list_fields: list[str], request: HttpRequest) -> dict[str, Any]:
        for name, value in data.items():
            if isinstance(value, str) and "\0" in value:
                raise ValidationError([{"loc": ("query", name), "msg": "U+0000 cannot be stored."}])
        return super().parse_querydict(data, list_fields, request)


class Renderer(BaseRenderer):
    """JSON without NaN, which is no JSON: null stands in its place. Times are in UTC."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS)


class Declared(NamedTuple):
    """An operation: its address below /api with {id}, and the action that it was declared with, None if it was not."""

    method: str
    path: str
    operation: Operation
    policy: str | None

    @property
    def name(self) -> str:
        return str(self.operation.view_func.__name__)

    @property
    def scope(self) -> str:
        return "read" if self.method in READING else "write"


class GoldpanApi(NinjaAPI):
    def operations(self) -> Iterator[Declared]:
        for router in self._get_bound_routers():
            for path, view in router.path_operations.items():
                for operation in view.operations:
                    for method in operation.methods:
                        yield Declared(method, f"/{router.prefix.strip('/')}{path}", operation,
                                       getattr(operation.view_func, "policy", None))

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """What ninja makes of the operations, with what is the same for all: errors, rights, Idempotency-Key."""
        kwargs.setdefault("path_prefix", f"{PREFIX}/")
        schema = super().get_openapi_schema(**kwargs)
        parts = schema["components"]
        parts["schemas"] |= Problem.model_json_schema(ref_template="#/components/schemas/{model}").pop("$defs")
        parts["schemas"]["Problem"] = {name: value for name, value in Problem.model_json_schema(
            ref_template="#/components/schemas/{model}").items() if name != "$defs"}
        parts["responses"] = {"Problem": {"description": "What went wrong, in words", "content": {
            CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}}
        for declared in self.operations():
            _finish(schema["paths"][f"{PREFIX}{declared.path}"][declared.method.lower()], declared)
        return schema


def _finish(said: dict[str, Any], declared: Declared) -> None:
    headline, _, more = (declared.operation.view_func.__doc__ or "").partition("\n")
    said["summary"] = headline.removesuffix(".")
    said["description"] = "\n\n".join(filter(None, [" ".join(more.split()), _rights_words(declared)]))
    said["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    if declared.method == "POST" and getattr(declared.operation.view_func, "is_remembered", False):
        said["parameters"].append({
            "in": "header", "name": HEADER, "required": False, "schema": {"type": "string", "maxLength": 200},
            "description": "A new random text for each new request: sent again with the same one, it is done once."})


def _rights_words(declared: Declared) -> str:
    who = {SIGNED_IN: "For everybody who is a member of a project.",
           FOUNDER: "For superusers, and admins of any project."}.get(declared.policy or "")
    return who or f"For {' and '.join(MAY[declared.policy or ''])}s of the project (`{declared.policy}`)."


class Docs(Swagger):
    """Swagger UI from the package's own files; nothing is fetched from elsewhere."""

    template = "api/docs.html"


api = GoldpanApi(
    title="Goldpan", version="1", description=ABOUT, urls_namespace="api", docs=Docs({"defaultModelsExpandDepth": 0}),
    docs_decorator=signed_in, openapi_url="/openapi.json", docs_url="/docs", auth=[ApiKeyAuth(), SessionAuth()],
    throttle=PerMinute(), parser=StrictParser(), renderer=Renderer())
answer_errors(api)
api.add_decorator(asked_well, mode="view")
for part in (work, notifying, data, asking, people, curating, snapshots, settling, weighing, prompts, training,
             adapters, elsewhere, judging, serving, ab_tests, watching):
    api.add_router("/v1", part.router)

if undeclared := [one.name for one in api.operations() if one.policy is None]:
    raise RuntimeError(f"these operations declare no policy: {', '.join(undeclared)}")


def openapi_text() -> str:
    """The description as it stands in docs/openapi.json."""
    return orjson.dumps(api.get_openapi_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
                        | orjson.OPT_NON_STR_KEYS).decode() + "\n"
