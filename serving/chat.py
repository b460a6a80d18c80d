"""OpenAI's chat completions, as far as a model that was evaluated for one task can answer them.

The project's own prompt asks the model, as it did at the evaluation: of a request only the text counts. Sampling
settings have no effect, since the likeliest answer is what was evaluated. What would change the answer's meaning is
refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.answering import Answer, Question, Reply

REFUSED = {  # what a request may not ask for, and why
    "tools": "This model answers one task and calls no tools.",
    "functions": "This model answers one task and calls no functions.",
    "logprobs": "Log-probabilities of tokens are not kept; the predict route gives the probability of each label.",
    "audio": "This model reads and writes text only.",
    "stop": "An answer ends where the model ends it, as it did at the evaluation.",
}


class BadRequest(ValueError):
    """The request cannot be answered as it is; the words say what to change. code: a name that programs can tell."""

    def __init__(self, message: str, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class ChatRequest:
    """model: whom to ask, as written. is_streamed: piece by piece. wants_usage: the tokens at a stream's end, too."""

    model: str
    question: Question
    is_streamed: bool
    wants_usage: bool


def read_chat(body: Mapping[str, Any], *, task_type: str) -> ChatRequest:
    """Read a request for a project of this type of task. Raises BadRequest in words."""
    for name, why in REFUSED.items():
        if body.get(name) not in (None, False, [], {}):
            raise BadRequest(f"“{name}” is not possible here. {why}", "unsupported_parameter")
    if body.get("n") not in (None, 1):
        raise BadRequest("“n” has to be 1: there is one likeliest answer.", "unsupported_parameter")
    model, stream = body.get("model", ""), body.get("stream") or False
    if not isinstance(model, str) or not isinstance(stream, bool):
        raise BadRequest("“model” has to be a text, and “stream” true or false.")
    options = body.get("stream_options") or {}
    return ChatRequest(model, Question(*_asked(_turns(body.get("messages")), task_type), max_new_tokens=_most(body)),
                       stream, isinstance(options, Mapping) and options.get("include_usage") is True)


def _most(body: Mapping[str, Any]) -> int | None:
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise BadRequest(f"“max_tokens” has to be a whole number from 1 up, got {most!r:.40}.")
    return most


def _turns(messages: Any) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("“messages” has to be a list of messages; the last one is the user's.")
    turns = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping) or message.get("role") not in ("system", "developer", "user", "assistant"):
            raise BadRequest(f"Message {number} needs a role: system, user or assistant.")
        role = "system" if message["role"] == "developer" else str(message["role"])
        turns.append({"role": role, "content": _content(message.get("content"), number)})
    if turns[-1]["role"] != "user":
        raise BadRequest("The last message has to be the user's: the answer follows it.")
    return turns


def _content(content: Any, number: int) -> str:
    """A message's text; it may come in parts."""
    if isinstance(content, list):
        if not all(isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
                   for part in content):
            raise BadRequest(f"Message {number} has a part that is no text; this model reads text only.")
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str) or not content.strip():
        raise BadRequest(f"Message {number} is empty.")
    return content


def _asked(turns: Sequence[dict[str, str]], task_type: str) -> tuple[str, dict[str, Any]]:
    """The text and the data of the example that the messages ask about."""
    if task_type == "chat":
        return "\n\n".join(f"{turn['role']}: {turn['content'].strip()}" for turn in turns), {"messages": list(turns)}
    if task_type == "preference":
        raise BadRequest("A comparison needs a text and two answers, which messages cannot say. Ask the predict route: "
                         '{"text": …, "data": {"left": …, "right": …}}.')
    if any(turn["role"] == "system" for turn in turns):
        raise BadRequest("Leave the system message out: the project's own prompt, which was evaluated, asks the model. "
                         "To change the prompt write one in Goldpan.", "unsupported_system_message")
    if len(turns) > 1:
        raise BadRequest(f"This model answers one text, not a conversation of {len(turns)} messages. Send one user "
                         "message with the text.")
    return turns[0]["content"], {}


def completion(exchange: str, model: str, created: int, answer: Answer, reply: Reply) -> dict[str, Any]:
    """The answer as OpenAI's object. created: seconds since 1970."""
    return {"id": exchange, "object": "chat.completion", "created": created, "model": model, "choices": [{
        "index": 0, "finish_reason": "stop" if reply.is_whole else "length", "logprobs": None,
        "message": {"role": "assistant", "content": answer.text, "refusal": reply.refusal or None}}],
        "usage": usage(answer, reply)}


def usage(answer: Answer, reply: Reply) -> dict[str, int]:
    asked, said = reply.prompt_tokens or 0, answer.answer_tokens or 0
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def chunk(exchange: str, model: str, created: int, *, delta: Mapping[str, Any] | None = None, finish: str | None = None,
          used: Mapping[str, int] | None = None) -> bytes:
    """One server-sent event of a stream; without a delta and an end it carries the usage alone."""
    choices = [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": finish, "logprobs": None}]
    return _event({"id": exchange, "object": "chat.completion.chunk", "created": created, "model": model,
                   "choices": choices, "usage": dict(used) if used else None})


def failed_chunk(message: str, code: str) -> bytes:
    """An error in the middle of a stream, as OpenAI's clients raise it."""
    return _event({"error": error(message, "server_error", code)})


DONE = b"data: [DONE]\n\n"


def _event(body: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def error(message: str, kind: str, code: str) -> dict[str, Any]:
    """What stands under “error” in an answer that is none."""
    return {"message": message, "type": kind, "param": None, "code": code}
