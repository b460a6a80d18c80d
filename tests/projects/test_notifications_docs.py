"""docs/notifications.md says what is there: the catalogue, the body and the receiver's code are held against ours."""

import json
import re
import time
from pathlib import Path

from projects.events import EVENTS
from projects.models import Notice, WebhookDelivery
from projects.services.sending import body_of
from projects.services.webhooks import create_webhook
from projects.signing import new_secret, signed_headers
from tests.projects.test_notify import tell

TEXT = (Path(__file__).parent.parent.parent / "docs" / "notifications.md").read_text()


def test_the_catalogue_is_the_one_in_the_code():
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (.+) \| (.+) \| `(.+)` \|$", TEXT, re.MULTILINE)
    assert {name: (words, roles, json.loads(data)) for name, words, roles, data in rows} == {
        name: (event.words, ", ".join(event.roles), event.data) for name, event in EVENTS.items()}


def test_the_body_has_the_keys_that_are_shown(project, alice):
    shown = json.loads(re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)[0])
    create_webhook(project, url="https://hooks.example.org", events=["run.finished"], by=alice)
    tell(project)
    sent = json.loads(body_of(WebhookDelivery.objects.get()))
    assert list(sent) == list(shown) and sent["data"] == shown["data"] and Notice.objects.count() == 1


def test_the_receivers_code_works():
    names = {}
    exec(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0], names)
    check, secret, body = names["is_from_goldpan"], new_secret(), b'{"x": 1}'
    now = int(time.time())
    headers = signed_headers([new_secret(), secret], id="d", timestamp=now, body=body)
    assert check(secret, headers, body) and not check(secret, headers, body + b" ") and not check(
        new_secret(), headers, body)
    assert not check(secret, signed_headers([secret], id="d", timestamp=now - 301, body=body), body)
