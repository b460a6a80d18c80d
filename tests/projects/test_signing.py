"""Signatures of webhooks: read by the library that Standard Webhooks gives to receivers."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from projects.signing import new_secret, signature, signed_headers

BODY = json.dumps({"type": "run.finished", "title": "Größe"}, ensure_ascii=False).encode()


def test_the_example_of_the_specification() -> None:
    """Values of the test vectors that its libraries share."""
    assert signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id="msg_p5jXN8AQM9LWM0D4loKWxJek",
                     timestamp=1614265330, body=b'{"test": 2432232314}') == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")


@given(st.binary(max_size=200).map(lambda raw: json.dumps({"x": raw.hex()}).encode()))
def test_a_receiver_accepts_what_was_signed_and_nothing_else(body: bytes) -> None:
    secret = new_secret()
    headers = signed_headers([secret], id="d1", timestamp=int(time.time()), body=body)
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    for wrong in (body + b" ", body.replace(b"x", b"y")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(wrong, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, {**headers, "webhook-id": "d2"})


def test_an_old_signature_is_refused_by_the_receiver() -> None:
    secret = new_secret()
    headers = signed_headers([secret], id="d1", timestamp=int(time.time()) - 301, body=BODY)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, headers)


def test_while_a_secret_is_exchanged_either_opens() -> None:
    new, old = new_secret(), new_secret()
    headers = signed_headers([new, old], id="d1", timestamp=int(time.time()), body=BODY)
    assert Webhook(new).verify(BODY, headers) == Webhook(old).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_a_secret_is_256_random_bits() -> None:
    assert len({new_secret() for _ in range(50)}) == 50 and all(len(new_secret()) == 50 for _ in range(3))
    with pytest.raises(ValueError, match="begins with whsec_"):
        signature("MfKQ9r8G", id="d", timestamp=1, body=b"")
