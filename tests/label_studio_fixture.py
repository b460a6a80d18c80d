"""A real Label Studio server for the tests marked `labelstudio`: one per session, on data of its own.

The migrated database is cached in var/ and built by the first run of all (40 s).
"""

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.child import die_with_parent
from labeling.label_studio import bootstrap_token
from labeling.label_studio_server import command, prepare, template_path, wait_until_up

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("GOLDPAN_LABEL_STUDIO_BINARY", ROOT / ".venv-ls" / "bin" / "label-studio"))


class Server:
    """The server under test: its address, its admin, a token of theirs, and its switch."""

    def __init__(self, data_dir: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data_dir = data_dir
        self.url = f"http://localhost:{self.port}"
        self.email, self.password, self.secret_key = "admin@goldpan.test", secrets.token_hex(8), secrets.token_hex(32)
        self.token = ""

    def start(self) -> None:
        argv, environment = command(BINARY, self.data_dir, port=self.port, secret_key=self.secret_key,
                                    admin_email=self.email, admin_password=self.password)
        with (self.data_dir / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=die_with_parent)
        wait_until_up(self.url, lambda: self.process.poll() is None, 120)

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not BINARY.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no Label Studio at {BINARY}; run make setup")
    server = Server(tmp_path_factory.mktemp("label-studio"))
    prepare(server.data_dir, template_path(ROOT / "var", BINARY), BINARY)
    try:
        server.start()
        server.token = bootstrap_token(server.url, server.email, server.password)
        yield server
    finally:
        if hasattr(server, "process"):
            server.stop()
