"""Label Studio's API as Goldpan uses it: its calls, its errors and its pitfalls, all in this module.

Nothing here retries. A write whose answer did not come raises Ambiguous: look with `scan_identities` (or the method's
own look-up) before sending again. An example is known by (project, meta.goldpan.external_id), never by Label Studio's
task id, which it gives out again after a deletion. One writer at a time per server.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import httpx

OLDEST_VERSION = (1, 23, 2)  # before it, anybody with a login could aim webhooks at private addresses
MAX_IMPORT = 500  # tasks per call: longer imports hold up the annotators' saves on SQLite
PAGE_SIZE = 500
MODEL_VERSION = "suggestion"  # predictions prefill only under the project's version, which the first import sets
TIMEOUT_SECONDS = 60.0
IMPORT_TIMEOUT_SECONDS = 300.0
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class LabelStudioError(Exception):
    """A call did not do what was asked. The message is for people: what is wrong, then what to do."""


class Unavailable(LabelStudioError):
    """The server was not reached or did not work; nothing was changed there."""


class AuthFailed(LabelStudioError):
    """The server refused the token or the password."""


class NotFound(LabelStudioError):
    """The project or task is gone."""


class Invalid(LabelStudioError):
    """The server refused what was sent, or it is no server that Goldpan works with."""


class Ambiguous(LabelStudioError):
    """A change was sent and no answer came: it may have happened, or may happen yet."""


@dataclass(frozen=True)
class TaskIn:
    """One example to label. `key` is its identity, `batch` the push it belongs to, `data` at least {"text": …}.

    prediction: a result to prefill; the annotator may change it.
    """

    key: str
    data: Mapping[str, Any]
    batch: str
    prediction: Sequence[Mapping[str, Any]] | None = None


class TaskIdentity(NamedTuple):
    """A task in Label Studio. `key` and `batch` are None for a task that Goldpan did not make."""

    ls_task_id: int
    key: str | None
    batch: str | None


@dataclass(frozen=True)
class AnnotationOut:
    """One person's saved answer. `ls_user_id` is None after that person was deleted, `seconds` if not measured."""

    ls_annotation_id: int
    ls_user_id: int | None
    result: list[dict[str, Any]]
    was_cancelled: bool
    seconds: float | None
    updated_at: datetime


@dataclass(frozen=True)
class TaskOut:
    """A task with all the annotations that it has now: one that is missing was deleted."""

    ls_task_id: int
    key: str | None
    updated_at: datetime
    annotations: tuple[AnnotationOut, ...]


@dataclass(frozen=True)
class ProjectFacts:
    """A project as Label Studio counts it; `n_annotations` leaves out skipped ones."""

    n_tasks: int
    n_annotations: int
    label_config: str


def is_up(url: str) -> bool:
    """Whether a Label Studio answers at this address and says that it is well."""
    import httpx

    try:
        return bool(httpx.get(f"{url}/health", timeout=2, trust_env=False).json() == {"status": "UP"})
    except (httpx.HTTPError, ValueError):
        return False


def bootstrap_token(url: str, email: str, password: str) -> str:
    """Return a new personal access token of this user; the token that the user had before is revoked.

    Raises Unavailable, AuthFailed (wrong password), Invalid.
    """
    with _errors(url, writes=False), _browser(url) as browser:
        _post_form(browser, "/user/login/", {"email": email, "password": password, "persist_session": "on"})
        if browser.get("/api/current-user/whoami").status_code != 200:
            raise AuthFailed(f"Label Studio at {url} refused the password of {email}. Check both.")
        answer = browser.post("/api/token/")
        if answer.status_code == 409:  # one token per user; its text is shown only once, so the old one is no use
            for token in browser.get("/api/token/").raise_for_status().json():
                browser.post("/api/token/blacklist/", json={"refresh": token["token"]}).raise_for_status()
            answer = browser.post("/api/token/")
        return str(answer.raise_for_status().json()["token"])


