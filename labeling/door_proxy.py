"""The door between annotators and Label Studio: a WSGI application that passes on what `door_rules.py` lets through.

A request is answered in this order: its address is read, its sender found, its origin checked, its rule found, the ids
in it looked up in Label Studio, and only then it is sent there, made anew, in the name of the sender's account. No
cookie, header or body field of a browser reaches Label Studio unless it is named here or in a rule, and none of Label
Studio's cookies reaches a browser.
"""

import html
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx

from labeling.door_rules import HOME, MAX_BODY, RULES, Passage, Refused, Rule, Target, decide, resolve
from projects.strict_json import parse_strict

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS = 5.0
ASKED = {"HTTP_ACCEPT": "accept", "HTTP_IF_MODIFIED_SINCE": "if-modified-since", "HTTP_IF_NONE_MATCH": "if-none-match",
         "HTTP_RANGE": "range"}  # of the browser's headers, what Label Studio is told
TOLD = ("content-type", "content-length", "content-range", "content-encoding", "accept-ranges", "etag",
        "last-modified")  # of Label Studio's headers, what the browser is told
NOT_YOURS = "This is not on your desk. Go back to your examples."
NO_DESK = "You have no desk yet. Ask for work on the project's page in Goldpan."
DOWN = "Label Studio cannot be reached. Try again in a minute; if it lasts, tell an admin of your project."
LOCKED_OUT = ("Label Studio refuses the account that Goldpan made for you. Tell an admin of your project: its password "
              "there was changed, or the account was deleted.")
# Label Studio's pages write inline scripts and styles, and evaluate. They may, but they reach no other host.
PAGE_POLICY = ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' "
               "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
               "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'")

Environ = Mapping[str, Any]
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Account:
    """A person's account in Label Studio. Nobody is told the password."""

    ls_user_id: int
    email: str
    password: str

    @property
    def record(self) -> dict[str, Any]:
        """The person as Label Studio's pages want to see them."""
        return {"id": self.ls_user_id, "email": self.email, "username": self.email.split("@")[0], "first_name": "",
                "last_name": "", "initials": self.email[:2], "avatar": None}


@dataclass(frozen=True)
class Desks:
    """The projects in Label Studio that are desks of one person, and the account that works there."""

    account: Account
    ls_project_ids: frozenset[int]


class DeskBook(Protocol):
    """Whose desk is where, and what may be answered: all that the door asks of Goldpan."""

    def desks_of(self, user_id: int) -> Desks | None:
        """The desks of this Goldpan user, None without any. Asked for every request: what it says holds right now."""

    def may_answer(self, ls_project_id: int, ls_task_id: int) -> str:
        """Why this task may not be answered now, in words for its annotator; "" if it may."""


class Unreachable(Exception):
    """Label Studio did not answer, or not as Label Studio does."""


class LockedOut(Exception):
    """Label Studio refuses the account's password."""


