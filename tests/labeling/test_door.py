"""The door as its process runs, before a real Label Studio: what an annotator can do, and what a curious one cannot."""

import html
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from labeling.door_proxy import DOWN, LOCKED_OUT, NO_DESK, NOT_YOURS, Account, Desks, Door, Sessions
from labeling.door_rules import ANSWER, MAX_BODY, RULES, Rule, _pattern
from labeling.label_studio import LabelStudio, TaskIn
from labeling.label_studio_server import _environment
from tests.browser import CHROMIUM, FLAGS
from tests.installation import Installation, free_port
from tests.label_studio_fixture import BINARY, Server

pytestmark = pytest.mark.labelstudio
expect.set_options(timeout=20_000)  # the machine may do other things, too
CONFIG = ('<View><Text name="text" value="$text"/><Choices name="label" toName="text" choice="single">'
          '<Choice value="calm"/><Choice value="storm"/></Choices>'
          '<TextArea name="why" toName="text" editable="true"/>'
          '<Labels name="span" toName="text"><Label value="who" hotkey="w"/></Labels></View>')
CANARY = "bobs-secret-4f1c"

def answer(label: str, why: str = "because") -> list[dict[str, Any]]:
    return [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}},
            {"from_name": "why", "to_name": "text", "type": "textarea", "value": {"text": [why]}}]


@dataclass(frozen=True)
class Seat:
    """One person's desk as the tests know it. `cookie` is their Goldpan session."""

    name: str
    account: Account
    project: int
    tasks: list[int]
    cookie: str = ""


class Installed:
    """Goldpan with its door running. Bob and Charlie label in one project, Dora in another; Erin has no desk."""

    def __init__(self, data: Path, server: Server) -> None:
        self.server, self.label_studio = server, LabelStudio(server.url, server.token)
        port = free_port()
        self.url = f"http://localhost:{port}"
        self.goldpan = Installation(data, label_studio=server, environment={
            "GOLDPAN_DOOR_PORT": str(port), "GOLDPAN_DOOR_URL": self.url})
        seats = {name: self._seat(name) for name in ("bob", "charlie", "dora")}
        rows = [vars(seat) | {"account": vars(seat.account)} for seat in seats.values()]
        cookies = self.goldpan.shell(f"SEATS = {rows}\n{FURNISH}")
        self.bob, self.charlie, self.dora = (replace(seat, cookie=cookies[name]) for name, seat in seats.items())
        self.erin = Seat("erin", Account(0, "", ""), 0, [], cookies["erin"])
        self.goldpan.start("door")
        for _ in range(300):
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert self.goldpan.processes["door"].poll() is None, (data / "door.log").read_text()[-2000:]
            time.sleep(0.1)

    def _seat(self, name: str) -> Seat:
        email, password = f"{name}@goldpan.test", f"password-of-{name}"
        account = Account(self.label_studio.provision_annotator(email, password), email, password)
        return Seat(name, account, *self.desk(name))

    def desk(self, name: str) -> tuple[int, list[int]]:
        project = self.label_studio.create_project(f"desk of {name}", CONFIG, 1)
        return project, self.label_studio.import_tasks(project, [
            TaskIn(f"k{number}", {"text": f"{name}'s example {number}"}, "batch") for number in range(4)])

    def client(self, seat: Seat | None, **headers: str) -> httpx.Client:
        """A browserless annotator: their session, and requests as from the door's own pages."""
        cookies = {"goldpan_sessionid": seat.cookie} if seat else {}
        return httpx.Client(base_url=self.url, cookies=cookies, headers={"Origin": self.url, **headers}, timeout=60)

    def answers(self, seat: Seat) -> list[tuple[int, int | None, bool, list[Any]]]:
        """All that Label Studio holds on a desk: task, who, skipped, the labels."""
        return sorted((task.ls_task_id, one.ls_user_id, one.was_cancelled, [mark["value"] for mark in one.result])
                      for task in self.label_studio.pull_changes(seat.project, None) for one in task.annotations)