class LabelStudio:
    """A Label Studio server, seen with one token. Making it sends nothing; it may be shared by threads.

    url: address of the server, for example http://localhost:8080.
    token: a personal access token (`bootstrap_token`).
    Every method that asks the server raises Unavailable, AuthFailed, NotFound or Invalid; one that changes something
    there also Ambiguous.
    """

    def __init__(self, url: str, token: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._timeout = timeout

    def version(self) -> str:
        """Return the server's version. Raises Invalid if it is older than 1.23.2."""
        release = str(self._read(lambda sdk: sdk.versions.get()).release)
        numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
        if numbers is None or tuple(int(number or 0) for number in numbers.groups()) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise Invalid(f"Label Studio at {self.url} is version {release}. Update it to {oldest} or newer.")
        return release

    def clock(self) -> datetime:
        """Return the server's time, which its time stamps are of."""
        import httpx

        with _errors(self.url, writes=False):
            answer = httpx.get(f"{self.url}/health", timeout=self._timeout, trust_env=False)
            return parsedate_to_datetime(answer.headers["Date"])

    def whoami(self) -> str:
        """Return the e-mail of the token's user."""
        return str(self._read(lambda sdk: sdk.users.whoami()).email)

    def create_project(self, title: str, label_config: str, overlap: int) -> int:
        """Make a project and return its id. Titles are not unique there; after Ambiguous look with `find_project`.

        title: 3 to 50 characters.
        overlap: how many people label each task, at least 1.
        """
        return int(self._write(lambda sdk: sdk.projects.create(
            title=title, label_config=label_config, maximum_annotations=overlap)).id)

    def find_project(self, title: str) -> int | None:
        """Return the id of the oldest project with exactly this title, None if there is none."""
        found = self._read(lambda sdk: sdk.projects.list(
            title=title, include="id,title", ordering="id", page_size=PAGE_SIZE).items) or []
        return min((int(project.id) for project in found if project.title == title), default=None)

    def delete_project(self, ls_project_id: int) -> None:
        """Delete the project with its tasks and annotations."""
        self._write(lambda sdk: sdk.projects.delete(id=ls_project_id))

    def project(self, ls_project_id: int) -> ProjectFacts:
        facts = self._read(lambda sdk: sdk.projects.get(id=ls_project_id))
        return ProjectFacts(int(facts.task_number or 0), int(facts.total_annotations_number or 0),
                            str(facts.label_config or ""))

    def update_config(self, ls_project_id: int, label_config: str) -> None:
        """Change the labelling page. The server compares it with answers given one by one, not with imported ones."""
        self._write(lambda sdk: sdk.projects.update(id=ls_project_id, label_config=label_config))

    def import_tasks(self, ls_project_id: int, tasks: Sequence[TaskIn]) -> list[int]:
        """Add the tasks and return their ids in the same order: all of them, or none if the server refuses one.

        Nothing is compared with what is there: the same tasks sent twice are there twice.
        Raises ValueError for more than 500 tasks.
        """
        if len(tasks) > MAX_IMPORT:
            raise ValueError(f"at most {MAX_IMPORT} tasks per call, got {len(tasks)}")
        if not tasks:
            return []
        request: list[Any] = [
            {"data": dict(task.data), "meta": {"goldpan": {"external_id": task.key, "batch": task.batch}},
             **({"predictions": [{"model_version": MODEL_VERSION, "result": [dict(item) for item in task.prediction]}]}
                if task.prediction is not None else {})}
            for task in tasks]
        ids = self._write(lambda sdk: sdk.projects.import_tasks(
            id=ls_project_id, request=request, return_task_ids=True,
            request_options={"timeout_in_seconds": IMPORT_TIMEOUT_SECONDS})).task_ids or []
        if len(ids) != len(tasks):
            raise Ambiguous(f"Label Studio took {len(ids)} of {len(tasks)} tasks. Compare before sending more.")
        return [int(ls_task_id) for ls_task_id in ids]

    def scan_identities(self, ls_project_id: int, since: datetime | None = None) -> Iterator[TaskIdentity]:
        """Yield all tasks of the project by id; with `since`, those touched at or after it."""
        changed = [_filter("updated_at", "greater_or_equal", since)] if since else []
        after = 0
        while True:
            rows = self._page(ls_project_id, [*changed, _filter("id", "greater", after)], "tasks:id", "id,meta")
            for row in rows:
                yield TaskIdentity(int(row.id), *_identity(row.meta))
            if len(rows) < PAGE_SIZE:
                return
            after = int(rows[-1].id)

    def pull_changes(self, ls_project_id: int, since: datetime | None) -> Iterator[TaskOut]:
        """Yield the tasks touched at or after `since` (None: all), oldest touch first, each with all its annotations.

        A task touched while this runs can come twice; the later one counts. Rows can be committed a little after their
        stamp, so start about two minutes before the last stamp or `clock` seen. Deleted tasks do not show here: compare
        the project's n_tasks, then `scan_identities`.
        """
        operator = "greater_or_equal"
        while True:
            changed = [_filter("updated_at", operator, since)] if since else []
            rows = self._page(ls_project_id, changed, "tasks:updated_at", _LEAN)
            if len(rows) < PAGE_SIZE:
                yield from map(_task_out, rows)
                return
            last = rows[-1].updated_at
            yield from (_task_out(row) for row in rows if row.updated_at < last)
            # Bulk actions stamp thousands of tasks alike, so a page may end inside a tie: read that stamp whole, by id.
            yield from self._stamped(ls_project_id, last)
            since, operator = last, "greater"

    def _stamped(self, ls_project_id: int, stamp: datetime) -> Iterator[TaskOut]:
        after = 0
        while True:
            rows = self._page(ls_project_id, [_filter("updated_at", "equal", stamp), _filter("id", "greater", after)],
                              "tasks:id", _LEAN)
            yield from map(_task_out, rows)
            if len(rows) < PAGE_SIZE:
                return
            after = int(rows[-1].id)

    def delete_tasks(self, ls_project_id: int, ls_task_ids: Sequence[int]) -> None:
        """Delete these tasks with their annotations; ids that are not there are passed over."""
        for start in range(0, len(ls_task_ids), MAX_IMPORT):
            self._delete(ls_project_id, list(ls_task_ids[start:start + MAX_IMPORT]))

    def _delete(self, ls_project_id: int, ls_task_ids: list[int]) -> None:
        self._write(lambda sdk: sdk.actions.create(
            id="delete_tasks", project=ls_project_id, selected_items={"all": False, "included": ls_task_ids}))

    def provision_annotator(self, email: str, password: str) -> int:
        """Return the id of the user with this e-mail; a new one gets an account and may log in with the password.

        The password of an account that exists stays as it is.
        password: at least 8 characters.
        """
        if (found := self._user(email)) is not None:
            return found
        invite = self._read(lambda sdk: sdk.organizations.invites.get_invite_link()).token
        with _errors(self.url, writes=True), _browser(self.url) as browser:
            _post_form(browser, f"/user/signup/?token={invite}", {"email": email, "password": password})
        if (found := self._user(email)) is None:
            raise Invalid(f"Label Studio made no account for {email}. Check the address, and that the password has at "
                          "least 8 characters.")
        return found

    def answer(self, ls_task_id: int, result: Sequence[Mapping[str, Any]], ls_user_id: int, seconds: float, *,
               skipped: bool = False) -> int:
        """Save an answer in this person's name and return its annotation id; a second call changes nothing.

        The server does not compare the result with the project's labels: check it before.
        """
        unique_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"goldpan/{ls_task_id}/{ls_user_id}"))
        saved = self._write(lambda sdk: _unless_409(lambda: sdk.annotations.create(
            id=ls_task_id, result=[dict(item) for item in result], completed_by=ls_user_id, lead_time=seconds,
            was_cancelled=skipped, unique_id=unique_id)))
        if saved is None:
            return self._answered(ls_task_id, ls_user_id)
        return int(saved.id)

    def _answered(self, ls_task_id: int, ls_user_id: int) -> int:
        for annotation in self._read(lambda sdk: sdk.annotations.list(id=ls_task_id)):
            if annotation.completed_by == ls_user_id:
                return int(annotation.id)
        raise Invalid(f"Label Studio holds another answer in the name of user {ls_user_id} for task {ls_task_id}.")

    def register_webhook(self, ls_project_id: int, url: str, secret: str) -> int:
        """Have the project's changes sent to `url` with the secret as bearer token; return the webhook's id.

        One webhook per url: a second call renews its secret.
        """
        headers = {"Authorization": f"Bearer {secret}"}
        there = self._read(lambda sdk: sdk.webhooks.list(project=str(ls_project_id)))
        webhook_id = next((webhook.id for webhook in there if webhook.url == url), None)
        if webhook_id is not None:
            self._write(lambda sdk: sdk.webhooks.update(
                id=webhook_id, url=url, headers=headers, is_active=True, send_payload=True, send_for_all_actions=True))
            return int(webhook_id)
        created = self._write(lambda sdk: sdk.webhooks.create(
            url=url, project=ls_project_id, headers=headers, send_payload=True, send_for_all_actions=True))
        return int(created.id)

    def task_url(self, ls_project_id: int, ls_task_id: int) -> str:
        """The page of one task, which shows other people's answers: for adjudication."""
        return f"{self.url}/projects/{ls_project_id}/data?task={ls_task_id}"

    def stream_url(self, ls_project_id: int) -> str:
        """The page that gives one unanswered task after the other and shows nobody else's answers."""
        return f"{self.url}/projects/{ls_project_id}/data?labeling=1"

    @cached_property
    def _sdk(self) -> Any:
        from label_studio_sdk import LabelStudio as Sdk  # 3 s and 150 MB: only for processes that talk to the server

        # The SDK's own retries repeat POSTs, and the server delays answers on kept connections by 40 ms.
        return Sdk(base_url=self.url, api_key=self._token, max_retries=0, httpx_client=_http(self._timeout))

    def _read(self, call: Callable[[Any], Any]) -> Any:
        with _errors(self.url, writes=False):
            return call(self._sdk)

    def _write(self, call: Callable[[Any], Any]) -> Any:
        with _errors(self.url, writes=True):
            return call(self._sdk)

    def _page(self, ls_project_id: int, filters: list[dict[str, Any]], order: str, include: str) -> list[Any]:
        query = json.dumps({"filters": {"conjunction": "and", "items": filters}, "ordering": [order]})
        # Only page 1 is ever asked for: the SDK takes a 404 on a later page for the end of the list.
        return self._read(lambda sdk: sdk.tasks.list(
            project=ls_project_id, page=1, page_size=PAGE_SIZE, fields="all", include=include, query=query).items) or []

    def _user(self, email: str) -> int | None:
        for user in self._read(lambda sdk: sdk.users.list()):
            if (user.email or "").casefold() == email.casefold():
                return int(user.id)
        return None


