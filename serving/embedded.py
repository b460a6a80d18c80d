"""The embedded model as a backend: asks the model's own process over a socket in the data folder.

A question and its answer are lines of JSON on one connection: {"pieces": …} as they come, then {"reply": …} or
{"error": …}. Who closes the connection is not answered any more.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.answering import Busy, Question, Reply, Served, Unanswerable, Unavailable
from training.prompts import prompt_to_json

CONNECT_SECONDS = 5.0
PATIENCE_SECONDS = 300.0  # for the next piece: a model may have to be loaded first


class EmbeddedModel:
    """address: the socket on which `manage.py serve_model` listens."""

    def __init__(self, address: Path) -> None:
        self.address = address

    def ask(self, served: Served, question: Question) -> Iterator[str | Reply]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONNECT_SECONDS)
            try:
                connection.connect(str(self.address))
                connection.sendall(json.dumps(request_of(served, question)).encode() + b"\n")
                connection.settimeout(PATIENCE_SECONDS)
                with connection.makefile("rb") as lines:
                    for line in lines:
                        said = _said(json.loads(line))
                        yield said
                        if isinstance(said, Reply):
                            return
            except TimeoutError:
                raise Unavailable(f"The model said nothing for {PATIENCE_SECONDS:.0f} s.") from None
            except OSError:
                raise Unavailable("The model's process is not there; it is being started. Ask again.") from None
        raise Unavailable("The model's process ended in the middle of the answer; it is being started anew. Ask again.")


def request_of(served: Served, question: Question) -> dict[str, Any]:
    """What the model's process is told."""
    most = served.max_new_tokens
    if question.max_new_tokens is not None:
        most = min(most, question.max_new_tokens)
    return {"adapter": str(served.adapter) if served.adapter else None, "prompt": prompt_to_json(served.prompt),
            "examples": str(served.examples) if served.examples else None,
            "row": {"text": question.text, "data": dict(question.data)},
            "max_new_tokens": 0 if served.prompt.has_labels else most}


def _said(line: dict[str, Any]) -> str | Reply:
    if "piece" in line:
        return str(line["piece"])
    if "reply" in line:
        reply = line["reply"]
        return Reply(**{**reply, "scores": tuple(reply["scores"]) if reply.get("scores") is not None else None,
                        "label_tokens": tuple(reply.get("label_tokens", ()))})
    error = line["error"]
    if error["kind"] == "busy":
        raise Busy(error["message"], error["retry_after"])
    if error["kind"] == "unanswerable":
        raise Unanswerable(error["message"])
    raise Unavailable(error["message"])