FURNISH = """
import json
from datetime import timedelta
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.conf import settings
from django.utils import timezone
from labeling.models import Annotator, Assignment, Desk, Example
from projects.services.sealing import encrypt
from projects.models import Membership
from projects.services import create_project

def session_of(user):
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return session.session_key

alice = User.objects.create_user("alice")
labels = [{"name": "calm", "description": ""}, {"name": "storm", "description": ""}]
moods, other = (create_project(name=name, labels=labels, instructions="", target_metric="accuracy", target_value=0.8,
                               created_by=alice) for name in ("Moods", "Somebody else's"))
cookies = {"erin": session_of(User.objects.create_user("erin"))}
for seat in SEATS:
    user, account = User.objects.create_user(seat["name"]), seat["account"]
    project = other if seat["name"] == "dora" else moods
    Membership.objects.create(user=user, project=project, role="annotator")
    annotator = Annotator.objects.create(
        project=project, name=user.username, user=user, ls_email=account["email"], ls_user_id=account["ls_user_id"],
        ls_password_encrypted=encrypt(account["password"]))
    Desk.objects.create(project=project, annotator=annotator, url=settings.GOLDPAN_LABEL_STUDIO_URL,
                        ls_project_id=seat["project"], config_sha256="", instructions_version=1, webhook_secret="")
    for number, ls_task_id in enumerate(seat["tasks"]):
        example, _ = Example.objects.get_or_create(project=project, key=f"k{number}", defaults={
            "text": "", "data": {}, "content_sha256": "", "group": "", "split": "pool"})
        Assignment.objects.create(example=example, annotator=annotator, purpose="exam", expected={}, state="placed",
                                  ls_task_id=ls_task_id, expires_at=timezone.now() + timedelta(days=1))
    cookies[seat["name"]] = session_of(user)
print(json.dumps(cookies))
"""