_LEAN = "id,updated_at,meta,annotations,result,completed_by,lead_time,was_cancelled"  # all fields: 20 times slower


def _filter(field: str, operator: str, value: datetime | int) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {"filter": f"filter:tasks:{field}", "operator": operator, "type": "Datetime",
                "value": value.astimezone(UTC).strftime(_TIME_FORMAT)}
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": "Number", "value": value}


def _identity(meta: object) -> tuple[str | None, str | None]:
    """The key and batch in a task's meta, which any annotator can edit: anything else than text is nothing."""
    ours = meta.get("goldpan") if isinstance(meta, Mapping) else None
    if not isinstance(ours, Mapping):
        return None, None
    key, batch = ours.get("external_id"), ours.get("batch")
    return key if isinstance(key, str) else None, batch if isinstance(batch, str) else None


def _task_out(row: Any) -> TaskOut:
    annotations = tuple(_annotation_out(annotation) for annotation in row.annotations or [])
    return TaskOut(int(row.id), _identity(row.meta)[0], row.updated_at, annotations)


def _annotation_out(annotation: Mapping[str, Any]) -> AnnotationOut:
    seconds = annotation.get("lead_time")
    return AnnotationOut(
        ls_annotation_id=int(annotation["id"]),
        ls_user_id=annotation.get("completed_by"),
        result=list(annotation.get("result") or []),
        was_cancelled=bool(annotation.get("was_cancelled")),
        seconds=None if seconds is None else float(seconds),
        updated_at=datetime.fromisoformat(annotation["updated_at"]))


