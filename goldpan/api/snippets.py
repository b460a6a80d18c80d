"""An operation with its values, as a line for a shell and as a few lines of Python: what a page's button does."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from goldpan.api.files import A_FILE
from goldpan.api.joined import PREFIX, Declared, api
from goldpan.api.shapes import JobShape
from goldpan.api.training import RunShape

KEY = "GOLDPAN_KEY"  # the environment variable that holds the key
FILE = "examples.csv"


@dataclass(frozen=True)
class Snippet:
    """method, path: of the operation, the path with its number and below /api/v1. body: the fields that are sent."""

    name: str
    method: str
    path: str
    body: dict[str, Any]
    curl: str
    python: str


def snippet(name: str, number: int, given: Mapping[str, Any], *, url: str, files: Sequence[str] = (FILE,)) -> Snippet:
    """Write an operation down. Raises KeyError for an operation that there is not.

    number: the id in its address. given: values of a form; those that the operation takes are taken, others left.
    A field that must be there and is not given stands as its name in angle brackets. url: of this Goldpan.
    files: that the operation is sent, or the one that it is written to.
    """
    declared = operation_of(name)
    path = declared.path.removeprefix("/v1").replace("{id}", str(number))
    body = {field: value for field, value in _values(declared, given)}
    sent = _file_field(declared)
    address = f"{url.rstrip('/')}{PREFIX}/v1{path}"
    return Snippet(name, declared.method, path, body, _curl(declared, address, body, sent, files),
                   _python(declared, path, body, sent, files, url))


def operation_of(name: str) -> Declared:
    for declared in api.operations():
        if declared.name == name:
            return declared
    raise KeyError(f"there is no operation {name!r}")


def _file_field(declared: Declared) -> str:
    """The field of the file that the operation is sent, or of its files; "" where it takes none."""
    return next((field for model in declared.operation.models if model.__ninja_param_source__ == "file"
                 for field in model.model_fields), "")


def _values(declared: Declared, given: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Each field that is sent with its value: what is given and no default, and what has to be there."""
    found = []
    for model in declared.operation.models:
        if model.__ninja_param_source__ not in ("body", "form"):
            continue
        for asked in model.model_fields.values():
            for name, field in getattr(asked.annotation, "model_fields", {}).items():
                value = _fitting(given.get(name), field)
                if value is None and field.is_required():
                    found.append((name, f"<{name}>"))
                elif value is not None and value != field.get_default(call_default_factory=True):
                    found.append((name, value))
    return found


def _fitting(value: Any, field: FieldInfo) -> Any:
    """The value as the operation takes it; None where there is none, or it means something to the page alone."""
    if value in (None, ""):
        return None
    kind: Any = Annotated[field.annotation, field]
    try:
        of_kind: TypeAdapter[Any] = TypeAdapter(kind)
        return of_kind.dump_python(of_kind.validate_python(value), mode="json", exclude_defaults=True)
    except ValidationError:
        return None


def _curl(declared: Declared, address: str, body: Mapping[str, Any], sent: str, files: Sequence[str]) -> str:
    lines = [f"curl -X {declared.method} {shlex.quote(address)}", f'-H "Authorization: Bearer ${KEY}"']
    if declared.operation.openapi_extra == A_FILE:
        lines += [f"-o {shlex.quote(files[0])}"]
    elif sent:
        lines += [*(f"-F {shlex.quote(f'{sent}=@{file}')}" for file in files),
                  *(f"-F {shlex.quote(f'{name}={value}')}" for name, value in body.items())]
    else:
        lines += ['-H "Idempotency-Key: $(uuidgen)"', '-H "Content-Type: application/json"',
                  f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"]
    return " \\\n  ".join(lines)


def _python(declared: Declared, path: str, body: Mapping[str, Any], sent: str, files: Sequence[str], url: str) -> str:
    said = "".join(f", {name}={value!r}" for name, value in body.items())
    ends_in = {model.model_fields["response"].annotation
               for model in declared.operation.response_models.values() if hasattr(model, "model_fields")}
    gives_file = declared.operation.openapi_extra == A_FILE
    verb = "download" if gives_file else "upload" if sent else declared.method.lower()
    here = files[0] if len(files) == 1 else PurePosixPath(files[0]).parent
    file = f', "{here}"' if gives_file or sent else ""
    call = f'goldpan.{verb}("{path}"{file}{said})'
    waits = bool(ends_in & {JobShape, RunShape})
    return "\n".join(["import os", "from goldpan_client import Goldpan", "",
                      f'goldpan = Goldpan("{url}", key=os.environ["{KEY}"])',
                      f"print(goldpan.wait({call}))" if waits else f"print({call})"])
