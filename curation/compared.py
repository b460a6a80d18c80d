"""By which text an example is near to others, and which text its answer is to."""

from collections.abc import Mapping
from typing import Any


def compared_text(task_type: str, text: str, data: Mapping[str, Any]) -> str:
    """Return the text to embed: of a comparison with both answers, of a chat the whole conversation.

    “Yes, please.” ends a thousand unlike conversations, and two comparisons of one question need not share an answer.
    """
    if task_type == "preference":
        return f"{text}\n\n{data.get('left', '')}\n\n{data.get('right', '')}"
    if task_type == "chat" and data.get("messages"):
        return "\n".join(turn["content"] for turn in data["messages"])
    return text


def asked_text(task_type: str, text: str, data: Mapping[str, Any]) -> str:
    """Return the text that an answer is to: of a chat its last turn."""
    return str(data["messages"][-1]["content"]) if task_type == "chat" and data.get("messages") else text
