"""The cell of a label, or the label of a JSON object, as a value of the project's task type.

classification, preference: the label. response, chat: the answer. multilabel: a JSON list, or names with ; between.
extraction: a JSON object. spans: a JSON list of {"start", "end", "label"}, each with the "text" that it marks if
wanted, which then must be what stands there.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from labeling.reading.records import parsed
from labeling.reading.rows import MAX_NAME_CHARS, MAX_TEXT_CHARS, Bad
from labeling.task_types import task_type
from projects.schema import answer_names

_CHOICES = ("classification", "preference")
_WRITTEN = ("response", "chat")
_SHAPES = {"multilabel": '["one", "another"] or as one; another', "extraction": '{"field": "value"}',
           "spans": '[{"start": 0, "end": 5, "label": "NAME"}]'}


class Labels:
    """What labels may be in a project; remembers the closest names of those that are wrong."""

    def __init__(self, kind: str, schema: Mapping[str, Any]) -> None:
        self._type, self._kind, self._schema = task_type(kind), kind, schema
        self._names = frozenset(answer_names(schema, kind))
        self._is_choice = kind in _CHOICES
        self._closest: dict[str, str] = {}

    def read(self, values: Mapping[str, Any], column: str | None, text: str) -> Any:
        """Return the canonical value in a column; None if it is empty. Raises Bad.

        text: the example's; spans are handed back as they came where it is not known (""), for `check` to finish.
        """
        if self._is_choice:
            name = cell(values, column, MAX_NAME_CHARS)
            if name is not None and name not in self._names:
                raise Bad(self._unknown(name))
            return name
        if self._kind in _WRITTEN:
            answer = cell(values, column, MAX_TEXT_CHARS)
            return None if answer is None else self.check(answer, text)
        given = values.get(column) if column is not None else None
        if isinstance(given, str):
            given = self._from_cell(given.strip())
        return None if given is None else self.check(given, text)

    def check(self, value: Any, text: str) -> Any:
        """Return the value as it is stored. Raises Bad if it is none that the project can have."""
        if unknown := next((name for name in self._names_in(value) if name not in self._names), None):
            raise Bad(self._unknown(unknown))
        given, value = value, self._plain(value)
        try:
            self._type.validate_value(value, self._schema, text=text)
        except ValueError as error:
            raise Bad(f"the label cannot be used: {error!s:.300}".rstrip(".") + ". Correct it or remove the row.") \
                from None
        if self._kind != "spans":
            return self._type.canonical(value)
        if not text:
            return given
        _check_words(given, text)
        return self._type.canonical(value)

    def _from_cell(self, given: str) -> Any:
        if not given:
            return None
        if self._kind == "multilabel" and (given in self._names or not given.startswith("[")):
            return [given] if given in self._names else [name.strip() for name in given.split(";") if name.strip()]
        try:
            return parsed(given)
        except Bad as reason:
            raise Bad(f"the label cannot be read: {reason} Write it as {_SHAPES[self._kind]}.") from None

    def _names_in(self, value: Any) -> Iterator[str]:
        """The names of labels in the value of a type that has labels, as far as they are text."""
        if self._is_choice and isinstance(value, str):
            yield value
        elif self._kind in ("multilabel", "spans") and isinstance(value, list):
            for part in value:
                name = part.get("label") if isinstance(part, dict) else part
                if isinstance(name, str):
                    yield name

    def _plain(self, value: Any) -> Any:
        """The value without what only a file has: empty fields of an object, the words of a span."""
        if self._kind == "extraction" and isinstance(value, dict):
            return self._type.canonical(value)
        if self._kind == "spans" and isinstance(value, list):
            return [{name: part for name, part in span.items() if name != "text"} if isinstance(span, dict) else span
                    for span in value]
        return value

    def _unknown(self, name: str) -> str:
        if name not in self._closest and len(self._closest) < 1000:  # a look-up costs a millisecond
            folded = {other.casefold(): other for other in self._names}
            close = difflib.get_close_matches(name.casefold(), folded, n=1)
            self._closest[name] = f" Did you mean “{folded[close[0]]}”?" if close else ""
        closest = self._closest.get(name) or " Correct it, or add it to the project's labels."
        return f"“{name[:MAX_NAME_CHARS]}” is none of the project's labels.{closest}"


def _check_words(spans: list[dict[str, Any]], text: str) -> None:
    """Raises Bad if a span names other words than those that stand between its ends."""
    for span in spans:
        words, there = span.get("text"), text[span["start"]:span["end"]]
        if words is not None and words != there:
            raise Bad(f"the span {span['start']}–{span['end']} is said to be {words!r:.60}, but {there!r:.60} stands "
                      "there. Count characters (code points) from 0; the end is the first one after the span.")


def cell(values: Mapping[str, Any], column: str | None, max_chars: int) -> str | None:
    """The cell without the white space around it, a number as text; None if it is empty or not there."""
    if column is None:
        return None
    found = values.get(column)
    if not isinstance(found, str):
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise Bad(f"“{column}” is neither text nor a number. Write it in quotes.")
        found = str(found)
    found = found.strip()
    if len(found) > max_chars:
        raise Bad(f"“{column}” has {len(found):,} characters; at most {max_chars} are allowed. Shorten it.")
    return found or None
