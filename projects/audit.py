"""The hash chain of audit events, without a database: how an event becomes a sha256, and whether a chain holds."""

import hashlib
from collections.abc import Iterable
from typing import Any

import rfc8785

FIRST = "0" * 64  # what the first event of a chain names as its predecessor


def event_sha256(previous_sha256: str, *, sequence: int, who: str, what: str, detail: dict[str, Any], at: str) -> str:
    """Return the hash of one event and all before it: sha256(previous hash + RFC 8785 bytes of the event).

    at: ISO 8601 in UTC. detail: JSON-able, no NaN, integers within ±2^53.
    """
    body = rfc8785.dumps({"sequence": sequence, "who": who, "what": what, "detail": detail, "at": at})
    return hashlib.sha256(previous_sha256.encode() + body).hexdigest()


def first_broken(events: Iterable[dict[str, Any]]) -> int | None:
    """Return the sequence number at which the chain breaks, or None if it holds.

    events: in order, each with sequence, who, what, detail, at, previous_sha256 and sha256.
    """
    previous, expected = FIRST, 1
    for event in events:
        fields = {name: event[name] for name in ("sequence", "who", "what", "detail", "at")}
        if (event["sequence"] != expected or event["previous_sha256"] != previous
                or event["sha256"] != event_sha256(previous, **fields)):
            return expected
        previous, expected = event["sha256"], expected + 1
    return None
