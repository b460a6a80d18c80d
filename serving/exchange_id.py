"""The id of an exchange says who answered and when, and is signed.

So feedback can be held to be about an answer of ours although nothing of that answer was kept: it was not in the
sample, it is past its retention, or its log was lost with a process.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass

PREFIX = "ex-"
_LAYOUT = struct.Struct(">IIQI10s")  # project, deployment, milliseconds since 1970, exposure, random
_MAC_BYTES = 12


@dataclass(frozen=True)
class Named:
    """What an id says. milliseconds: since 1970, UTC. exposure: to an arm of an A/B test, 0 outside of one."""

    project: int
    deployment: int
    milliseconds: int
    exposure: int = 0


def new_id(named: Named, *, secret: str) -> str:
    """Return an id that nobody else can make, different at every call."""
    body = _LAYOUT.pack(named.project, named.deployment, named.milliseconds, named.exposure, secrets.token_bytes(10))
    return PREFIX + base64.urlsafe_b64encode(body + _mac(body, secret)).decode()


def read_id(said: str, *, secret: str) -> Named:
    """Return what an id says. Raises ValueError if it is none of ours."""
    try:
        raw = base64.b64decode(said.removeprefix(PREFIX).encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    body, mac = raw[:_LAYOUT.size], raw[_LAYOUT.size:]
    if not said.startswith(PREFIX) or len(body) != _LAYOUT.size or not hmac.compare_digest(mac, _mac(body, secret)):
        raise ValueError(f"“{said:.80}” is no id of an exchange.")
    project, deployment, milliseconds, exposure, _ = _LAYOUT.unpack(body)
    return Named(project, deployment, milliseconds, exposure)


def _mac(body: bytes, secret: str) -> bytes:
    return hmac.new(hashlib.sha256(f"exchange {secret}".encode()).digest(), body, hashlib.sha256).digest()[:_MAC_BYTES]