class Sessions:
    """Label Studio as each account sees it. Sessions are made when first needed and kept in memory; thread-safe."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._sessions: dict[Account, str] = {}
        self._logging_in = threading.Lock()  # a page asks ten things at once; one log-in serves them all
        self._client = httpx.Client(
            base_url=self.url, timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS), trust_env=False,
            # Every answer of Label Studio sets a session cookie: kept, it would be the next person's.
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            headers={"user-agent": "goldpan-door", "accept-encoding": "identity"},
            limits=httpx.Limits(max_keepalive_connections=0))  # it delays answers on kept connections by 40 ms

    def ask(self, account: Account, method: str, path: str, *, query: Mapping[str, str] | None = None,
            body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Send a request in this account's name; the response is open, its content still to be read.

        A session that is over is renewed once: without one, Label Studio has done nothing.
        Raises Unreachable, LockedOut.
        """
        for _ in range(2):
            session = self._session(account)
            sent = {**(headers or {}), "cookie": f"sessionid={session}"}
            content = None
            if body is not None:
                sent["content-type"] = "application/json"
                content = json.dumps(body, allow_nan=False).encode()
            request = self._client.build_request(method, path, params=query, content=content, headers=sent)
            with _reaching():
                response = self._client.send(request, stream=True)
            if not _is_logged_out(response):
                return response
            response.close()
            self._forget(account, session)
        raise LockedOut(account.email)

    def look_up(self, account: Account, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON at this path, None if there is none for this account. Raises Unreachable, LockedOut."""
        response = self.ask(account, "GET", path, query=query)
        payload = _json(response)
        return payload if response.status_code == 200 else None

    def _session(self, account: Account) -> str:
        with self._logging_in:
            if account not in self._sessions:
                self._sessions[account] = self._log_in(account)
            return self._sessions[account]

    def _forget(self, account: Account, session: str) -> None:
        with self._logging_in:
            if self._sessions.get(account) == session:
                del self._sessions[account]

    def _log_in(self, account: Account) -> str:
        with _reaching():
            page = self._client.get("/user/login/").raise_for_status()
            token = page.cookies.get("csrftoken", "")
            answer = self._client.post(
                "/user/login/", headers={"cookie": f"csrftoken={token}", "referer": f"{self.url}/user/login/"},
                data={"email": account.email, "password": account.password, "persist_session": "on",
                      "csrfmiddlewaretoken": token})
        if answer.status_code != 302 or "sessionid" not in answer.cookies:  # 200 is the form again
            raise LockedOut(account.email)
        return str(answer.cookies["sessionid"])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    content: Iterable[bytes]


class Door:
    """The WSGI application.

    who: the Goldpan user that a Cookie header belongs to, None if to nobody.
    url: the door's own address, where browsers see it; requests that change something have to come from its pages.
    home, log_in: the addresses of Goldpan and of its log-in page.
    rules: other than the usual ones only to show in a test that they matter.
    """

    def __init__(self, *, who: Callable[[str], int | None], desk_book: DeskBook, sessions: Sessions, url: str,
                 home: str, log_in: str, rules: tuple[Rule, ...] = RULES) -> None:
        self._who, self._desk_book, self._sessions, self._rules = who, desk_book, sessions, rules
        self._url, self._home, self._log_in = url.rstrip("/"), home, log_in

    def __call__(self, environ: Environ, start_response: Callable[[str, Headers], Any]) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
        except Refused as refused:
            answer = self._in_words(environ, refused.status, refused.words)
        except Unreachable as error:
            log.warning("Label Studio does not answer: %s", error)
            answer = self._in_words(environ, 503, DOWN)
        except LockedOut as error:
            log.error("Label Studio refuses the account %s", error)
            answer = self._in_words(environ, 503, LOCKED_OUT)
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}",
                       [*answer.headers, ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin")])
        return answer.content

    def _answer(self, environ: Environ) -> Answer:
        _refuse_tricks(environ)
        method, target = environ["REQUEST_METHOD"], resolve(_raw_target(environ))
        if method == "GET" and target.path in HOME:
            return _redirect(self._home)
        user_id = self._who(environ.get("HTTP_COOKIE", ""))
        if user_id is None:
            return self._log_in_first(environ, method, target)
        desks = self._desk_book.desks_of(user_id)
        if desks is None:
            raise Refused(403, NO_DESK)
        if method != "GET":
            self._refuse_other_origins(environ)
        passage = decide(method, target, _body(environ) if method in ("POST", "PATCH") else None, rules=self._rules)
        if passage.rule.of_a_desk and passage.ids["project"] not in desks.ls_project_ids:
            log.warning("user %s asked for project %s, which is no desk of theirs", user_id, passage.ids["project"])
            raise Refused(404, NOT_YOURS)
        if passage.rule.canned is not None:
            return _json_answer(200, passage.rule.canned(passage.ids["project"], desks.account.record))
        ls_task_id = self._find_task(desks.account, passage)
        if passage.rule.is_answer and ls_task_id is not None:
            words = self._desk_book.may_answer(passage.ids["project"], ls_task_id)
            if words:
                raise Refused(403, words)
        return self._pass_on(environ, desks.account, passage)

    def _find_task(self, account: Account, passage: Passage) -> int | None:
        """The task that a change is about, None for what changes nothing. Raises Refused unless all its ids are theirs.

        What only reads needs no look beforehand: its answer says whose it is (`_pass_on`).
        """
        ids, project = passage.ids, passage.ids.get("project")
        if passage.rule.method == "GET" or not ids.keys() & {"task", "annotation", "draft"}:
            return None
        tasks = {ids["task"]} if "task" in ids else set()
        if "annotation" in ids:
            found = self._found(account, f"/api/annotations/{ids['annotation']}")
            is_skip = found.get("was_cancelled") is True
            if found.get("completed_by") != account.ls_user_id or (passage.rule.only_skips and not is_skip):
                raise Refused(404, NOT_YOURS)
            tasks.add(found["task"])
        if "draft" in ids:
            found = self._found(account, f"/api/drafts/{ids['draft']}")
            if found.get("user") != account.email:
                raise Refused(404, NOT_YOURS)
            tasks.add(found["task"])
        if "prediction" in ids:
            tasks.add(self._found(account, f"/api/predictions/{ids['prediction']}")["task"])
        if len(tasks) != 1 or not self._is_on_desk(account, project, *tasks):
            raise Refused(404, NOT_YOURS)
        return int(tasks.pop())

    def _found(self, account: Account, path: str) -> dict[str, Any]:
        found = self._sessions.look_up(account, path)
        if not isinstance(found, dict) or "task" not in found:
            raise Refused(404, NOT_YOURS)
        return found

    def _is_on_desk(self, account: Account, project: int | None, task: int) -> bool:
        only = {"filters": {"conjunction": "and", "items": [
            {"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": task}]}}
        found = self._sessions.look_up(account, "/api/tasks", {
            "project": str(project), "page_size": "1", "include": "id,project", "query": json.dumps(only)})
        rows = (found or {}).get("tasks", [])
        return [(row.get("id"), row.get("project")) for row in rows] == [(task, project)]

    def _pass_on(self, environ: Environ, account: Account, passage: Passage) -> Answer:
        rule = passage.rule
        response = self._sessions.ask(
            account, rule.method, passage.path, query=passage.query, body=passage.body,
            headers={name: environ[key] for key, name in ASKED.items() if key in environ})
        if rule.is_streamed and response.status_code in (200, 206, 304):
            headers = [(name, response.headers[name]) for name in TOLD if name in response.headers]
            caching = ("Cache-Control", "no-store" if rule.of_a_desk else "private, max-age=3600")
            return Answer(response.status_code, [*headers, caching, ("Content-Security-Policy", PAGE_POLICY)],
                          _stream(response))
        payload = _json(response)
        if response.status_code >= 300:
            detail = payload.get("detail") if isinstance(payload, dict) else None
            raise Refused(response.status_code if 400 <= response.status_code < 500 else 502,
                          detail if isinstance(detail, str) else f"Label Studio refused this ({response.status_code}).")
        if rule.names and not _all_name(rule.names, passage.ids["project"], payload):
            log.warning("the answer to %s %s is not of project %s", rule.method, passage.path, passage.ids["project"])
            raise Refused(404, NOT_YOURS)
        return _json_answer(response.status_code, rule.reshape(payload) if rule.reshape else payload)

    def _log_in_first(self, environ: Environ, method: str, target: Target) -> Answer:
        if method == "GET" and _wants_page(environ):
            return _redirect(f"{self._log_in}?next={quote(self._url + _raw_target(environ), safe='')}")
        raise Refused(401, "Log in to Goldpan first.")

    def _refuse_other_origins(self, environ: Environ) -> None:
        """A change has to come from one of the door's own pages: a browser says so, and no page can make it lie."""
        referer = urlsplit(environ.get("HTTP_REFERER", ""))
        origin = environ.get("HTTP_ORIGIN") or f"{referer.scheme}://{referer.netloc}"
        if origin != self._url and ("HTTP_ORIGIN" in environ or environ.get("HTTP_SEC_FETCH_SITE") != "same-origin"):
            raise Refused(403, f"This request does not come from a page of {self._url}. Open your desk there.")

    def _in_words(self, environ: Environ, status: int, words: str) -> Answer:
        if not _wants_page(environ):
            # With this reason Label Studio's page shows the words of a 403, else a sentence of its own.
            return _json_answer(status, {"detail": words, "status_code": status,
                                         "display_context": {"reason": "PAUSED"}})
        page = (f"<!doctype html><html lang=en><meta charset=utf-8><title>Goldpan</title><p>{html.escape(words)}</p>"
                f"<p><a href=\"{html.escape(self._home)}\">Back to Goldpan</a></p></html>")
        return Answer(status, [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store"),
                               ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")],
                      [page.encode()])


def _refuse_tricks(environ: Environ) -> None:
    """Refuse what makes two servers disagree on where a request ends or what it speaks."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise Refused(411, "Send the body in one piece, with its length.")
    if "HTTP_UPGRADE" in environ:
        raise Refused(400, "The door speaks HTTP only.")


def _raw_target(environ: Environ) -> str:
    """The target as it stood in the request line; servers that do not keep it have decoded the path."""
    if "RAW_URI" in environ:
        return str(environ["RAW_URI"])
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    return quote(environ["PATH_INFO"].encode("latin-1"), safe="/@+") + query


def _body(environ: Environ) -> Any:
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise Refused(413, f"The request is longer than {MAX_BODY:,} bytes.")
    if int(length) == 0:
        return None
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "The body has to be JSON.")
    try:
        return parse_strict(environ["wsgi.input"].read(int(length)))
    except ValueError as error:
        raise Refused(400, str(error)) from None


def _wants_page(environ: Environ) -> bool:
    return "text/html" in environ.get("HTTP_ACCEPT", "")


def _redirect(url: str) -> Answer:
    return Answer(302, [("Location", url), ("Cache-Control", "no-store"), ("Content-Length", "0")], [b""])


def _json_answer(status: int, payload: Any) -> Answer:
    if status == 204:
        return Answer(204, [("Cache-Control", "no-store")], [])
    content = json.dumps(payload).encode()
    return Answer(status, [("Content-Type", "application/json"), ("Content-Length", str(len(content))),
                           ("Cache-Control", "no-store")], [content])


def _all_name(field: str, project: int, payload: Any) -> bool:
    """Whether an answer, or every row of a list of tasks, names this project in this field."""
    rows = payload["tasks"] if isinstance(payload, dict) and "tasks" in payload else [payload]
    return all(isinstance(row, dict) and row.get(field) == project for row in rows)


def _is_logged_out(response: httpx.Response) -> bool:
    return response.status_code == 401 or urlsplit(response.headers.get("location", "")).path.startswith("/user/login")


def _json(response: httpx.Response) -> Any:
    """Read the response to its end; None for an error without JSON. Raises Unreachable for an error of the server."""
    with _reaching():
        try:
            response.read()
        finally:
            response.close()
        if response.status_code >= 500:
            response.raise_for_status()
    try:
        return json.loads(response.content or b"null")
    except ValueError:
        if response.is_success:
            raise Unreachable(f"the answer to {response.url.path} is no JSON") from None
        return None


def _stream(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()
    finally:
        response.close()


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise Unreachable(str(error)) from error
