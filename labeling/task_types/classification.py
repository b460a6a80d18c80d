"""Single-label classification: a text gets exactly one of the schema's labels.

schema: {"labels": [{"name": "refund", "description": "wants the money back"}, …]}, the description optional.
value: a label's name, a str.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from labeling.texts import normalise
from projects.schema import FIELD_REFERENCE

N_HOTKEYS = 9


def label_names(schema: Mapping[str, Any]) -> list[str]:
    """The names of the labels, in the schema's order."""
    return [label["name"] for label in schema["labels"]]


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
    return quoteattr(FIELD_REFERENCE.sub("$\N{WORD JOINER}", " ".join(text.split())))


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
