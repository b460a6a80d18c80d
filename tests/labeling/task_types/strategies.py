"""Schemas, examples and values of every type of task, for properties that hold for all of them."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from labeling.texts import normalise
from projects.schema import validate_schema

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
WRITTEN = TEXTS.filter(str.strip)
HOSTILE = st.sampled_from([
    '"/><Text name="x"', "a' b\" <c> &amp;", "]]>", "- a", "a, b", "a", "b", "a_b", "5 $", "👨‍👩‍👧", "*!*",
    "“a”", "12. a", "```", "é☕"])


@dataclass(frozen=True)
class Case:
    name: str
    schema: dict[str, Any]
    text: str
    data: dict[str, Any]
    value: Any


def is_label(name: str) -> bool:
    try:
        validate_schema({"labels": [{"name": name}]}, "multilabel")
    except ValueError:
        return False
    return True


NAMES = (HOSTILE | TEXTS.map(lambda text: " ".join(text.split()))).filter(is_label)
LABELS = st.lists(NAMES, min_size=2, max_size=12, unique_by=normalise).map(
    lambda names: {"labels": [{"name": name, "description": name} for name in names]})


def labels_of(schema: dict[str, Any]) -> Any:
    return st.sampled_from([label["name"] for label in schema["labels"]])


@st.composite
def classifications(draw: Any) -> Case:
    schema = draw(LABELS)
    return Case("classification", schema, draw(WRITTEN), {}, draw(labels_of(schema)))


@st.composite
def multilabels(draw: Any) -> Case:
    schema = draw(LABELS)
    return Case("multilabel", schema, draw(WRITTEN), {}, draw(st.lists(labels_of(schema), min_size=1, unique=True)))


@st.composite
def responses(draw: Any) -> Case:
    return Case("response", draw(st.sampled_from([{}, {"max_chars": 60, "guidance": "Be <brief> & $kind."}])),
                draw(WRITTEN), {}, draw(WRITTEN))


@st.composite
def chats(draw: Any) -> Case:
    turns = draw(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), WRITTEN), max_size=3))
    system = draw(st.lists(st.tuples(st.just("system"), WRITTEN), max_size=1))
    messages = [{"role": role, "content": content} for role, content in [*system, *turns, ("user", draw(WRITTEN))]]
    return Case("chat", {"max_chars": 60}, "", {"messages": messages, "hidden": 1}, draw(WRITTEN))


@st.composite
def preferences(draw: Any) -> Case:
    left, right = draw(WRITTEN), draw(WRITTEN)
    return Case("preference", {}, draw(WRITTEN), {"left": left, "right": f"{right}.{left}", "hidden": 1},
                draw(st.sampled_from(["left", "right", "tie"])))


@st.composite
def spans(draw: Any) -> Case:
    schema = draw(LABELS)
    text = draw(st.text("ab 😀é\n\"", min_size=1, max_size=30).filter(str.strip))
    starts = st.integers(0, len(text) - 1)
    pairs = draw(st.lists(st.tuples(starts, st.integers(1, 5), labels_of(schema)), max_size=6))
    value = {(start, min(start + length, len(text)), label) for start, length, label in pairs}
    return Case("spans", schema, text, {}, [{"start": start, "end": end, "label": label} for start, end, label in value
                                            if text[start:end].strip()])


KINDS = {
    "string": TEXTS, "number": st.floats(-1e9, 1e9) | st.integers(-10, 10), "integer": st.integers(-10, 10),
    "boolean": st.booleans(),
}
FIELD_NAMES = st.text("abc.é \"<", min_size=1, max_size=4).filter(lambda name: name == name.strip())


@st.composite
def fields(draw: Any, nested: bool = True) -> tuple[dict[str, Any], Any]:
    """A field's schema and a strategy of its values."""
    kind = draw(st.sampled_from([*KINDS, "enum", "array", *(["object"] if nested else [])]))
    if kind == "enum":
        values = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
        return {"enum": values}, st.sampled_from(values)
    if kind == "array":
        return {"type": "array", "items": {"type": "string"}}, st.lists(TEXTS, max_size=3)
    if kind == "object":
        return draw(objects(nested=False))
    return {"type": kind, "description": draw(st.sampled_from(["", "how <much> $x\nper \"year\""]))}, KINDS[kind]


@st.composite
def objects(draw: Any, nested: bool = True) -> tuple[dict[str, Any], Any]:
    parts = draw(st.dictionaries(FIELD_NAMES, fields(nested), min_size=1, max_size=4))
    required = [name for name in parts if draw(st.booleans())]
    schema = {"type": "object", "properties": {name: part for name, (part, _) in parts.items()}, "required": required}
    values = {name: value for name, (_, value) in parts.items()}
    return schema, st.fixed_dictionaries({name: values[name] for name in required},
                                         optional={name: values[name] for name in values if name not in required})


@st.composite
def extractions(draw: Any) -> Case:
    schema, values = draw(objects())
    return Case("extraction", {"json_schema": schema}, draw(WRITTEN), {}, draw(values))


CASES = {"classification": classifications, "multilabel": multilabels, "response": responses, "extraction": extractions,
         "preference": preferences, "spans": spans, "chat": chats}
