"""Signatures of what webhooks send, so that a receiver knows who sent it, and when.

The form is that of Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA256 over "<id>.<timestamp>.<body>", in the
header webhook-signature as "v1,<base64>", several of them with spaces between while a secret is exchanged.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
REPLAY_SECONDS = 300  # what a receiver should allow between the timestamp and its own clock


def new_secret() -> str:
    """32 random bytes in base64, with the prefix by which people and scanners of code know what it is."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, *, id: str, timestamp: int, body: bytes) -> str:
    """Return "v1,<base64>" of one secret. timestamp: seconds since 1970.

    Raises ValueError for a secret that is not the prefix and base64.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"a webhook's secret begins with {PREFIX}")
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    mac = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


def signed_headers(keys: Sequence[str], *, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers by which a receiver checks a body.

    keys: the secret, and while it is exchanged the one before it, too; a receiver needs to know only one of them.
    """
    return {"webhook-id": id, "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signature(key, id=id, timestamp=timestamp, body=body) for key in keys)}
