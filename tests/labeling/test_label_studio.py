"""The first part holds for the fake and for a real server alike; the second needs the real one; the third none."""

import inspect
import json
import sqlite3
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from labeling import label_studio
from labeling.label_studio import (
    Ambiguous,
    AuthFailed,
    Invalid,
    LabelStudio,
    NotFound,
    TaskIn,
    Unavailable,
    bootstrap_token,
)
from labeling.task_types.classification import label_config, parse, to_result
from projects.schema import validate_schema
from tests.fake_label_studio import FakeLabelStudio

CONFIG = label_config({"labels": [{"name": "good"}, {"name": "bad"}]}, "Is it good?\nA bill over $100 is bad.")


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.labelstudio)])
def studio(request):
    if request.param == "fake":
        return FakeLabelStudio()
    server = request.getfixturevalue("label_studio_server")
    return LabelStudio(server.url, server.token)


@pytest.fixture
def real(label_studio_server):
    return LabelStudio(label_studio_server.url, label_studio_server.token)


def title():
    return f"test {uuid.uuid4().hex[:12]}"


def tasks(n, batch="b", first=0):
    return [TaskIn(f"key-{i}", {"text": f"text {i}"}, batch) for i in range(first, first + n)]


def pulled(studio, ls_project_id, since=None):
    return {task.key: task for task in studio.pull_changes(ls_project_id, since)}


# For the fake and the real one


def test_a_project_is_found_by_its_title_until_it_is_deleted(studio):
    name = title()
    assert studio.find_project(name) is None
    ls_project_id = studio.create_project(name, CONFIG, 3)
    assert studio.find_project(name) == ls_project_id
    assert studio.find_project(name[:-1]) is None
    assert "good" in studio.project(ls_project_id).label_config
    studio.delete_project(ls_project_id)
    assert studio.find_project(name) is None
    for call in (lambda: studio.project(ls_project_id), lambda: studio.import_tasks(ls_project_id, tasks(1)),
                 lambda: list(studio.pull_changes(ls_project_id, None)),
                 lambda: list(studio.scan_identities(ls_project_id)), lambda: studio.delete_tasks(ls_project_id, [1]),
                 lambda: studio.delete_project(ls_project_id)):
        with pytest.raises(NotFound):
            call()


def test_imported_tasks_keep_their_order_key_and_batch(studio):
    ls_project_id = studio.create_project(title(), CONFIG, 1)
    assert studio.import_tasks(ls_project_id, []) == []
    first = studio.import_tasks(ls_project_id, tasks(3, "one"))
    second = studio.import_tasks(ls_project_id, tasks(2, "two", first=3))
    assert list(studio.scan_identities(ls_project_id)) == [
        (first[0], "key-0", "one"), (first[1], "key-1", "one"), (first[2], "key-2", "one"),
        (second[0], "key-3", "two"), (second[1], "key-4", "two")]
    assert studio.project(ls_project_id).n_tasks == 5
    with pytest.raises(ValueError, match="at most 500"):
        studio.import_tasks(ls_project_id, tasks(501))


def test_answers_come_back_with_who_and_how_long(studio):
    ls_project_id = studio.create_project(title(), CONFIG, 2)
    first, second, _ = studio.import_tasks(ls_project_id, tasks(3))
    alice, bob = (studio.provision_annotator(f"{uuid.uuid4().hex[:8]}@goldpan.test", "long enough") for _ in range(2))
    saved = studio.answer(first, to_result("good"), alice, 4.5)
    studio.answer(first, to_result("bad"), bob, 2)
    studio.answer(second, [], bob, 1, skipped=True)
    changed = pulled(studio, ls_project_id)
    assert [(a.ls_user_id, a.result[0]["value"], a.seconds, a.was_cancelled) for a in changed["key-0"].annotations] == [
        (alice, {"choices": ["good"]}, 4.5, False), (bob, {"choices": ["bad"]}, 2.0, False)]
    assert changed["key-0"].annotations[0].ls_annotation_id == saved
    assert changed["key-1"].annotations[0].was_cancelled
    assert changed["key-2"].annotations == ()
    assert studio.project(ls_project_id).n_annotations == 2


def test_the_same_answer_twice_is_one_answer(studio):
    ls_project_id = studio.create_project(title(), CONFIG, 1)
    [task] = studio.import_tasks(ls_project_id, tasks(1))
    alice = studio.provision_annotator("alice@goldpan.test", "long enough")
    assert studio.answer(task, to_result("good"), alice, 1) == studio.answer(task, to_result("bad"), alice, 1)
    [annotation] = pulled(studio, ls_project_id)["key-0"].annotations
    assert annotation.result[0]["value"] == {"choices": ["good"]}


