"""What a project of each task type is set up with: its labels, its JSON schema, its limits; whoever writes them.

classification, multilabel, spans: {"labels": [{"name": "refund", "description": "wants the money back"}, …]}
extraction: {"json_schema": {"type": "object", "properties": {…}, "required": […]}}
response, chat: {"max_chars": 2000, "guidance": "…"}, both optional
preference: {"allow_tie": true}, optional, true if left out
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

MAX_LABELS = 200
MAX_LABEL_CHARS = 100
MAX_DESCRIPTION_CHARS = 500
MAX_FIELDS = 100
MAX_GUIDANCE_CHARS = 5000
MAX_ANSWER_CHARS = 100_000
# Label Studio replaces "$name" in a label or a header by the task's field of that name.
FIELD_REFERENCE = re.compile(r"\$(?=[\w\[.])")
# The metric that a type of task is judged by: the first one that `score` of its module in labeling.task_types gives.
METRICS = {"classification": "accuracy", "multilabel": "macro_f1", "response": "rouge_l", "extraction": "field_f1",
           "preference": "accuracy", "spans": "strict_f1", "chat": "rouge_l"}
SCALARS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "yes or no"}


def validate_schema(schema: Mapping[str, Any], task_type: str = "classification") -> None:
    """Raises ValueError, in words for the person who wrote it, if the schema cannot be used for this type of task."""
    if task_type not in _VALIDATORS:
        raise ValueError(f"The task type is one of {', '.join(TASK_TYPES)}; got “{task_type}”.")
    if not isinstance(schema, Mapping):
        raise ValueError(f"The schema is an object, got {schema!r:.100}.")
    _VALIDATORS[task_type](schema)


def label_names(schema: Mapping[str, Any]) -> list[str]:
    """The names of the labels, in the schema's order."""
    return [label["name"] for label in schema["labels"]]


def answer_names(schema: Mapping[str, Any], task_type: str) -> list[str]:
    """What an answer can be or is made of, in the schema's order; [] where it is free."""
    if task_type == "preference":
        return ["left", "right", *(["tie"] if schema.get("allow_tie", True) else [])]
    return label_names(schema) if "labels" in schema else []


# Labels


def _validate_choice(schema: Mapping[str, Any]) -> None:
    _validate_labels(schema, at_least=2)


def _validate_any_labels(schema: Mapping[str, Any]) -> None:
    _validate_labels(schema, at_least=1)


def _validate_labels(schema: Mapping[str, Any], *, at_least: int) -> None:
    labels = schema.get("labels")
    if not isinstance(labels, list) or not all(
            isinstance(label, Mapping) and isinstance(label.get("name"), str)
            and isinstance(label.get("description", ""), str) for label in labels):
        raise ValueError("The schema needs “labels”, a list of objects with a name and, if wanted, a description.")
    if not at_least <= len(labels) <= MAX_LABELS:
        raise ValueError(f"Give between {at_least} and {MAX_LABELS} labels; there are {len(labels)}.")
    seen: dict[str, str] = {}
    for label in labels:
        name = label["name"]
        _validate_name(name)
        _validate_description(name, label.get("description", ""))
        folded = _folded(name)
        if folded in seen:
            raise ValueError(f"The labels “{seen[folded]}” and “{name}” read the same. Rename one.")
        seen[folded] = name


def _folded(name: str) -> str:
    """What an answer is compared by: names that are equal here could not be told apart in a model's answer."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _validate_name(name: str) -> None:
    if not name.strip():
        raise ValueError("A label is empty. Name it or remove it.")
    if len(name) > MAX_LABEL_CHARS:
        raise ValueError(f"The label “{name[:30]}…” has {len(name)} characters; at most {MAX_LABEL_CHARS} are allowed.")
    if _has_control(name):
        raise ValueError(f"The label {name!a} has a control character or a line break. Type it anew.")
    if name != " ".join(name.split()):
        raise ValueError(f"The label “{name.strip()}” has spaces at an end or twice in a row. Remove them.")
    if FIELD_REFERENCE.search(name):
        raise ValueError(f"The label “{name}” has a $ before a word, which Label Studio reads as a field's name. "
                         "Write it without the $.")


def _validate_description(name: str, description: str) -> None:
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise ValueError(f"The description of “{name}” has {len(description)} characters; at most "
                         f"{MAX_DESCRIPTION_CHARS} are allowed.")
    if _has_control(" ".join(description.split())):
        raise ValueError(f"The description of “{name}” has a control character. Type it anew.")


def _has_control(text: str) -> bool:
    """Whether a character is a control, a lone surrogate or a line separator; joiners stay, scripts need them."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


# Extraction: a small part of JSON Schema 2020-12, without anything that could reach for the network or run for ever


def _validate_extraction(schema: Mapping[str, Any]) -> None:
    json_schema = schema.get("json_schema")
    if not isinstance(json_schema, Mapping) or json_schema.get("type") != "object":
        raise ValueError("The schema needs “json_schema”, a JSON Schema of type “object” with “properties”.")
    _only_known(schema, {"json_schema"}, "The schema")
    if (n_fields := _validate_object("", json_schema, depth=0)) > MAX_FIELDS:
        raise ValueError(f"The JSON schema has {n_fields} fields; at most {MAX_FIELDS} are allowed.")


