"""The chat messages that ask a model for an answer."""

from collections.abc import Mapping, Sequence
from typing import Any


def told(*parts: str) -> str:
    """Return the parts that are not blank, each on lines of its own: what a system message says."""
    return "\n".join(part.strip() for part in parts if part.strip())


def conversation(system: str, turns: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return a system message, if there is something to say, and the turns.

    A system turn among them, which can only be the first, is said behind ours: models take only one.
    """
    own = turns[0]["content"] if turns[0]["role"] == "system" else ""
    said = told(system, own)
    opening = [{"role": "system", "content": said}] if said else []
    return [*opening, *(dict(turn) for turn in (turns[1:] if own else turns))]


def users_turn(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text.strip()}]


def definitions(schema: Mapping[str, Any]) -> str:
    """Return a line for every label that has a description."""
    return "\n".join(f"{label['name']}: {' '.join(label['description'].split())}" for label in schema["labels"]
                     if label.get("description", "").strip())