def test_a_pull_since_the_last_stamp_brings_only_what_was_touched(studio):
    ls_project_id = studio.create_project(title(), CONFIG, 1)
    ids = studio.import_tasks(ls_project_id, tasks(4))
    stamp = max(task.updated_at for task in pulled(studio, ls_project_id).values())
    alice = studio.provision_annotator("alice@goldpan.test", "long enough")
    studio.answer(ids[2], to_result("good"), alice, 1)
    assert list(pulled(studio, ls_project_id, stamp + timedelta(microseconds=1))) == ["key-2"]
    assert "key-2" in pulled(studio, ls_project_id, stamp)
    assert pulled(studio, ls_project_id, datetime.now(UTC) + timedelta(hours=1)) == {}


def test_deleted_tasks_are_missing_from_the_scan(studio):
    ls_project_id = studio.create_project(title(), CONFIG, 1)
    ids = studio.import_tasks(ls_project_id, tasks(3))
    studio.delete_tasks(ls_project_id, [ids[0], ids[2], 10**9])
    assert [task.key for task in studio.scan_identities(ls_project_id)] == ["key-1"]
    assert studio.project(ls_project_id).n_tasks == 1


def test_an_annotator_is_made_once(studio):
    email = f"{uuid.uuid4().hex[:8]}@goldpan.test"
    first = studio.provision_annotator(email, "long enough")
    assert studio.provision_annotator(email.upper(), "another password") == first


def test_a_webhook_is_registered_once_per_address(studio):
    ls_project_id = studio.create_project(title(), CONFIG, 1)
    first = studio.register_webhook(ls_project_id, "http://127.0.0.1:1/hook", "one")
    assert studio.register_webhook(ls_project_id, "http://127.0.0.1:1/hook", "two") == first


def test_the_fake_has_every_method_of_the_real_one():
    for name, method in inspect.getmembers(LabelStudio, inspect.isfunction):
        if not name.startswith("_") and not name.endswith("_url"):
            assert name in vars(FakeLabelStudio)
            assert inspect.signature(getattr(FakeLabelStudio, name)) == inspect.signature(method)


# For the fake alone: its switches


def test_a_fake_write_can_happen_without_an_answer():
    studio = FakeLabelStudio()
    ls_project_id = studio.create_project("project", CONFIG, 1)
    studio.ambiguous_writes = studio.lost_writes = 1
    for _ in range(2):
        with pytest.raises(Ambiguous):
            studio.import_tasks(ls_project_id, tasks(2))
    assert studio.project(ls_project_id).n_tasks == 2
    studio.unavailable = True
    with pytest.raises(Unavailable):
        studio.project(ls_project_id)


# For the real one alone


@pytest.mark.labelstudio
def test_the_server_knows_its_version_and_its_admin(real, label_studio_server):
    assert real.version() >= "1.23.2"
    assert real.whoami() == label_studio_server.email


@pytest.mark.labelstudio
def test_a_pull_loses_nothing_where_many_tasks_have_one_stamp(real, label_studio_server, monkeypatch):
    monkeypatch.setattr(label_studio, "PAGE_SIZE", 10)
    ls_project_id = real.create_project(title(), CONFIG, 1)
    ids = real.import_tasks(ls_project_id, tasks(60))
    with sqlite3.connect(label_studio_server.data_dir / "label_studio.sqlite3", timeout=30) as database:
        database.execute("UPDATE task SET updated_at = '2026-01-02 03:04:05.678901' WHERE id BETWEEN ? AND ?",
                         (ids[5], ids[49]))
    database.close()
    seen = [task.key for task in real.pull_changes(ls_project_id, datetime(2026, 1, 1, tzinfo=UTC))]
    assert set(seen) == {f"key-{i}" for i in range(60)}
    assert [task.key for task in real.scan_identities(ls_project_id)] == [f"key-{i}" for i in range(60)]


@pytest.mark.labelstudio
def test_an_import_without_an_answer_is_found_again_by_its_batch(real, monkeypatch):
    ls_project_id = real.create_project(title(), CONFIG, 1)
    started = datetime.now(UTC)
    monkeypatch.setattr(label_studio, "IMPORT_TIMEOUT_SECONDS", 0.02)
    with pytest.raises(Ambiguous):
        real.import_tasks(ls_project_id, tasks(300, "lost"))
    deadline = time.monotonic() + 10
    found = []
    while len(found) < 300 and time.monotonic() < deadline:  # the commit may still be running
        time.sleep(0.2)
        found = list(real.scan_identities(ls_project_id, started - timedelta(minutes=5)))
    assert {task.key for task in found if task.batch == "lost"} == {f"key-{i}" for i in range(300)}
    assert list(real.scan_identities(ls_project_id, datetime.now(UTC) + timedelta(minutes=5))) == []


