import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connections
from django.test import Client
from django.test.testcases import LiveServerThread

from projects.models import Project
from projects.services import create_api_key


class Program:
    """A program with a key: `program.get("/projects/1")` is the answer, its JSON parsed in `.data`."""

    def __init__(self, secret: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {secret}"})

    def get(self, path: str, **headers: str) -> Any:
        return with_data(self.client.get(f"/api/v1{path}", headers=headers))

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return with_data(self.client.post(f"/api/v1{path}", {} if body is None else body, "application/json",
                                          headers={name.replace("_", "-"): value for name, value in headers.items()}))

    def put(self, path: str, body: Any) -> Any:
        return with_data(self.client.put(f"/api/v1{path}", body, "application/json"))

    def upload(self, path: str, file: Any, **form: str) -> Any:
        return with_data(self.client.post(f"/api/v1{path}", {"file": file, **form}))


def with_data(response: Any) -> Any:
    kind = response.get("Content-Type", "")
    response.data = response.json() if "json" in kind and response.content else None
    return response


@pytest.fixture
def program_of(project: Project) -> Callable[..., Program]:
    def program(user: User, *scopes: str, of: Project | None = None) -> Program:
        return Program(create_api_key(of or project, name="test", scopes=scopes or ("read", "write"), by=user)[1])

    return program


@pytest.fixture
def served(db: None) -> Iterator[str]:
    """The address of a server over the test's own connection and transaction: trusted rows could not be flushed."""
    one_at_a_time = threading.Lock()

    def static(app: Any) -> Any:
        handler = StaticFilesHandler(app)

        def answer(environ: Any, start_response: Any) -> Any:
            with one_at_a_time:
                return handler(environ, start_response)
        return answer

    connection = connections["default"]
    if connection.vendor != "sqlite":
        pytest.skip("the server's end would close a connection that is no memory")
    connection.inc_thread_sharing()
    server = LiveServerThread("localhost", cast(Any, static), connections_override={"default": connection})
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    yield f"http://localhost:{server.port}"
    server.terminate()
    connection.dec_thread_sharing()
