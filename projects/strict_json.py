"""JSON from strangers: what the standard parser lets through and a database or a hash would choke on is refused."""

import json
from collections import Counter
from typing import Any

MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1  # the largest that every reader of JSON keeps exactly


def parse_strict(text: bytes | str) -> Any:
    """Return the value of one JSON text.

    Raises ValueError, with the reason in words, for anything that is not UTF-8 JSON, and for: an object that names
    a key twice, NaN or Infinity, a number too large for a double, an integer beyond 2^53 - 1, nesting deeper than
    MAX_DEPTH, and strings or keys that hold U+0000 or half of a surrogate pair.
    """
    if isinstance(text, bytes):
        text = _decoded(text)
    if text.startswith("\ufeff"):
        raise ValueError("The text starts with a byte order mark (U+FEFF).")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_integer,
                           parse_float=_float)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"This is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise ValueError(f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    _check(value)
    return value


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"This is not UTF-8: byte {error.start} is 0x{text[error.start]:02x}.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"The key {_short(ascii(twice))} stands twice in one object.")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number.")


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise ValueError(f"The integer {_short(digits)} is beyond 2^53 - 1; write it as a string.")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"The number {_short(digits)} is too large.")
    return value


def _check(value: Any) -> None:
    """Walk the parsed value without recursion and check its depth and its strings."""
    waiting = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, str):
            _check_string(part)
        elif isinstance(part, dict | list):
            if depth > MAX_DEPTH:
                raise ValueError(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
            if isinstance(part, dict):
                waiting.extend((key, depth) for key in part)
                part = part.values()
            waiting.extend((inner, depth + 1) for inner in part)


def _check_string(text: str) -> None:
    if "\0" in text:
        raise ValueError(f"The string {_short(ascii(text))} holds U+0000, which a database cannot store.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"The string {_short(ascii(text))} holds half of a surrogate pair.") from None


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"
