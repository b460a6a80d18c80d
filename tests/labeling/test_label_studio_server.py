import socket
import sqlite3
import stat
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from labeling.label_studio_server import (
    ServerError,
    command,
    port_is_taken,
    prepare,
    server_version,
    template_path,
    wait_until_up,
)

INIT = """#!/bin/sh
echo "$@" >> "{log}"
env >> "{log}"
sleep 0.3
cd "$LABEL_STUDIO_BASE_DATA_DIR"
{python} -c "import sqlite3; sqlite3.connect('label_studio.sqlite3').execute('create table task (id)')"
exit {code}
"""


@pytest.fixture
def fake_binary(tmp_path):
    """A function that makes a label-studio program which creates a database and writes down how it was called."""
    def make(code=0):
        binary = tmp_path / "bin" / "label-studio"
        binary.parent.mkdir()
        binary.write_text(INIT.format(log=tmp_path / "calls", python=sys.executable, code=code))
        binary.chmod(0o755)
        return binary
    return make


@pytest.fixture
def listening():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_template_is_built_once_and_only_its_owner_can_read_the_copy(fake_binary, tmp_path):
    binary, said = fake_binary(), []
    folders = [tmp_path / f"data{i}" for i in range(3)]
    starts = [threading.Thread(target=prepare, args=(folder, tmp_path / "cache" / "template.sqlite3", binary),
                               kwargs={"say": said.append}) for folder in folders]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert [mode(folder) for folder in folders] == [0o700] * 3
    assert [mode(folder / "label_studio.sqlite3") for folder in folders] == [0o600] * 3
    assert len(said) == 1 and "40 seconds" in said[0]
    assert (tmp_path / "calls").read_text().count("init --quiet\n") == 1
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["template.lock", "template.sqlite3"]


def test_a_database_that_is_there_stays(fake_binary, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "label_studio.sqlite3").write_text("mine")
    prepare(tmp_path / "data", tmp_path / "template.sqlite3", fake_binary())
    assert (tmp_path / "data" / "label_studio.sqlite3").read_text() == "mine"
    assert not (tmp_path / "template.sqlite3").exists()


def test_a_failed_build_says_why_and_leaves_nothing(fake_binary, tmp_path):
    with pytest.raises(ServerError, match="exit code 3"):
        prepare(tmp_path / "data", tmp_path / "cache" / "template.sqlite3", fake_binary(code=3))
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["template.lock"]
    assert not (tmp_path / "data" / "label_studio.sqlite3").exists()


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(ServerError, match="make setup"):
        template_path(tmp_path, tmp_path / "bin" / "label-studio")


def test_nothing_of_our_environment_reaches_label_studio(fake_binary, tmp_path, monkeypatch):
    for name in ("GOLDPAN_FERNET_KEY", "PASSWORD", "PORT", "DEBUG", "DATABASE_URL", "PYTHONPATH", "LABEL_STUDIO_HOST"):
        monkeypatch.setenv(name, "ours")
    argv, environment = command(fake_binary(), tmp_path, port=1, secret_key="k", admin_email="e", admin_password="p")
    assert "ours" not in environment.values()
    assert argv[1:] == [
        "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", "1", "--log-level", "WARNING"]
    assert (environment["SECRET_KEY"], environment["LABEL_STUDIO_USERNAME"], environment["LABEL_STUDIO_PASSWORD"]) == (
        "k", "e", "p")
    prepare(tmp_path / "data", tmp_path / "template.sqlite3", tmp_path / "bin" / "label-studio")
    calls = (tmp_path / "calls").read_text()
    assert "ours" not in calls
    assert "LABEL_STUDIO_USERNAME" not in calls  # the template has no user


def test_a_taken_port_is_refused(fake_binary, tmp_path, listening):
    assert port_is_taken(listening)
    with pytest.raises(ServerError, match=f"Port {listening} is taken"):
        command(fake_binary(), tmp_path, port=listening, secret_key="k", admin_email="e", admin_password="p")


def test_waiting_ends_when_the_server_is_well():
    class Handler(BaseHTTPRequestHandler):
        n_calls = 0

        def do_GET(self):
            Handler.n_calls += 1
            body = b'{"status": "UP"}' if Handler.n_calls > 2 else b"<html>loading</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        wait_until_up(f"http://127.0.0.1:{server.server_port}", lambda: True, 10)
        server.shutdown()
    assert Handler.n_calls == 3


def test_waiting_ends_when_the_process_does_or_the_time_is_over():
    with pytest.raises(ServerError, match="ended while it was starting"):
        wait_until_up("http://127.0.0.1:1", lambda: False, 10)
    with pytest.raises(ServerError, match="not up after 0 seconds"):
        wait_until_up("http://127.0.0.1:1", lambda: True, 0.2)


@pytest.mark.labelstudio
def test_the_template_holds_no_user_and_no_token(label_studio_server):
    from tests.label_studio_fixture import BINARY, ROOT
    assert server_version(BINARY) == "1.23.2"
    database = sqlite3.connect(f"file:{template_path(ROOT / 'var', BINARY)}?mode=ro", uri=True)
    for table in ("htx_user", "authtoken_token", "organization", "django_session"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()


@pytest.mark.labelstudio
def test_the_running_server_is_closed_to_strangers(label_studio_server):
    server = label_studio_server
    with sqlite3.connect(f"file:{server.data_dir / 'label_studio.sqlite3'}?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT email FROM htx_user ORDER BY id").fetchone() == (server.email,)
        [(legacy,)] = database.execute("SELECT key FROM authtoken_token ORDER BY user_id LIMIT 1").fetchall()
    database.close()
    assert httpx.get(f"{server.url}/api/projects/", headers={"Authorization": f"Token {legacy}"}).status_code == 401
    assert httpx.get(f"{server.url}/api/projects/").status_code == 401
    with httpx.Client(base_url=server.url, headers={"Referer": server.url}) as browser:
        browser.get("/user/signup/")
        answer = browser.post("/user/signup/", data={"email": "stranger@goldpan.test", "password": "long enough",
                                                     "csrfmiddlewaretoken": browser.cookies["csrftoken"]})
    assert answer.status_code == 403
    if Path("/proc/net/tcp").exists():  # Linux
        listening = Path("/proc/net/tcp").read_text()
        assert f"0100007F:{server.port:04X}" in listening and f"00000000:{server.port:04X}" not in listening
    assert not (server.data_dir / ".env").exists()  # it would hold a key that Label Studio made itself
