"""Reading the result of a Label Studio annotation, which anybody with an account there may have written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def values_of(result: Sequence[Any], from_name: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """Yield the "value" of every item that this control made, in the result's order; others are passed over.

    from_name: the control's name in the config; kind: its type, for example "choices".
    Raises ValueError if an item is no object with a value.
    """
    for item in result:
        if not isinstance(item, Mapping) or not isinstance(item.get("value"), Mapping):
            raise ValueError(f"a result must be an object with a value, got {item!r:.100}")
        if item.get("from_name") == from_name and item.get("type") == kind:
            yield item["value"]


def texts_of(value: Mapping[str, Any], key: str, what: str) -> list[str]:
    """Return the texts that a value has under a key, a list as Label Studio writes it or one text.

    Raises ValueError, calling it `what`, if one of them is not text or is empty.
    """
    found = value.get(key)
    texts: list[str] = []
    for text in found if isinstance(found, list) else [found]:
        if not isinstance(text, str) or not text:
            raise ValueError(f"{what} must be text, got {text!r:.100}")
        texts.append(text)
    return texts