@pytest.mark.labelstudio
def test_an_annotator_can_log_in_and_work(real, label_studio_server):
    email = f"{uuid.uuid4().hex[:8]}@goldpan.test"
    ls_user_id = real.provision_annotator(email, "long enough")
    ls_project_id = real.create_project(title(), CONFIG, 1)
    [task] = real.import_tasks(ls_project_id, tasks(1))
    theirs = LabelStudio(label_studio_server.url, bootstrap_token(label_studio_server.url, email, "long enough"))
    assert theirs.whoami() == email
    theirs.answer(task, to_result("good"), ls_user_id, 1)
    for page in (real.task_url(ls_project_id, task), real.stream_url(ls_project_id)):
        assert httpx.get(page).status_code == 302  # to the log-in, and back from there
    with pytest.raises(Invalid, match="password"):
        real.provision_annotator("short@goldpan.test", "short")


@pytest.mark.labelstudio
def test_a_new_token_ends_the_old_one(real, label_studio_server):
    email = f"{uuid.uuid4().hex[:8]}@goldpan.test"
    real.provision_annotator(email, "long enough")
    old, new = (bootstrap_token(label_studio_server.url, email, "long enough") for _ in range(2))
    assert LabelStudio(label_studio_server.url, new).whoami() == email
    for token in (old, "no token", "", "two\nlines"):
        with pytest.raises(AuthFailed, match="token"):
            LabelStudio(label_studio_server.url, token).whoami()
    with pytest.raises(AuthFailed, match=email):
        bootstrap_token(label_studio_server.url, email, "wrong password")


@pytest.mark.labelstudio
def test_what_the_server_refuses_is_said_in_its_words(real):
    with pytest.raises(Invalid, match="'name' is a required"):
        real.create_project(title(), "<View><Text/></View>", 1)
    with pytest.raises(Invalid, match="50 characters"):
        real.create_project("x" * 51, CONFIG, 1)
    ls_project_id = real.create_project(title(), CONFIG, 1)
    with pytest.raises(Invalid):
        real.import_tasks(ls_project_id, [*tasks(2), TaskIn("key", {"no text": ""}, "b")])
    assert real.project(ls_project_id).n_tasks == 0


@pytest.mark.labelstudio
def test_answers_reach_a_webhook_on_this_machine(real, http_server):
    ls_project_id = real.create_project(title(), CONFIG, 1)
    [task] = real.import_tasks(ls_project_id, tasks(1))
    server, received = http_server(204, b"")
    real.register_webhook(ls_project_id, f"{server}/hook", "secret")
    real.answer(task, to_result("good"), real.provision_annotator("alice@goldpan.test", "long enough"), 1)
    path, headers, body = received[0]
    assert (path, headers["Authorization"]) == ("/hook", "Bearer secret")
    assert json.loads(body)["action"] == "ANNOTATION_CREATED"


@pytest.mark.labelstudio
def test_a_restart_keeps_tasks_answers_and_token(real, label_studio_server):
    ls_project_id = real.create_project(title(), CONFIG, 1)
    ids = real.import_tasks(ls_project_id, tasks(2))
    alice = real.provision_annotator("alice@goldpan.test", "long enough")
    real.answer(ids[0], to_result("good"), alice, 1)
    label_studio_server.stop()
    try:
        with pytest.raises(Unavailable, match="cannot be reached"):
            real.import_tasks(ls_project_id, tasks(2))
    finally:
        label_studio_server.start()
    fresh = LabelStudio(label_studio_server.url, label_studio_server.token)
    assert [len(task.annotations) for task in pulled(fresh, ls_project_id).values()].count(1) == 1
    assert real.project(ls_project_id).n_tasks == 2


