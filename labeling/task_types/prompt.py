"""The chat messages that ask a model for an answer."""

from collections.abc import Mapping, Sequence
from typing import Any


def messages(system: Sequence[str], user: str) -> list[dict[str, str]]:
    """Return a system message of the parts that are not blank, a line each, and the user's turn."""
    told = "\n".join(part.strip() for part in system if part.strip())
    opening = [{"role": "system", "content": told}] if told else []
    return [*opening, {"role": "user", "content": user.strip()}]


def definitions(schema: Mapping[str, Any]) -> str:
    """Return a line for every label that has a description."""
    return "\n".join(f"{label['name']}: {' '.join(label['description'].split())}" for label in schema["labels"]
                     if label.get("description", "").strip())
