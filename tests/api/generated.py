"""Calls that nobody would think of, generated from the API's own description."""

import copy
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import hypothesis
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.db import transaction
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from goldpan.api.joined import openapi_text

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
NOBODYS = 987_654_321


def call_everything(numbers: dict[str, int], *, secret: str, n_each: int, modes: list[GenerationMode]) -> Counter[int]:
    """Call every operation of `numbers` n_each times in each mode, with the number of an object there is or of none.

    numbers: operation → the id of its object. Everything is as before after each call. Returns status → how many calls.
    Raises if an answer is a fault or is not as described.
    """
    described = json.loads(openapi_text())
    for path in described["paths"].values():
        for method in [method for method, operation in path.items() if operation["operationId"] not in numbers]:
            del path[method]
        for operation in path.values():
            operation.pop("security")
            for parameter in operation["parameters"]:
                if parameter["name"] == "id":
                    parameter["schema"] = {"enum": [numbers[operation["operationId"]], NOBODYS]}
    schema, app, seen = schemathesis.openapi.from_dict(copy.deepcopy(described)), WSGIHandler(), Counter[int]()
    for found in schema.get_all_operations():
        for mode in modes:
            _call(cast(Any, found).ok(), app, mode, n_each, secret, seen)
    return seen


def _call(operation: Any, app: Any, mode: GenerationMode, n_each: int, secret: str, seen: Counter[int]) -> None:
    # What cannot be wrong (no parameter, no body) has no strategy of wrong calls
    strategy = operation.as_strategy(generation_mode=mode)
    if strategy.is_empty:
        return

    @hypothesis.settings(max_examples=n_each, deadline=None, database=None, derandomize=True,
                         suppress_health_check=list(HealthCheck), phases=[hypothesis.Phase.generate])
    @hypothesis.given(case=strategy)
    def call(case: Any) -> None:
        with as_before():
            answer = case.call(app=app, headers={"Authorization": f"Bearer {secret}", "Host": "localhost"})
            seen[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)

    call()


@contextmanager
def as_before() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