@pytest.fixture(scope="module")
def installed(label_studio_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    there = Installed(tmp_path_factory.mktemp("door"), label_studio_server)
    yield there
    there.goldpan.stop()


# A person labels

@pytest.fixture
def page(installed: Installed) -> Iterator[Page]:
    """Dora's browser, with nothing but the session of Goldpan."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1240, "height": 900})
        context.add_cookies([{"name": "goldpan_sessionid", "value": installed.dora.cookie, "url": installed.url}])
        yield context.new_page()
        browser.close()


@pytest.mark.browser
def test_a_person_labels_through_the_door(installed: Installed, page: Page) -> None:
    """Two answers, a skip, back to an earlier answer, which is changed; then the skip is taken back and answered."""
    dora, wrong = installed.dora, listen(page, installed.url)
    page.goto(f"{installed.url}/projects/{dora.project}/data?labeling=1", wait_until="networkidle")
    first, second, third, _ = dora.tasks
    choose(page, "calm", of=0)
    press(page, "bottombar-submit-button", "annotations")
    choose(page, "storm", of=1)
    press(page, "bottombar-submit-button", "annotations")
    expect(page.get_by_text("dora's example 2")).to_be_visible()
    press(page, "bottombar-skip-button", "annotations")
    press(page, "prev-task", f"tasks/{third}")
    press(page, "prev-task", f"tasks/{second}")
    choose(page, "calm", of=1)
    press(page, "bottombar-update-button", "annotations")
    calm, me = [{"choices": ["calm"]}], dora.account.ls_user_id
    assert installed.answers(dora) == [(first, me, False, calm), (second, me, False, calm), (third, me, True, [])]

    press(page, "next-task", f"tasks/{third}")
    press(page, "bottombar-unskip-button", "annotations")
    choose(page, "storm", of=2)
    page.locator("[name=why]").fill("the wind")
    page.keyboard.press("Shift+Enter")
    page.locator(".lsf-label").get_by_text("who").click()
    page.get_by_text("dora's example").dblclick(position={"x": 10, "y": 8})  # marks a word; a draft is saved, too
    press(page, "bottombar-submit-button", "annotations")
    [(_, by, _, values)] = [one for one in installed.answers(dora) if one[0] == third]
    assert by == me and values[:2] == [{"choices": ["storm"]}, {"text": ["the wind"]}]
    assert values[2]["labels"] == ["who"]
    assert wrong == []

    end_time(installed, dora.tasks[3])
    choose(page, "calm", of=3)
    press(page, "bottombar-submit-button", "annotations")
    expect(page.get_by_text("The time for this example is over").first).to_be_visible()  # shown, and said aloud
    assert dora.tasks[3] not in [task for task, *_ in installed.answers(dora)]


def end_time(installed: Installed, ls_task_id: int) -> None:
    installed.goldpan.shell("from labeling.models import Assignment; from django.utils import timezone\n"
                            f"Assignment.objects.filter(ls_task_id={ls_task_id}).update(expires_at=timezone.now())")


def choose(page: Page, choice: str, *, of: int) -> None:
    """Tick a choice once the page shows Dora's example of this number."""
    expect(page.get_by_text(f"dora's example {of}")).to_be_visible()
    page.get_by_text(choice).first.click()


def listen(page: Page, origin: str) -> list[str]:
    """What goes wrong on the page from here on: errors on the console, other hosts, refused requests."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda sent: None if sent.url.startswith((origin, "data:", "blob:")) else wrong.append(sent.url))
    page.on("response", lambda got: wrong.append(f"{got.status} {got.request.method} {got.url}")
            if got.status >= 400 else None)
    return wrong


def press(page: Page, button: str, asks: str) -> None:
    """Press a button and wait until Label Studio has answered what it asks for, and the page is quiet again."""
    with page.expect_response(lambda got: asks in got.url and got.request.method != "OPTIONS"):
        page.get_by_test_id(button).click()
    page.wait_for_load_state("networkidle")


# A curious person, with an ordinary client

@dataclass(frozen=True)
class Secrets:
    """What is on Bob's desk: ids that Charlie may have guessed, and a canary in Bob's answer and draft."""

    annotation: int
    draft: int
    prediction: int


@pytest.fixture(scope="module")
def secrets(installed: Installed) -> Secrets:
    bob = installed.bob
    annotation = installed.label_studio.answer(bob.tasks[0], answer("storm", CANARY), bob.account.ls_user_id, 1.0)
    with installed.client(bob) as client:
        draft = client.post(f"/api/tasks/{bob.tasks[1]}/drafts?project={bob.project}",
                            json={"result": answer("calm", CANARY), "lead_time": 1}).raise_for_status().json()["id"]
    with admin(installed.server) as client:
        prediction = client.post("/api/predictions", json={
            "task": bob.tasks[0], "result": answer("calm", CANARY)}).raise_for_status().json()["id"]
    return Secrets(annotation, draft, prediction)


def admin(server: Server) -> httpx.Client:
    """Label Studio itself, as its admin."""
    access = httpx.post(f"{server.url}/api/token/refresh", json={"refresh": server.token}).raise_for_status()
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {access.json()['access']}"}, timeout=60)


def stands(installed: Installed) -> Any:
    """All that Label Studio holds of Bob, and how many projects, people, hooks and views there are."""
    with admin(installed.server) as client:
        tasks = [client.get(f"/api/tasks/{task}").json() for task in installed.bob.tasks]
        drafts = [client.get(f"/api/tasks/{task}/drafts").json() for task in installed.bob.tasks]
        counts = [len(client.get(path).json()) for path in ("/api/users", "/api/webhooks/", "/api/dm/views")]
        project = client.get(f"/api/projects/{installed.bob.project}").json()
        text = json.dumps([tasks, drafts, counts, project, client.get("/api/projects").json()["count"]])
    return re.sub(r'"created_ago": "[^"]*"', "", text)


def addresses(secrets: Secrets, bob: Seat, own: Seat, own_annotation: int) -> list[str]:
    """Every address that Label Studio's own resolver knows, with Bob's and Charlie's ids wherever one can stand."""
    found: list[str] = []
    ids = [bob.project, bob.tasks[0], secrets.annotation, secrets.draft, own.project, own.tasks[0], own_annotation]
    for pattern in patterns_of_label_studio():
        people = [bob.account.ls_user_id, own.project]
        some = (people if re.search("user|member|organ", pattern) else
                ids if re.search("project|task|annotation|draft|prediction|views", pattern) else [bob.project])
        places = pattern.count("{}")
        found += [pattern.format(*one) for one in product(some, repeat=places)] if places else [pattern]
    return sorted({"/" + address for address in found})


@cache
def patterns_of_label_studio() -> list[str]:
    """The routes and regular expressions of Label Studio's URL resolver, with {} for what varies."""
    code = """
import json, django
django.setup()
from django.urls import get_resolver
def walk(patterns, before=""):
    for one in patterns:
        whole = before + str(one.pattern)
        yield from walk(one.url_patterns, whole) if hasattr(one, "url_patterns") else [whole]
print(json.dumps(list(walk(get_resolver().url_patterns))))
"""
    packages = next((BINARY.parent.parent / "lib").glob("python3*")) / "site-packages"
    with TemporaryDirectory() as data:
        done = subprocess.run(
            [BINARY.parent / "python", "-c", code], text=True, capture_output=True, check=True, cwd=data, env={
            **_environment(Path(data), secret_key="x" * 40), "PYTHONPATH": str(packages / "label_studio"),
            "DJANGO_SETTINGS_MODULE": "label_studio.core.settings.label_studio"})
    plain = [re.sub(r"\\(.)", r"\1", re.sub(r"\(\?P<\w+>([^()]|\([^()]*\))*\)|<[^>]*>", "{}", pattern))
             for pattern in json.loads(done.stdout.splitlines()[-1])]
    return sorted({re.sub(r"[\^$?]", "", pattern) for pattern in plain})


def walk(client: httpx.Client, secrets: Secrets, bob: Seat, own: Seat, own_annotation: int) -> Iterator[str]:
    """Ask for everything in every way, and yield what held the canary."""
    peek = json.dumps({"filters": {"conjunction": "and", "items": [
        {"filter": "filter:tasks:annotations__result", "operator": "contains", "type": "String", "value": CANARY}]}})
    he, it = bob.account.ls_user_id, secrets.annotation
    forged: dict[str, Any] = {
        "project": bob.project, "task": bob.tasks[0], "annotation": it, "user": he, "completed_by": he,
        "updated_by": he, "result": answer("calm"), "parent_annotation": it, "ground_truth": True,
        "title": "taken", "email": "x@example.org", "ids": [bob.tasks[0]], "data": {},
        "selectedItems": {"all": False, "included": [bob.tasks[0]]}}
    also = {"draft_id": secrets.draft, "parent_prediction": secrets.prediction}
    asked: dict[str, Any] = {
        "view": bob.project, "task": bob.tasks[0], "taskID": bob.tasks[0], "fields": "all", "query": peek,
        "include": "annotations,result", "expand": "annotations", "id": "next_task", "labeling": "1"}
    for address in addresses(secrets, bob, own, own_annotation):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            for project, body in ((own.project, forged), (bob.project, forged | also)):
                response = client.request(method, address, params={**asked, "project": project}, json=body)
                if CANARY in response.text:
                    yield f"{method} {address} ({response.status_code})"


def test_a_curious_person_sees_and_changes_nothing_of_others(installed: Installed, secrets: Secrets) -> None:
    before, charlie = stands(installed), installed.charlie
    assert before.count(CANARY) == 3  # answer, prediction, draft
    own = installed.label_studio.answer(charlie.tasks[0], answer("calm"), charlie.account.ls_user_id, 1.0)
    with installed.client(charlie) as client:
        assert client.get(f"/api/tasks/{charlie.tasks[0]}?project={charlie.project}").status_code == 200, "they are in"
        assert list(walk(client, secrets, installed.bob, charlie, own)) == []
    assert stands(installed) == before
    assert {by for _, by, _, _ in installed.answers(charlie)} == {charlie.account.ls_user_id}


def test_every_request_that_the_rules_let_through_is_among_those_walked(installed: Installed, secrets: Secrets) -> None:
    walked = addresses(secrets, installed.bob, installed.charlie, secrets.annotation)
    passing = {rule.path for rule in RULES for address in walked if _pattern(rule.path).fullmatch(address.rstrip("/"))}
    assert passing == {rule.path for rule in RULES}


def in_process(installed: Installed, seat: Seat, *, rules: tuple[Rule, ...] = RULES, words: str = "",
               label_studio: str = "") -> httpx.Client:
    """The door without its process, for one person: to see what other rules or another Label Studio would do."""
    class Book:
        def desks_of(self, user_id: int) -> Desks | None:
            return Desks(seat.account, frozenset({seat.project}))

        def may_answer(self, ls_project_id: int, ls_task_id: int) -> str:
            return words

    door = Door(who=lambda cookies: 1, desk_book=Book(), sessions=Sessions(label_studio or installed.server.url),
                url="http://door", home="http://goldpan", log_in="http://goldpan/accounts/login/", rules=rules)
    return httpx.Client(transport=httpx.WSGITransport(door), base_url="http://door", headers={"Origin": "http://door"})


@pytest.mark.parametrize("rules", [
    (Rule("GET", "/{file}", of_a_desk=False),),
    tuple(replace(rule, of_a_desk=False, names="") for rule in RULES if rule.method == "GET" and not rule.canned),
    (Rule("GET", "/api/projects/{file}", {"ids": ".*"}, of_a_desk=False),),
], ids=["everything may be read", "desks are not looked at", "what is below a project may be read"])
def test_the_walk_notices_a_rule_that_lets_too_much_through(installed: Installed, secrets: Secrets,
                                                            rules: tuple[Rule, ...]) -> None:
    charlie = installed.charlie
    with in_process(installed, charlie, rules=rules) as client:
        assert next(walk(client, secrets, installed.bob, charlie, secrets.annotation), None) is not None


def test_nobody_answers_in_anothers_name(installed: Installed) -> None:
    charlie, bob = installed.charlie, installed.bob.account.ls_user_id
    forged = {"result": answer("calm"), "completed_by": bob, "updated_by": bob, "ground_truth": True}
    address = f"/api/tasks/{charlie.tasks[3]}/annotations?project={charlie.project}"
    with in_process(installed, charlie) as client:
        saved = client.post(address, json=forged).json()
        assert (saved["completed_by"], saved["ground_truth"]) == (charlie.account.ls_user_id, False)
    fields = {**ANSWER, "completed_by": lambda value: True}
    loose = (Rule("POST", "/api/tasks/{task}/annotations", body=fields),)
    with in_process(installed, charlie, rules=loose) as client:
        assert client.post(address, json=forged).json()["completed_by"] == bob, "the rule is what keeps it out"


def test_a_filter_cannot_ask_about_other_desks(installed: Installed, secrets: Secrets) -> None:
    """Label Studio's filters may follow keys out of the project, one guessed letter at a time; none passes."""
    charlie = installed.charlie
    guess = json.dumps({"filters": {"conjunction": "and", "items": [
        {"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": 0}]}})
    plain = {"project": charlie.project, "page_size": 100}
    with installed.client(charlie) as client:
        assert client.get("/api/tasks", params={**plain, "query": guess}).json()["total"] == 4
        assert client.get("/api/tasks", params=plain, headers={"X-Ignored": guess}).json()["total"] == 4
    loose = (Rule("GET", "/api/tasks", {"query": ".*"}, names="project"),)
    with in_process(installed, charlie, rules=loose) as client:
        assert client.get("/api/tasks", params={**plain, "query": guess}).json()["total"] == 0, "the rule keeps it out"


def test_an_id_that_is_given_out_again_opens_nothing(installed: Installed) -> None:
    """SQLite gives the newest task's id out again: what was on one's desk a moment ago may be on another's now."""
    charlie, bob = installed.charlie, installed.bob
    [ls_task_id] = installed.label_studio.import_tasks(charlie.project, [TaskIn("again", {"text": "mine"}, "b")])
    with installed.client(charlie) as client:
        mine = f"/api/tasks/{ls_task_id}?project={charlie.project}"
        assert client.get(mine).json()["data"] == {"text": "mine"}
        installed.label_studio.delete_tasks(charlie.project, [ls_task_id])
        [again] = installed.label_studio.import_tasks(bob.project, [TaskIn("again", {"text": "Bob's"}, "b")])
        assert again == ls_task_id
        assert client.get(mine).status_code == 404
        refused = client.post(f"/api/tasks/{again}/annotations?project={charlie.project}", json={"result": []})
        assert (refused.status_code, refused.json()["detail"]) == (404, NOT_YOURS)
    installed.label_studio.delete_tasks(bob.project, [again])


# Who is not let in, and what is not taken

def test_nobody_comes_in_without_goldpans_session(installed: Installed) -> None:
    desk = f"/projects/{installed.bob.project}/data?labeling=1"
    with installed.client(None) as client:
        page = client.get(desk, headers={"Accept": "text/html"})
        assert page.status_code == 302
        log_in, back = page.headers["location"].split("?next=")
        assert log_in == f"{installed.goldpan.url}/accounts/login/" and unquote(back) == installed.url + desk
        for cookie in ("", "goldpan_sessionid=", "goldpan_sessionid=" + "a" * 32, "sessionid=" + installed.bob.cookie):
            refused = client.get("/api/current-user/whoami", headers={"Cookie": cookie})
            assert (refused.status_code, refused.json()["detail"]) == (401, "Log in to Goldpan first.")
            assert client.get("/react-app/main.js", headers={"Cookie": cookie}).status_code == 401


def test_a_desk_is_its_owners_and_members_only(installed: Installed) -> None:
    desk = f"/projects/{installed.bob.project}/data?labeling=1"
    for stranger in (installed.charlie, installed.dora):
        with installed.client(stranger) as client:
            assert client.get(desk).status_code == 404
            assert client.get(f"/api/users?project={installed.bob.project}").status_code == 404
    with installed.client(installed.erin) as client:
        assert (client.get(desk).status_code, client.get(desk).json()["detail"]) == (403, NO_DESK)
    with installed.client(installed.dora) as client:
        mine = f"/api/projects/{installed.dora.project}"
        assert client.get(mine).status_code == 200
        hand_over = ("from django.contrib.auth.models import User; from projects.models import Membership\n"
                     "Membership.objects.filter(user__username={!r}).update(user=User.objects.get(username={!r}))")
        installed.goldpan.shell(hand_over.format("dora", "erin"))
        assert client.get(mine).status_code == 403
        installed.goldpan.shell(hand_over.format("erin", "dora"))
        assert client.get(mine).status_code == 200


def test_a_change_comes_from_the_doors_own_pages(installed: Installed) -> None:
    dora = installed.dora
    address = f"/api/dm/actions?id=next_task&project={dora.project}"
    with installed.client(dora) as client:
        del client.headers["Origin"]
        for headers in ({}, {"Origin": "null"}, {"Origin": installed.goldpan.url}, {"Referer": "https://example.org/"},
                        {"Origin": "https://example.org", "Sec-Fetch-Site": "same-origin"},
                        {"Sec-Fetch-Site": "same-site"}, {"Referer": installed.url + ".example.org/"}):
            assert client.post(address, json={}, headers=headers).status_code == 403, headers
        for headers in ({"Origin": installed.url}, {"Referer": installed.url + "/projects/1/data"},
                        {"Sec-Fetch-Site": "same-origin"}):
            assert client.post(address, json={}, headers=headers).status_code == 200, headers


def raw(installed: Installed, target: str, *headers: str, body: str = "") -> str:
    """Send bytes as no client would, as Bob; return the status line and all that follows."""
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", f"Cookie: goldpan_sessionid={installed.bob.cookie}",
             "Connection: close", *headers]
    with socket.create_connection(("127.0.0.1", int(installed.url.rsplit(":")[-1]))) as wire:
        wire.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        return b"".join(iter(lambda: wire.recv(65536), b"")).decode(errors="replace")


