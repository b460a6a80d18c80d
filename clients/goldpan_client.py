"""A client of Goldpan's API: one file without dependencies, to be copied to wherever it is needed. Python 3.11.

    goldpan = Goldpan("http://localhost:8000", key=os.environ["GOLDPAN_KEY"])
    upload = goldpan.upload("/projects/1/uploads", "examples.csv")
    goldpan.wait(goldpan.post(f"/uploads/{upload['id']}/import"))
    for example in goldpan.pages("/projects/1/examples", split="pool"):
        print(example["text"])

Paths are those of /api/docs, without /api/v1 before them. What comes back is the answer's JSON.
"""

import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

Json = dict[str, Any]
ENDED = ("succeeded", "failed", "cancelled")
AGAIN = (429, 502, 503, 504)  # answers after which the same request may be sent again
LONGEST_WAIT = 30.0  # seconds between two tries, unless the server asks for more


class GoldpanError(Exception):
    """What Goldpan answered, in its words. errors: which fields are wrong, where some are."""

    def __init__(self, status: int, detail: str, errors: list[Json]) -> None:
        super().__init__(" ".join([detail, *(f"{one.get('pointer') or one.get('parameter')}: {one['detail']}."
                                             for one in errors)]))
        self.status, self.detail, self.errors = status, detail, errors


class JobFailed(Exception):
    """A job ended otherwise than well; the words are the job's own."""

    def __init__(self, job: Json) -> None:
        super().__init__(f"{job['title']} (job {job['id']}) {job['state']}. {job['error']}".strip())
        self.job = job


class _NoRedirect(HTTPRedirectHandler):
    """A key is sent to the one host that it was given for, never to where that host points."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True)
class Goldpan:
    """A project's Goldpan at `url`, asked with a key made on the project's page of keys.

    timeout: seconds to wait for an answer. tries: of a request that got none, or that the server was too busy for.
    """

    url: str
    key: str = field(repr=False)
    timeout: float = 60.0
    tries: int = 5

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"url begins with http:// or https://, got {self.url!r}")

    def get(self, path: str, **query: Any) -> Any:
        """Read what is at a path. query: parameters; those that are None are left out."""
        return _json(self._ask("GET", path, query=query))

    def post(self, path: str, **body: Any) -> Any:
        """Do something. However often the request has to be sent, it is done once."""
        return _json(self._ask("POST", path, body=json.dumps(body).encode(), content_type="application/json"))

    def put(self, path: str, **body: Any) -> Any:
        """Set something to what the body says."""
        return _json(self._ask("PUT", path, body=json.dumps(body).encode(), content_type="application/json"))

    def pages(self, path: str, *, limit: int = 100, **query: Any) -> Iterator[Json]:
        """Yield every row of a list, asking for one page after the other. limit: rows per page, 200 at most."""
        cursor = None
        while True:
            page = self.get(path, cursor=cursor, limit=limit, **query)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def upload(self, path: str, file: str | Path, **form: str) -> Any:
        """Send a file with the fields of a form beside it, such as kind="annotations"; of a folder all its files."""
        source, edge = Path(file), uuid.uuid4().hex
        parts = [f'--{edge}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
                 for field, value in form.items()]
        sent_as, files = ("files", sorted(source.iterdir())) if source.is_dir() else ("file", [source])
        for one in files:
            name = one.name.replace("\\", "_").replace('"', "_")
            parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="{sent_as}"; filename="{name}"\r\n'
                         "Content-Type: application/octet-stream\r\n\r\n".encode() + one.read_bytes() + b"\r\n")
        return _json(self._ask("POST", path, body=b"".join([*parts, f"--{edge}--\r\n".encode()]),
                               content_type=f"multipart/form-data; boundary={edge}"))

    def download(self, path: str, to: str | Path, **query: Any) -> Path:
        """Write the file at a path to `to`, which is replaced once the whole file has come. Returns where it is."""
        target = Path(to)
        part = target.with_name(f"{target.name}.part")
        part.write_bytes(self._ask("GET", path, query=query))
        return part.replace(target)

    def wait(self, job: Json | int, *, seconds: float | None = None, every: float = 2.0) -> Json:
        """Wait until a job has ended well and return it. job: a job, its id, or a run that has one.

        Raises JobFailed if it failed or was cancelled, TimeoutError if it has not ended after so many seconds.
        """
        number = job if isinstance(job, int) else job.get("job", job)["id"]
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            found: Json = self.get(f"/jobs/{number}")
            if found["state"] == "succeeded":
                return found
            if found["state"] in ENDED:
                raise JobFailed(found)
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"job {number} is {found['state']} after {seconds:g} s")
            time.sleep(every)

    def _ask(self, method: str, path: str, *, query: Json | None = None, body: bytes | None = None,
             content_type: str = "") -> bytes:
        """Send a request, again where that does no harm; raises GoldpanError for an answer that is an error."""
        asked = {name: _word(value) for name, value in (query or {}).items() if value is not None}
        address = f"{self.url.rstrip('/')}/api/v1{path}" + (f"?{urlencode(asked)}" if asked else "")
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "application/json"}
        headers |= {"Content-Type": content_type} if content_type else {}
        headers |= {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        opener = build_opener(_NoRedirect)
        for n_tried in range(1, self.tries + 1):
            try:
                request = Request(address, data=body, method=method, headers=headers)  # noqa: S310  # http(s), checked
                with opener.open(request, timeout=self.timeout) as answer:
                    return bytes(answer.read())
            except HTTPError as error:
                with error:
                    said = error.read()
                if error.code not in AGAIN or n_tried == self.tries:
                    raise _error(error.code, said) from None
                pause = _pause(n_tried, error.headers)
            except (URLError, TimeoutError, ConnectionError, HTTPException):
                if n_tried == self.tries:
                    raise
                pause = _pause(n_tried, None)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")


def _pause(n_tried: int, headers: Message | None) -> float:
    """Seconds until the next try: as the server asks, else twice as long each time and up to a half shorter."""
    asked = headers.get("Retry-After", "") if headers is not None else ""
    if asked.isdecimal():
        return float(asked)
    return min(LONGEST_WAIT, 0.5 * 2 ** (n_tried - 1)) * random.uniform(0.5, 1)


def _error(status: int, said: bytes) -> GoldpanError:
    try:
        problem = json.loads(said)
        return GoldpanError(status, problem["detail"], problem.get("errors", []))
    except (ValueError, KeyError, TypeError):
        return GoldpanError(status, f"Status {status}, and no words with it.", [])


def _json(answer: bytes) -> Any:
    return json.loads(answer)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