@pytest.mark.labelstudio
def test_the_server_takes_hostile_labels_and_gives_them_back(real):
    labels = ["<b>&amp;</b>", "it's \"quoted\"", "café ☕", "a, b", "100 $", *(f"label {i}" for i in range(20))]
    schema = {"labels": [{"name": label, "description": f"like ${label}"} for label in labels]}
    validate_schema(schema)
    ls_project_id = real.create_project(title(), label_config(schema, "Pay $100?\n\n<script>alert(1)</script>"), 1)
    ids = real.import_tasks(ls_project_id, [TaskIn(label, {"text": label}, "b") for label in labels[:5]])
    alice = real.provision_annotator("alice@goldpan.test", "long enough")
    for ls_task_id, label in zip(ids, labels, strict=False):
        real.answer(ls_task_id, to_result(label), alice, 1)
    answers = {task.key: parse(task.annotations[0].result) for task in real.pull_changes(ls_project_id, None)}
    assert answers == {label: label for label in labels[:5]}


# Without any Label Studio


@pytest.fixture
def http_server():
    """A function that starts a server with one answer to everything and gives its address and what it received."""
    servers = []

    def start(status, body, *, seconds=0.0, location=""):
        received = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                received.append((self.path, self.headers, sent))
                time.sleep(seconds)
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if body[:1] in (b"{", b"[") else "text/html")
                self.send_header("Content-Length", str(len(body)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", received

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "body", "reading", "writing"), [
    (401, b'{"detail": "Invalid token."}', AuthFailed, AuthFailed),
    (404, b"<html>gone</html>", NotFound, NotFound),
    (400, b'{"validation_errors": {"title": ["is too long"]}}', Invalid, Invalid),
    (429, b"{}", Unavailable, Unavailable),
    (503, b"<html>busy</html>", Unavailable, Unavailable),
    (500, b'{"detail": "boom"}', Unavailable, Ambiguous),
    (502, b"<html>bad gateway</html>", Unavailable, Ambiguous),
    (200, b"<html>a router</html>", Unavailable, Ambiguous),
    (200, b"[1, 2", Unavailable, Ambiguous),
])
def test_an_answer_is_told_from_its_kind(http_server, status, body, reading, writing):
    url, received = http_server(status, body)
    studio = LabelStudio(url, "token")
    with pytest.raises(reading):
        studio.project(1)
    with pytest.raises(writing):
        studio.import_tasks(1, tasks(1))
    assert len(received) == 2  # nothing is retried


def test_the_servers_words_reach_the_reader_and_nothing_else_does(http_server):
    url, _ = http_server(400, b'{"validation_errors": {"title": ["is too long"]}, "exc_info": "secret"}')
    with pytest.raises(Invalid, match=r"^Label Studio refused this: is too long\.$"):
        LabelStudio(url, "token").create_project("title", CONFIG, 1)


def test_a_slow_write_is_ambiguous_and_a_slow_read_is_not(http_server):
    url, _ = http_server(200, b"{}", seconds=1)
    studio = LabelStudio(url, "token", timeout=0.1)
    with pytest.raises(Ambiguous, match="Compare"):
        studio.create_project("title", CONFIG, 1)
    with pytest.raises(Unavailable):
        studio.project(1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:8080", "http://[bad", "ftp://127.0.0.1"])
def test_an_address_without_a_server_changes_nothing(url):
    studio = LabelStudio(url, "token")
    with pytest.raises(Unavailable, match="cannot be reached"):
        studio.create_project("title", CONFIG, 1)
    with pytest.raises(Unavailable):
        bootstrap_token(url, "a@b.test", "password")


def test_no_token_is_sent_on_to_another_address(http_server):
    elsewhere, received = http_server(200, b"{}")
    url, _ = http_server(302, b"", location=elsewhere)
    with pytest.raises(Invalid, match="final address"):
        LabelStudio(url, "token").version()
    assert received == []


def test_a_web_page_is_no_label_studio(http_server):
    for status in (200, 404):
        url, _ = http_server(status, b"<html>hello</html>")
        with pytest.raises(Unavailable, match="not Label Studio"):
            bootstrap_token(url, "a@b.test", "password")


@pytest.mark.parametrize(("release", "accepted"), [
    ("1.23.2", True), ("1.24.0.dev0", True), ("2.0", True), ("1.23.1", False), ("1.9.2.post0", False), ("?", False)])
def test_old_servers_are_refused(http_server, release, accepted):
    url, _ = http_server(200, json.dumps({"release": release}).encode())
    studio = LabelStudio(url, "token")
    if accepted:
        assert studio.version() == release
    else:
        with pytest.raises(Invalid, match=r"Update it to 1\.23\.2"):
            studio.version()


@pytest.mark.parametrize("meta", [None, [], {}, {"goldpan": 3}, {"goldpan": {"external_id": 7, "batch": None}}])
def test_a_meta_that_somebody_edited_is_no_identity(meta):
    assert label_studio._identity(meta) == (None, None)
