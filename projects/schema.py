"""The labels of a project: what may be one, whoever writes them."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

MAX_LABELS = 200
MAX_LABEL_CHARS = 100
MAX_DESCRIPTION_CHARS = 500
# Label Studio replaces "$name" in a label or a header by the task's field of that name.
FIELD_REFERENCE = re.compile(r"\$(?=[\w\[.])")


def validate_schema(schema: Mapping[str, Any]) -> None:
    """Raises ValueError, in words for the person who wrote the labels, if the schema cannot be used."""
    labels = schema.get("labels")
    if not isinstance(labels, list) or not all(
            isinstance(label, Mapping) and isinstance(label.get("name"), str)
            and isinstance(label.get("description", ""), str) for label in labels):
        raise ValueError("The schema needs “labels”, a list of objects with a name and, if wanted, a description.")
    if not 2 <= len(labels) <= MAX_LABELS:
        raise ValueError(f"Give between 2 and {MAX_LABELS} labels; there are {len(labels)}.")
    seen: dict[str, str] = {}
    for label in labels:
        name = label["name"]
        _validate_name(name)
        _validate_description(name, label.get("description", ""))
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            raise ValueError(f"The labels “{seen[folded]}” and “{name}” read the same. Rename one.")
        seen[folded] = name


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
