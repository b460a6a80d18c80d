"""The Python client: against Goldpan's own server as docs/api.md shows it, and against a server that lets it down."""

import json
import os
import re
import runpy
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from curation.models import Snapshot
from jobs import services as jobs
from jobs.models import Job
from projects.services import create_api_key
from tests.training.conftest import encode_here

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "goldpan_client.py"
MODULE = runpy.run_path(str(CLIENT), run_name="goldpan_client")
Goldpan, GoldpanError, JobFailed = MODULE["Goldpan"], MODULE["GoldpanError"], MODULE["JobFailed"]
WORDS = {"negative": "awful sad bad", "neutral": "plain usual so so", "positive": "lovely happy good"}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have waited; nobody waits in tests."""
    waited: list[float] = []
    monkeypatch.setattr(MODULE["time"], "sleep", waited.append)
    return waited


class Script(BaseHTTPRequestHandler):
    """Answers in turn as `server.answers` says: (status, headers, body), or None to hang up."""

    def handle_any(self) -> None:
        n = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(n)))  # type: ignore[attr-defined]
        answer = self.server.answers.pop(0)  # type: ignore[attr-defined]
        if answer is None:
            self.connection.close()
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = handle_any

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Script)
    server.answers, server.asked = [], []  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def said(status: int, value: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(value).encode()


def test_a_request_is_sent_again_under_the_same_key_until_it_is_answered(server, waits):
    server.answers = [None, said(503, {}), said(429, {}, Retry_After="7"), said(201, {"id": 1})]
    assert Goldpan(server.url, key="gp_x").post("/projects/1/prompts", name="a") == {"id": 1}
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in server.asked}) == 1 and len(server.asked) == 4
    assert 0.25 <= waits[0] <= 0.5 and 0.5 <= waits[1] <= 1 and waits[2] == 7
    Goldpan(server.url, key="gp_x", tries=1)
    server.answers = [said(201, {})]
    Goldpan(server.url, key="gp_x").post("/projects/1/prompts", name="a")
    assert server.asked[-1][2]["Idempotency-Key"] != server.asked[0][2]["Idempotency-Key"], "a new wish has a new key"


def test_an_error_has_the_problems_words_and_is_not_sent_again(server):
    server.answers = [said(422, {"detail": "Not so.", "errors": [{"pointer": "#/name", "detail": "too short"}]})]
    with pytest.raises(GoldpanError, match=r"Not so\. #/name: too short\.") as caught:
        Goldpan(server.url, key="gp_x").post("/projects/1/prompts")
    assert caught.value.status == 422 and len(server.asked) == 1


def test_an_error_without_words_says_its_status(server):
    server.answers = [(502, {}, b"<html>")] * 5
    with pytest.raises(GoldpanError, match="Status 502"):
        Goldpan(server.url, key="gp_x").get("/projects")
    assert len(server.asked) == 5


def test_a_key_does_not_follow_a_redirect(server):
    server.answers = [said(302, {}, Location="http://elsewhere.invalid/")]
    with pytest.raises(GoldpanError, match="Status 302"):
        Goldpan(server.url, key="gp_x").get("/projects")


def test_a_key_is_not_shown():
    assert "gp_secret" not in repr(Goldpan("http://localhost", key="gp_secret"))
    with pytest.raises(ValueError, match="http"):
        Goldpan("file:///etc", key="gp_x")


def test_pages_are_asked_for_until_there_are_no_more(server):
    server.answers = [said(200, {"items": [1, 2], "next": "abc"}), said(200, {"items": [3], "next": None})]
    assert list(Goldpan(server.url, key="gp_x").pages("/projects", is_label_issue=True, q=None)) == [1, 2, 3]
    assert [path for _, path, _, _ in server.asked] == [
        "/api/v1/projects?limit=100&is_label_issue=true", "/api/v1/projects?cursor=abc&limit=100&is_label_issue=true"]


def test_a_job_that_fails_is_raised_in_its_words_and_one_that_lasts_too_long_too(server):
    job = {"id": 7, "title": "Scoring", "state": "running", "error": ""}
    server.answers = [said(200, job), said(200, job | {"state": "failed", "error": "There are no labels."})]
    with pytest.raises(JobFailed, match=r"Scoring \(job 7\) failed\. There are no labels\."):
        Goldpan(server.url, key="gp_x").wait({"id": 3, "job": job})
    server.answers = [said(200, job)] * 2
    with pytest.raises(TimeoutError, match="job 7 is running"):
        Goldpan(server.url, key="gp_x").wait(7, seconds=-1)


def test_of_a_folder_every_file_is_sent(server, tmp_path):
    server.answers = [said(201, {"id": 1})] * 2
    goldpan = Goldpan(server.url, key="gp_x")
    for name in ("b.json", "a.txt"):
        (tmp_path / name).write_text(f"in {name}")
    goldpan.upload("/runs/1/result", tmp_path)
    goldpan.upload("/projects/1/uploads", tmp_path / "a.txt")
    folder, one = (body.decode() for *_, body in server.asked)
    assert re.findall(r'name="(\w+)"; filename="([\w.]+)"', folder) == [("files", "a.txt"), ("files", "b.json")]
    assert "in a.txt" in folder and "in b.json" in folder
    assert re.findall(r'name="(\w+)"; filename="([\w.]+)"', one) == [("file", "a.txt")]


def test_a_download_is_there_whole_or_not_at_all(server, tmp_path):
    server.answers = [(200, {}, b"rows"), *[said(404, {"detail": "Gone."})]]
    goldpan, target = Goldpan(server.url, key="gp_x"), tmp_path / "gold.jsonl"
    assert goldpan.download("/snapshots/1/file", target).read_bytes() == b"rows"
    with pytest.raises(GoldpanError):
        goldpan.download("/snapshots/2/file", target)
    assert target.read_bytes() == b"rows" and list(tmp_path.iterdir()) == [target]


# As docs/api.md shows it, on Goldpan's own server

def test_the_guides_program_runs_as_it_stands(served, project, bob, tmp_path, monkeypatch, waits):
    """While it would wait for a job, the job is run."""
    monkeypatch.setattr("curation.services.embeddings.run_child", encode_here)
    monkeypatch.setattr(MODULE["time"], "sleep", lambda seconds: run_waiting())
    monkeypatch.setitem(os.environ, "GOLDPAN_URL", served)
    monkeypatch.setitem(os.environ, "GOLDPAN_KEY", create_api_key(
        project, name="guide", scopes=["read", "write"], by=bob)[1])
    monkeypatch.setitem(__import__("sys").modules, "goldpan_client", as_module())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples.csv").write_text("text,label,annotator\n" + "".join(
        f"text number {n} is {words} {n % 7},{label},{who}\n" for n in range(60)
        for label, words in [list(WORDS.items())[n % 3]] for who in ("mira", "jon", "kim")))
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    exec(compile(program, "docs/api.md", "exec"), {})
    snapshot = Snapshot.objects.get()
    lines = (tmp_path / "gold.jsonl").read_text().splitlines()
    assert len(lines) == sum(snapshot.counts[split] for split in ("train", "dev", "test")) > 10
    assert snapshot.created_by == bob


def run_waiting() -> None:
    for job in Job.objects.filter(state=Job.State.queued):
        jobs.run(job.pk, heartbeat=False)


def as_module() -> Any:
    import types

    module = types.ModuleType("goldpan_client")
    vars(module).update(MODULE)
    return module


def test_the_guide_names_every_operation_rightly() -> None:
    from goldpan.api.joined import api

    known = {f"{one.method} {one.path.removeprefix('/v1')}" for one in api.operations()}
    named = re.findall(r"`((?:GET|POST|PUT) /[^`]*)`", (ROOT / "docs" / "api.md").read_text())
    assert named and set(named) <= known
