"""Extraction to JSON: what a text says, as an object of the fields that a JSON schema names.

schema: {"json_schema": {"type": "object", "properties": {…}, "required": […]}}; see `projects.schema`. Fields that it
does not name are not allowed.
value: such an object, as `fields.tidied` leaves it: null fields left out, keys and arrays sorted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from labeling.task_types import fields
from labeling.task_types.free_text import one_line
from labeling.task_types.json_answer import read_json
from labeling.task_types.metrics import Counts, Metrics, Parts, check_rows, f1s
from labeling.task_types.prompt import conversation, told, users_turn
from labeling.task_types.textarea import HINT, textarea, textarea_result, written
from labeling.task_types.voting import mean_over_pairs
from labeling.task_types.xml import headers
from projects.schema import SCALARS
from projects.strict_json import parse_strict

HAS_LABELS = False


def validate_data(text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Nothing but the text is needed."""


def task_data(text: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text}


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML: instructions, the text, the fields in words, a box for the JSON.

    Label Studio cannot check JSON: `validate_value` does when the answer comes back.
    """
    told = "\n".join(["Write one JSON object with these fields:", *_described(schema["json_schema"])])
    return "\n".join(["<View>", *headers(instructions), '  <Text name="text" value="$text"/>',
                      *headers(told, HINT), textarea("text", rows=12), "</View>"])


def to_result(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    return textarea_result(json.dumps(canonical(value), ensure_ascii=False, indent=2), "text")


def parse(result: Sequence[Any]) -> dict[str, Any]:
    """Return the object that a Label Studio result holds, canonical. Raises ValueError unless it is one JSON object."""
    return _read(written(result))


def validate_value(value: Mapping[str, Any], schema: Mapping[str, Any], *, text: str = "") -> None:
    """Raises ValueError, naming a field, if the value does not fit the JSON schema, or has fields that it lacks."""
    from jsonschema import Draft202012Validator  # 0.1 s, which not every process needs to spend
    from jsonschema.exceptions import best_match

    parse_strict(json.dumps(value, ensure_ascii=False))  # refuses what no database stores
    error = best_match(Draft202012Validator(_closed(schema["json_schema"])).iter_errors(value))
    if error is not None:
        path = ".".join(map(str, error.absolute_path))
        raise ValueError(f"{f'“{path}”: ' if path else ''}{error.message:.200}")


def canonical(value: Mapping[str, Any]) -> dict[str, Any]:
    return fields.tidied(value)


def agreement(values: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean over the pairs of answers of the share of their fields that are equal, in [0, 1]."""
    return mean_over_pairs(values, fields.similarity)


def consensus(values: Sequence[Mapping[str, Any]], weights: Sequence[float] | None = None) -> dict[str, Any] | None:
    """Return what more than half say, field by field; None if a field has no such majority; see `fields.consensus`."""
    return fields.consensus(values, weights)


def system(schema: Mapping[str, Any], instructions: str = "") -> str:
    return told(instructions, "Answer with one JSON object and nothing else. Its fields:",
                *_described(schema["json_schema"]), "Leave out a field that the text says nothing about.")


def turns(text: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    return users_turn(text)


def render(text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
           instructions: str = "") -> list[dict[str, str]]:
    return conversation(system(schema, instructions), turns(text, data))


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    return _closed(schema["json_schema"])


def to_completion(value: Mapping[str, Any], *, source: str = "") -> str:
    return json.dumps(canonical(value), ensure_ascii=False)


def parse_completion(text: str, schema: Mapping[str, Any], *, source: str = "") -> dict[str, Any]:
    """Return the object that a model wrote, alone or in a code fence, canonical.

    Raises ValueError if it is no JSON object or does not fit the JSON schema.
    """
    value = _read(text)
    validate_value(value, schema)
    return value


def metrics_of(sums: np.ndarray) -> Parts:
    return {"field_f1": f1s(sums[..., 0], sums[..., 1]), "record_exact_match": sums[..., 2] / sums[..., 3]}


def counts(gold: Sequence[Mapping[str, Any]], predicted: Sequence[Mapping[str, Any] | None],
           schema: Mapping[str, Any] | None = None) -> Counts:
    check_rows(gold, predicted)
    rows = []
    for a, b in zip(gold, predicted, strict=True):
        wanted, given = fields.counted(a), fields.counted(b) if b is not None else None
        if given is None:
            rows.append((0, wanted.total() + 1, 0, 1))
        else:
            rows.append(((wanted & given).total(), wanted.total() + given.total(), wanted == given, 1))
    return Counts(np.array(rows, dtype=float), metrics_of)


def score(gold: Sequence[Mapping[str, Any]], predicted: Sequence[Mapping[str, Any] | None]) -> Metrics:
    """Return micro-F1 over fields (primary) and the share of records whose fields are all right.

    An answer that could not be read counts as one wrong field, so that it is never better than an empty object.
    """
    return counts(gold, predicted).metrics


def show(value: Mapping[str, Any], *, source: str = "") -> str:
    return one_line(json.dumps(value, ensure_ascii=False))


def _read(text: str) -> dict[str, Any]:
    value = read_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"the answer must be a JSON object, got {value!r:.100}")
    return canonical(value)


def _closed(part: Mapping[str, Any]) -> dict[str, Any]:
    """The object's schema with no other fields allowed, here and in nested objects; fields by name, as in answers."""
    properties = {name: _closed(field) if field.get("type") == "object" else field
                  for name, field in sorted(part["properties"].items())}
    return {**part, "properties": properties, "additionalProperties": False}


def _described(part: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """A line for every field: its path, type, whether it is required, its description.

    Required ones come first, as the schema lists them, then the others by name: PostgreSQL and frozen manifests do not
    keep the order in which an object was written.
    """
    properties, required_names = part["properties"], part.get("required", [])
    for name in [*required_names, *sorted(properties.keys() - set(required_names))]:
        field = properties[name]
        if field.get("type") == "object":
            yield from _described(field, f"{path}{name}.")
            continue
        kind = f"list of: {_kind(field['items'])}" if field.get("type") == "array" else _kind(field)
        required = "required, " if name in required_names else ""
        note = " ".join(field.get("description", "").split())
        yield f"{path}{name} ({required}{kind}){': ' if note else ''}{note}"


def _kind(field: Mapping[str, Any]) -> str:
    return f"one of {', '.join(field['enum'])}" if "enum" in field else SCALARS[field["type"]]
