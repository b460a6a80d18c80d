"""Requests to addresses that people have typed in: not into private networks, nowhere by redirect, not for ever.

The guard is in the client: the name is resolved once, the address is judged, and exactly that address is connected to,
so a name that changes its mind in between gains nothing. Origins that the operator allows go without the guard.
"""

import ipaddress
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
CONNECT_SECONDS = 5.0
MAX_ANSWER_CHARS = 500
MAX_STRAGGLERS = 50
THREAD = "goldpan-outbound"
TOO_LATE = "There was no answer within {seconds:g} s."


@dataclass(frozen=True)
class Post:
    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came back. status: of HTTP, None where there is none, and `words` say why.

    text: the first 500 characters of the body. retry_after: the seconds that the receiver asks for, 0 if it does not.
    """

    status: int | None
    words: str = ""
    text: str = ""
    retry_after: float = 0.0

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises ValueError for what is no web address, or has a user's name in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{url!r} is no web address") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(f"an address must look like https://host/path, got {url!r}")
    return parts.scheme, parts.hostname.lower(), port or DEFAULT_PORTS[parts.scheme]


def is_allowed(url: str, allowed_origins: Iterable[str]) -> bool:
    """Whether the operator has allowed this address by its origin. Raises ValueError for what is no web address."""
    return origin_of(url) in [origin_of(origin) for origin in allowed_origins]


def check_url(url: str, allowed_origins: Iterable[str]) -> None:
    """Raises ValueError, in words, for an address to which nothing would ever be sent."""
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ValueError("an address has no spaces in it")
    scheme, host, _ = origin_of(url)
    if is_allowed(url, allowed_origins):
        return
    if scheme != "https":
        raise ValueError("an address has to begin with https://, so that nobody reads along")
    try:
        is_public = ipaddress.ip_address(host).is_global
    except ValueError:  # a name, which is looked up whenever something is sent
        is_public = host != "localhost" and not host.endswith(".localhost")
    if not is_public:
        raise ValueError(f"{host} is in a private network")


def post(sent: Post, *, allowed_origins: Sequence[str], seconds: float) -> Answer:
    """Send one request and return what came back; nothing that the network or the receiver does raises.

    seconds: how long the receiver may be silent at a time.
    """
    import requests
    from requests_hardened import Config, HTTPSession
    from requests_hardened.ip_filter import InvalidIPAddress

    try:
        check_url(sent.url, allowed_origins)
    except ValueError as error:
        return Answer(None, f"It was not sent: {error}.")
    session: requests.Session = requests.Session() if is_allowed(sent.url, allowed_origins) else HTTPSession(Config(
        ip_filter_enable=True, ip_filter_allow_loopback_ips=False, never_redirect=True, default_timeout=None))
    session.trust_env = False  # no proxy and no password from the environment
    try:
        with session, session.post(
                sent.url, data=sent.body, headers={"Accept-Encoding": "identity", "Connection": "close",
                                                   **sent.headers},
                timeout=(min(CONNECT_SECONDS, seconds), seconds), allow_redirects=False, stream=True) as response:
            said = response.raw.read1(4 * MAX_ANSWER_CHARS) or b""
            return Answer(response.status_code, text=_printable(said.decode("utf-8", "replace")),
                          retry_after=_seconds(response.headers.get("Retry-After", "")))
    except InvalidIPAddress:
        return Answer(None, "It was not sent: the name leads into a private network. Whoever runs Goldpan can allow "
                            "the address by GOLDPAN_ALLOWED_ORIGINS.")
    except requests.exceptions.SSLError:
        return Answer(None, "It was not sent: the certificate there is not valid for this name.")
    except requests.exceptions.Timeout:
        return Answer(None, TOO_LATE.format(seconds=seconds))
    except (requests.RequestException, OSError, ValueError):
        return Answer(None, "Nobody could be reached: the name is unknown, the port is closed, or the line broke.")


def post_all(posts: Sequence[Post], *, allowed_origins: Sequence[str], seconds: float) -> list[Answer]:
    """Send them side by side; return the answers in the order of the requests after `seconds` at the most.

    Whoever trickles an answer byte by byte is left alone with it: for the caller that is no answer.
    """
    answers: list[Answer | None] = [None] * len(posts)

    def send(place: int) -> None:
        answers[place] = post(posts[place], allowed_origins=allowed_origins, seconds=seconds)

    threads = [threading.Thread(target=send, args=[place], name=THREAD, daemon=True) for place in range(len(posts))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [answer or Answer(None, TOO_LATE.format(seconds=seconds)) for answer in answers]


def n_stragglers() -> int:
    """How many requests are still under way that nobody waits for."""
    return sum(thread.name == THREAD for thread in threading.enumerate())


def _printable(text: str) -> str:
    """The first characters, without those that no database or page can take."""
    return "".join(letter for letter in text[:MAX_ANSWER_CHARS] if letter.isprintable() or letter == "\n")


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7 else 0.0
