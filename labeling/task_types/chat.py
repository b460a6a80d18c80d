"""Chat: the next answer in a conversation, in the annotator's own words.

schema: {"max_chars": 2000, "guidance": "what a good answer is"}, both optional.
data: {"messages": [{"role": "user", "content": "…"}, …]}, a user's turn last, a system turn first or not at all.
value: the answer, a str without white space at its ends.
"""

from collections.abc import Mapping
from typing import Any

from labeling.task_types.free_text import check_storable, rules
from labeling.task_types.prompt import conversation
from labeling.task_types.response import (  # an answer is an answer, whatever it answers
    agreement,
    answer_schema,
    canonical,
    consensus,
    counts,
    metrics_of,
    parse,
    parse_completion,
    score,
    show,
    system,
    to_completion,
    validate_value,
)
from labeling.task_types.textarea import HINT, textarea, textarea_result
from labeling.task_types.xml import headers

__all__ = ["HAS_LABELS", "agreement", "answer_schema", "canonical", "consensus", "counts", "label_config",
           "metrics_of", "parse", "parse_completion", "render", "score", "show", "system", "task_data", "to_completion",
           "to_result", "turns", "validate_data", "validate_value"]

HAS_LABELS = False
ROLES = ("system", "user", "assistant")


def validate_data(text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raises ValueError unless “messages” is a conversation that ends with a user's turn."""
    turns = data.get("messages")
    if not isinstance(turns, list) or not turns:
        raise ValueError("A chat needs “messages”, a list of objects with “role” and “content”.")
    for position, turn in enumerate(turns, 1):
        if not isinstance(turn, Mapping) or turn.get("role") not in ROLES or not isinstance(turn.get("content"), str):
            raise ValueError(f"Message {position} needs a “role” of {', '.join(ROLES)} and a “content” that is text; "
                             f"got {turn!r:.100}.")
        if not turn["content"].strip():
            raise ValueError(f"Message {position} is empty.")
        check_storable(turn["content"])
        if turn["role"] == "system" and position > 1:
            raise ValueError(f"Message {position} is a system turn; only the first may be one.")
    if turns[-1]["role"] != "user":
        raise ValueError(f"The last message is the {turns[-1]['role']}'s. A chat ends with a user's turn, which the "
                         "answer follows.")


def task_data(text: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text, "messages": _turns(data)}


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML: instructions and guidance, the conversation, a box for the next answer."""
    return "\n".join([
        "<View>", *headers(instructions, rules(schema)),
        '  <Paragraphs name="messages" value="$messages" layout="dialogue" nameKey="role" textKey="content"/>',
        *headers(HINT), textarea("messages", rows=8), "</View>"])


def to_result(value: str) -> list[dict[str, Any]]:
    return textarea_result(value, "messages")


def turns(text: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the conversation, its own system turn included."""
    return _turns(data)


def render(text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
           instructions: str = "") -> list[dict[str, str]]:
    """Return the conversation, the instructions before its own system turn if it has one: models take only one."""
    return conversation(system(schema, instructions), turns(text, data))


def _turns(data: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"role": turn["role"], "content": turn["content"]} for turn in data["messages"]]