def _validate_object(path: str, part: Mapping[str, Any], depth: int) -> int:
    """Check an object's schema and return how many fields it has, those of its nested objects included."""
    where = f"“{path}”" if path else "The JSON schema"
    known = {"type", "title", "description", "properties", "required", "additionalProperties"}
    _only_known(part, known if depth else known | {"$schema"}, where)
    _validate_note(where, part)
    properties = part.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        raise ValueError(f"{where} needs “properties” with at least one field.")
    required = part.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) and name in properties for name in required) \
            or len(set(required)) < len(required):
        raise ValueError(f"“required” of {where} is a list of names of its fields, each once; got {required!r:.100}.")
    if part.get("additionalProperties", False) is not False:
        raise ValueError(f"{where} cannot allow other fields than those it names. Remove “additionalProperties”.")
    return sum(_validate_field(f"{path}.{_field_name(name, where)}".lstrip("."), field, depth)
               for name, field in properties.items())


def _field_name(name: object, where: str) -> str:
    if not isinstance(name, str) or not name or len(name) > MAX_LABEL_CHARS or _has_control(name) \
            or name != name.strip():
        raise ValueError(f"A field of {where} is named {name!a:.120}. A name has 1 to {MAX_LABEL_CHARS} characters, "
                         "no control characters and no spaces at its ends.")
    return name


def _validate_field(path: str, field: object, depth: int) -> int:
    if not isinstance(field, Mapping):
        raise ValueError(f"“{path}” is an object with a “type”, got {field!r:.100}.")
    kind = field.get("type", "string" if "enum" in field else None)
    if kind == "object" and depth == 0:
        return _validate_object(path, field, depth + 1)
    if kind == "object":
        raise ValueError(f"“{path}” is an object in an object in an object. Objects may be nested one level deep.")
    if kind == "array":
        _only_known(field, {"type", "title", "description", "items"}, f"“{path}”")
        _validate_note(f"“{path}”", field)
        _validate_scalar(f"{path}[]", field.get("items"))
    else:
        _validate_scalar(path, field)
    return 1


def _validate_scalar(path: str, field: object) -> None:
    kinds = ", ".join(SCALARS)
    if not isinstance(field, Mapping):
        raise ValueError(f"“{path}” needs a schema with a “type” of {kinds}; got {field!r:.100}.")
    _only_known(field, {"type", "title", "description", "enum"}, f"“{path}”")
    kind = field.get("type", "string" if "enum" in field else None)
    if not isinstance(kind, str) or kind not in SCALARS:
        raise ValueError(f"The type of “{path}” is one of {kinds}, array or object; got {kind!r:.100}.")
    _validate_note(f"“{path}”", field)
    if "enum" not in field:
        return
    values = field["enum"]
    if kind != "string" or not isinstance(values, list) or not 1 <= len(values) <= MAX_LABELS \
            or not all(isinstance(value, str) and value and value == value.strip() and not _has_control(value)
                       for value in values) or len(set(values)) < len(values):
        raise ValueError(f"“enum” of “{path}” is a list of 1 to {MAX_LABELS} different texts without spaces at their "
                         f"ends; got {values!r:.100}.")


def _validate_note(where: str, part: Mapping[str, Any]) -> None:
    for key in ("title", "description"):
        note = part.get(key, "")
        if not isinstance(note, str) or len(note) > MAX_DESCRIPTION_CHARS or _has_control(" ".join(note.split())):
            raise ValueError(f"“{key}” of {where} is a text of at most {MAX_DESCRIPTION_CHARS} characters without "
                             f"control characters; got {note!a:.100}.")


# Free text and preference


def _validate_writing(schema: Mapping[str, Any]) -> None:
    _only_known(schema, {"max_chars", "guidance"}, "The schema")
    limit = schema.get("max_chars", 1)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_ANSWER_CHARS:
        raise ValueError(f"“max_chars” is a whole number from 1 to {MAX_ANSWER_CHARS}; got {limit!r:.100}.")
    guidance = schema.get("guidance", "")
    if not isinstance(guidance, str) or len(guidance) > MAX_GUIDANCE_CHARS \
            or _has_control(" ".join(guidance.split())):
        raise ValueError(f"“guidance” is a text of at most {MAX_GUIDANCE_CHARS} characters without control "
                         f"characters; got {guidance!a:.100}.")


def _validate_preference(schema: Mapping[str, Any]) -> None:
    _only_known(schema, {"allow_tie"}, "The schema")
    if not isinstance(schema.get("allow_tie", True), bool):
        raise ValueError(f"“allow_tie” is true or false; got {schema['allow_tie']!r:.100}.")


def _only_known(part: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(str(key) for key in part if key not in known)
    if unknown:
        raise ValueError(f"{where} has “{unknown[0]:.50}”, which is not supported. It may have "
                         f"{', '.join(sorted(known))}.")


_VALIDATORS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "classification": _validate_choice,
    "multilabel": _validate_any_labels,
    "response": _validate_writing,
    "extraction": _validate_extraction,
    "preference": _validate_preference,
    "spans": _validate_any_labels,
    "chat": _validate_writing,
}
TASK_TYPES = tuple(_VALIDATORS)