def _unless_409(call: Callable[[], Any]) -> Any:
    from label_studio_sdk.core.api_error import ApiError

    try:
        return call()
    except ApiError as error:
        if error.status_code == 409:
            return None
        raise


def _http(timeout: float, **options: Any) -> "httpx.Client":
    import httpx

    return httpx.Client(timeout=timeout, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0), **options)


def _browser(url: str) -> "httpx.Client":
    """A client that keeps cookies, as Label Studio's log-in and sign-up pages want it."""
    return _http(TIMEOUT_SECONDS, base_url=url.rstrip("/"), headers={"Referer": url.rstrip("/")})


def _post_form(browser: "httpx.Client", path: str, fields: dict[str, str]) -> None:
    browser.get(path).raise_for_status()
    if "csrftoken" not in browser.cookies:
        raise ValueError(f"{path} set no csrftoken")
    answer = browser.post(path, data={**fields, "csrfmiddlewaretoken": browser.cookies["csrftoken"]})
    if answer.is_error:  # sent on to the next page, or back to the form: the caller looks whether it worked
        answer.raise_for_status()


@contextmanager
def _errors(url: str, *, writes: bool) -> Iterator[None]:
    """Turn whatever the SDK and httpx raise into one of this module's errors."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield
    except ApiError as error:
        raise _from_status(url, error.status_code or 0, error.body, writes) from error
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 404:  # of a page that every Label Studio has
            raise _not_label_studio(url) from error
        raise _from_status(url, error.response.status_code, None, writes) from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol,
            httpx.InvalidURL) as error:
        raise Unavailable(f"Label Studio at {url} cannot be reached. Start it, or check the address.") from error
    except httpx.LocalProtocolError as error:  # an empty token, or one with a line break
        raise _from_status(url, 401, None, writes) from error
    except httpx.RequestError as error:
        if writes:
            raise _ambiguous(url) from error
        raise Unavailable(f"Label Studio at {url} did not answer in time. Try again in a minute.") from error
    except (ValueError, KeyError, TypeError) as error:  # not JSON, or JSON of another shape
        if writes:
            raise _ambiguous(url) from error
        raise _not_label_studio(url) from error


def _from_status(url: str, status: int, body: Any, writes: bool) -> LabelStudioError:
    if 200 <= status < 300:  # the SDK could not read the body
        return _ambiguous(url) if writes else _not_label_studio(url)
    if status in (401, 403):
        return AuthFailed(f"Label Studio at {url} refused the access token. Make a new one there and store it here.")
    if status == 404:
        return NotFound(f"Label Studio at {url} no longer has this project or task.")
    if 300 <= status < 400:
        return Invalid(f"{url} sends on to another address. Give Label Studio's final address.")
    if status in (429, 503):
        return Unavailable(f"Label Studio at {url} is busy. Try again in a minute.")
    if status >= 500 and writes:
        return _ambiguous(url)
    if status >= 500:
        return Unavailable(f"Label Studio at {url} failed with status {status}. Its log says why.")
    return Invalid(f"Label Studio refused this: {_reason(body) or f'status {status}'}.")


def _not_label_studio(url: str) -> Unavailable:
    return Unavailable(f"What answers at {url} is not Label Studio. Check the address.")


def _ambiguous(url: str) -> Ambiguous:
    return Ambiguous(f"Label Studio at {url} gave no clear answer, so the change may have been made there or not. "
                     "Compare before sending it again.")


def _reason(body: Any) -> str:
    """The server's words for a refused request: its field errors, else its detail, at most 300 characters."""
    if not isinstance(body, Mapping):
        return ""
    errors = body.get("validation_errors")
    texts = [str(text) for value in errors.values() for text in (value if isinstance(value, list) else [value])] \
        if isinstance(errors, Mapping) else []
    return " ".join("; ".join(texts or [str(body.get("detail") or "")]).split())[:300].rstrip(".")
