"""A receiver of webhooks on this machine: it answers as it is told and keeps what came."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """came: (path, headers, body) of every request. answers: the statuses of the next ones, then `status` for ever."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}/hook"
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.status, self.text = 200, "thanks"
        self.release = threading.Event()  # a request to /slow waits for it
        self.release_after = 20.0

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.came.append((path, headers, body))
        return self.answers.pop(0) if self.answers else self.status


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = here.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            if self.path == "/slow":
                here.release.wait(here.release_after)
            self.send_response(status)
            for name, value in here.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(here.text.encode())))
            self.end_headers()
            self.wfile.write(here.text.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        here.release.set()
        server.shutdown()
        server.server_close()