@pytest.mark.parametrize("spelling", [
    "//api/projects/{}", "/api//projects/{}", "/api/%70rojects/{}", "/api/projects/{}%2f", "/api/./projects/{}",
    "/static/../api/projects/{}", "/static/%2e%2e/api/projects/{}", "/static/..%2fapi/projects/{}",
    "/api/projects/{};x", "/api\\projects/{}", "http://localhost/api/projects/{}", "http://example.org/api/projects/{}",
    "/api/projects/{}#x", "*", "/api/projects/{}?a=1&a=2", "/api/projects/{}?a;b", "/static/x/data/local-files/%00"])
def test_an_address_has_one_spelling(installed: Installed, spelling: str) -> None:
    project = installed.bob.project
    assert " 200 " in raw(installed, f"/api/projects/{project}").splitlines()[0]
    assert " 400 " in raw(installed, spelling.format(project)).splitlines()[0]


def test_tricks_of_the_wire_are_refused(installed: Installed) -> None:
    project = f"/api/projects/{installed.bob.project}"
    chunked = ("Transfer-Encoding: chunked", "Content-Length: 5")
    for headers in (("Upgrade: websocket", "Connection: Upgrade"), chunked, chunked[:1]):
        answered = raw(installed, project, *headers, body="0\r\n\r\n" if headers[0] in chunked else "")
        assert answered.split()[1] in ("400", "411") and "label_config" not in answered
    with installed.client(installed.bob) as client:
        address = f"/api/tasks/{installed.bob.tasks[0]}/annotations?project={installed.bob.project}"
        assert client.post(address, content=b"x" * (MAX_BODY + 1)).status_code == 413
        assert client.post(address, data={"result": "[]"}).status_code == 415
        assert client.post(address, content=b'{"result": NaN}', headers={
            "Content-Type": "application/json"}).status_code == 400
        assert client.post(address, json=[1]).status_code == 400
        assert client.post(address, json={"result": "[]"}).status_code == 400


