"""Single-label classification: a text gets exactly one of the schema's labels.

schema: {"labels": [{"name": "refund", "description": "wants the money back"}, …]}, the description optional.
value: a label's name, a str.
"""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from labeling.texts import normalise

MAX_LABELS = 200
MAX_LABEL_CHARS = 100
MAX_DESCRIPTION_CHARS = 500
N_HOTKEYS = 9
# Label Studio replaces "$name" in a label or a header by the task's field of that name.
_FIELD_REFERENCE = re.compile(r"\$(?=[\w\[.])")


def label_names(schema: Mapping[str, Any]) -> list[str]:
    """The names of the labels, in the schema's order."""
    return [label["name"] for label in schema["labels"]]


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
        if normalise(name) in seen:
            raise ValueError(f"The labels “{seen[normalise(name)]}” and “{name}” read the same. Rename one.")
        seen[normalise(name)] = name


def _validate_name(name: str) -> None:
    if not name.strip():
        raise ValueError("A label is empty. Name it or remove it.")
    if len(name) > MAX_LABEL_CHARS:
        raise ValueError(f"The label “{name[:30]}…” has {len(name)} characters; at most {MAX_LABEL_CHARS} are allowed.")
    if _has_control(name):
        raise ValueError(f"The label {name!a} has a control character or a line break. Type it anew.")
    if name != " ".join(name.split()):
        raise ValueError(f"The label “{name.strip()}” has spaces at an end or twice in a row. Remove them.")
    if _FIELD_REFERENCE.search(name):
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


def validate_value(value: str, schema: Mapping[str, Any]) -> None:
    """Raises ValueError if the value is none of the schema's labels."""
    if value not in label_names(schema):
        raise ValueError(f"“{value}” is none of the labels: {', '.join(label_names(schema))}.")


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML for this schema, the instructions above the text; keys 1 to 9 choose a label."""
    many = len(schema["labels"]) > N_HOTKEYS
    headers = [f'  <Header size="6" value={_attribute(line)}/>' for line in instructions.splitlines() if line.strip()]
    search = ['  <Filter name="filter" toName="label" minlength="0" placeholder="Find a label"/>'] if many else []
    choices = [_choice(label, position) for position, label in enumerate(schema["labels"], 1)]
    return "\n".join([
        "<View>", *headers, '  <Text name="text" value="$text"/>', *search,
        '  <Choices name="label" toName="text" choice="single-radio" required="true" '
        f'showInline="{"false" if many else "true"}">', *choices, "  </Choices>", "</View>"])


def _choice(label: Mapping[str, str], position: int) -> str:
    description = label.get("description", "")
    hint = f" hint={_attribute(description)}" if description.strip() else ""
    hotkey = f' hotkey="{position}"' if position <= N_HOTKEYS else ""
    return f"    <Choice value={quoteattr(label['name'])}{hint}{hotkey}/>"


def _attribute(text: str) -> str:
    """The text on one line as a quoted XML attribute; an unseen character keeps "$100" from being a field's name."""
    return quoteattr(_FIELD_REFERENCE.sub("$\N{WORD JOINER}", " ".join(text.split())))


def to_result(value: str) -> list[dict[str, Any]]:
    """Return the value as the result of a Label Studio annotation or prediction."""
    return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [value]}}]


def parse(result: Sequence[Any]) -> str:
    """Return the label that a Label Studio result chose.

    Raises ValueError, naming what is wrong, unless the result chose exactly one label.
    """
    chosen: list[object] = []
    for item in result:
        if not isinstance(item, Mapping) or not isinstance(item.get("value"), Mapping):
            raise ValueError(f"a result must be an object with a value, got {item!r:.100}")
        if item.get("from_name") == "label" and item.get("type") == "choices":
            choices = item["value"].get("choices")
            chosen += choices if isinstance(choices, list) else [choices]
    if not chosen:
        raise ValueError("no label was chosen")
    if len(chosen) > 1:
        raise ValueError(f"{len(chosen)} labels were chosen, expected one: {chosen!r:.100}")
    if not isinstance(chosen[0], str) or not chosen[0]:
        raise ValueError(f"a label must be text, got {chosen[0]!r:.100}")
    return chosen[0]


def agreement(values: Sequence[str]) -> float:
    """Return the share, in [0, 1], of the pairs of answers to one example that agree.

    Raises ValueError if there are fewer than two answers.
    """
    if len(values) < 2:
        raise ValueError(f"agreement needs at least 2 answers, got {len(values)}")
    pairs = list(itertools.combinations(values, 2))
    return sum(a == b for a, b in pairs) / len(pairs)


def consensus(values: Sequence[str]) -> str | None:
    """Return the label that most answers gave; None on a tie or without an answer."""
    most = Counter(values).most_common(2)
    if not most or (len(most) == 2 and most[0][1] == most[1][1]):
        return None
    return most[0][0]


def to_completion(value: str) -> str:
    """Return what a model should write for this value."""
    return value


def parse_completion(text: str, schema: Mapping[str, Any]) -> str:
    """Return the label that a model's answer names, whatever its case, quotes or final full stop.

    Only the first line that is not empty counts, and it must be a label alone: an answer that talks is not an answer.
    Raises ValueError if it is none of the schema's labels.
    """
    line = next((line for line in text.splitlines() if line.strip()), "")
    by_name = {normalise(name): name for name in label_names(schema)}
    for reading in (line, line.strip(" \t\"'`*.,:;!“”‘’")):
        if (name := by_name.get(normalise(reading))) is not None:
            return name
    raise ValueError(f"the answer {line!r:.100} is none of the labels")
