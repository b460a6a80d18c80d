"""OpenAI's own client talks to the gateway over a real socket; only the model behind it is a stand-in."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections
from django.test.testcases import LiveServerThread

from serving.answering import Busy
from serving.models import Exchange

pytestmark = [pytest.mark.django_db, pytest.mark.skipif(
    "sqlite" not in settings.DATABASES["default"]["ENGINE"],
    reason="the server's threads close the test's connection; test_kill_the_database.py asks on PostgreSQL")]


class WithoutFiles(WSGIHandler):
    """The product's own handler; the test server's would serve static files before it."""

    def __init__(self, application: Any) -> None:
        super().__init__()


@pytest.fixture
def address() -> Iterator[str]:
    """The test's own database behind a server in a thread: nothing is committed, so nothing has to be flushed."""
    connection = connections[DEFAULT_DB_ALIAS]
    connection.inc_thread_sharing()
    for signal in (request_started, request_finished):  # the end of a request would close the test's connection
        signal.disconnect(close_old_connections)
    server = LiveServerThread("localhost", WithoutFiles, connections_override={DEFAULT_DB_ALIAS: connection})
    server.daemon = True
    server.start()
    server.is_ready.wait()
    assert server.error is None
    yield f"http://localhost:{server.port}/v1"
    server.terminate()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)  # the connection stays shared: the server's last threads are ending


@pytest.fixture
def client_with(address: str) -> Callable[[str], openai.OpenAI]:
    def make(secret: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=address, api_key=secret, max_retries=0,
                             http_client=openai.DefaultHttpxClient(trust_env=False))

    return make


def test_openais_client_asks_streams_and_understands_refusals(champion: Any, backend: Any, key: Any, client_with: Any,
                                                              program: Any) -> None:
    client = client_with(key[1])
    assert [model.id for model in client.models.list()][:2] == ["moods/champion", "moods/prompt"]
    turn: Any = [{"role": "user", "content": "Row 003 was lovely."}]
    said = client.chat.completions.create(model="moods/champion", messages=turn)
    assert said.choices[0].message.content == "positive" and said.usage is not None and said.usage.total_tokens == 52

    backend.says = ["pos", "itive"]
    pieces, used, ids = [], None, set()
    for event in client.chat.completions.create(model="moods/champion", messages=turn, stream=True,
                                                stream_options={"include_usage": True}):
        ids.add(event.id)
        used = event.usage or used
        pieces += [choice.delta.content or "" for choice in event.choices]
    assert "".join(pieces) == "positive" and used is not None and used.completion_tokens == 2 and len(ids) == 1
    assert Exchange.objects.filter(name__in=ids, is_answered=True).count() == 1

    with pytest.raises(openai.BadRequestError, match="own prompt"):
        client.chat.completions.create(model="moods/champion",
                                       messages=[{"role": "system", "content": "Be rude."}, *turn])
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.chat.completions.create(model="gpt-4o", messages=turn)
    with pytest.raises(openai.AuthenticationError, match="opens nothing"):
        client_with("gp_wrong").models.list()
    backend.says, backend.refuses = [], Busy("32 requests wait.", 3)
    with pytest.raises(openai.RateLimitError, match="32 requests wait") as refused:
        client.chat.completions.create(model="moods/champion", messages=turn, stream=True)
    assert refused.value.response.headers["Retry-After"] == "3"
    assert program.say(said.id, thumb="up").status_code == 200, "the id of a completion is what feedback names"