def test_no_header_or_cookie_of_a_browser_reaches_label_studio_nor_one_of_its_cookies_a_browser(
        installed: Installed) -> None:
    """A session or token of Label Studio itself, brought along, does not make one its owner."""
    with admin(installed.server) as client:
        token = client.headers["Authorization"]
    brought = {"Authorization": token, "X-Api-Key": "x", "X-Forwarded-Host": "example.org",
               "Cookie": f"goldpan_sessionid={installed.bob.cookie}; sessionid=x; csrftoken=y"}
    with installed.client(installed.bob, **brought) as client:
        answered = client.get("/api/current-user/whoami")
        assert answered.json()["email"] == installed.bob.account.email
        page = client.get(f"/projects/{installed.bob.project}/data?labeling=1")
    for response in (answered, page):
        assert "set-cookie" not in response.headers and response.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in response.headers
    assert "example.org" not in page.text


def test_sessions_of_two_people_do_not_mix(installed: Installed) -> None:
    sessions = Sessions(installed.server.url)
    for seat in (installed.bob, installed.charlie) * 2:
        assert sessions.look_up(seat.account, "/api/current-user/whoami")["email"] == seat.account.email


def test_a_session_that_is_over_is_renewed(installed: Installed) -> None:
    sessions, bob = Sessions(installed.server.url), installed.bob.account
    sessions._sessions[bob] = "over"
    assert sessions.look_up(bob, "/api/current-user/whoami")["email"] == bob.email


