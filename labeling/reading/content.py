"""What an example is made of: its text, and the answers or turns that its type of task asks about."""

from collections.abc import Mapping as Values
from typing import Any

from labeling.reading.records import parsed
from labeling.reading.rows import FIELDS, MAX_TEXT_CHARS, Bad, Mapping
from labeling.task_types import task_type


class Contents:
    """Reads what an example of this type is made of from a row's values."""

    def __init__(self, mapping: Mapping, kind: str, schema: Values[str, Any]) -> None:
        self._mapping, self._type, self._schema = mapping, task_type(kind), schema
        self._mapped = frozenset(column for column in mapping.as_dict().values() if column is not None)
        self._columns = {name: mapping.column(name) for name in FIELDS.get(kind, ())}
        self._is_chat = kind == "chat"

    def read(self, values: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
        """Return the text, the data, and the answer that a chat ends with, if it does and no column has it.

        Raises Bad.
        """
        data = {column: value for column, value in values.items() if column not in self._mapped}
        answer = self._add_fields(values, data) if self._columns else None
        text = self._text(values) if self._mapping.text_column is not None else ""
        try:
            self._type.validate_data(text, data, self._schema)
        except ValueError as error:
            raise Bad(f"{str(error).rstrip('.')}. Correct it or remove the row.") from None
        return text or _fitting(_as_text(data["messages"])), data, answer

    def _add_fields(self, values: dict[str, Any], data: dict[str, Any]) -> str | None:
        """Put what the type asks about into the data; return the answer that a chat ends with."""
        for name, column in self._columns.items():
            if name in data:
                raise Bad(f"there is a “{name}” beside “{column}”, which was chosen for it. Rename or remove it.")
            found = values.get(column) if column is not None else None
            if name != "messages" and (found is None or found == ""):
                raise Bad(f"“{column}” is empty, where an answer should be. Fill it in or remove the row.")
            data[name] = _turns(found) if name == "messages" else found
        return self._answer(data) if self._is_chat else None

    def _answer(self, data: dict[str, Any]) -> str | None:
        """Take the assistant's turn from the end of a conversation: it is an answer to what comes before."""
        turns = data["messages"]
        if self._mapping.label_column is not None or not isinstance(turns, list) or len(turns) < 2:
            return None
        last = turns[-1]
        if not isinstance(last, dict) or last.get("role") != "assistant" or not isinstance(last.get("content"), str):
            return None
        data["messages"] = turns[:-1]
        return str(last["content"])

    def _text(self, values: dict[str, Any]) -> str:
        column = str(self._mapping.text_column)
        text = values.get(column)
        if not isinstance(text, str):
            if text is None:
                raise Bad(f"there is no “{column}” among: {', '.join(values)[:300]}. Add it or remove the row.")
            raise Bad(f"“{column}” is no text. Write it in quotes.")
        if not text or text.isspace():
            raise Bad("the text is empty. Fill it in or remove the row.")
        return _fitting(text)


def _turns(found: Any) -> Any:
    """The messages; a cell holds them as JSON."""
    if not isinstance(found, str):
        return found
    try:
        return parsed(found) if found.strip() else None
    except Bad as reason:
        raise Bad(f"the messages cannot be read: {reason} Write them as "
                  '[{"role": "user", "content": "…"}, …].') from None


def _fitting(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:
        raise Bad(f"the text has {len(text):,} characters; at most {MAX_TEXT_CHARS:,} are allowed. Shorten it.")
    return text


def _as_text(turns: list[dict[str, str]]) -> str:
    """A conversation as people read it in a list."""
    return "\n\n".join(f"{turn['role']}: {turn['content'].strip()}" for turn in turns)