def test_a_refused_account_and_a_label_studio_that_is_down_are_said_in_words(installed: Installed) -> None:
    locked_out = replace(installed.bob, account=replace(installed.bob.account, password="another"))
    desk = f"/projects/{installed.bob.project}/data?labeling=1"
    for client, words in ((in_process(installed, locked_out), LOCKED_OUT),
                          (in_process(installed, installed.bob, label_studio="http://localhost:9"), DOWN)):
        page = client.get(desk, headers={"Accept": "text/html"})
        assert page.status_code == 503 and html.escape(words) in page.text and "http://goldpan" in page.text
        assert (client.get("/api/version").status_code, client.get("/api/version").json()["detail"]) == (503, words)


# Answers

def test_an_answer_whose_time_is_over_is_refused_in_words(installed: Installed) -> None:
    charlie = installed.charlie
    address = f"/api/tasks/{charlie.tasks[2]}/annotations?project={charlie.project}"
    with in_process(installed, charlie, words="The time is over.") as client:
        refused = client.post(address, json={"result": answer("calm")})
        assert (refused.status_code, refused.json()["detail"]) == (403, "The time is over.")
    end_time(installed, charlie.tasks[2])
    with installed.client(charlie) as client:
        assert client.post(address, json={"result": answer("calm")}).status_code == 403
    assert charlie.tasks[2] not in [task for task, *_ in installed.answers(charlie)]


def test_an_answer_is_not_deleted_but_a_skip_is_taken_back(installed: Installed) -> None:
    bob, client = installed.bob, installed.client(installed.bob)
    address = f"/api/tasks/{bob.tasks[3]}/annotations?project={bob.project}"
    skip = client.post(address, json={"result": [], "was_cancelled": True}).json()["id"]
    assert client.delete(f"/api/annotations/{skip}?project={bob.project}").status_code == 204
    given = client.post(address, json={"result": answer("calm")}).json()["id"]
    assert client.delete(f"/api/annotations/{given}?project={bob.project}").status_code == 404
    assert (bob.tasks[3], bob.account.ls_user_id, False) in [one[:3] for one in installed.answers(bob)]
