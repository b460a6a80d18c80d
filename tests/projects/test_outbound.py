"""Requests to addresses that people typed in: a real receiver here, and names that lead where nothing may go."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from projects.outbound import Answer, Post, check_url, origin_of, post, post_all
from tests.receiver import Receiver, receiver


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def send(url: str, *origins: str, seconds: float = 5) -> Answer:
    return post(Post(url, b"{}", {"Content-Type": "application/json"}), allowed_origins=origins, seconds=seconds)


def test_an_allowed_origin_gets_it_and_its_answer_comes_back(there: Receiver) -> None:
    there.text = "x" * 3000
    answer = send(there.url, there.origin)
    assert answer.is_taken and answer.status == 200 and answer.text == "x" * 500
    assert there.came[0][0] == "/hook" and there.came[0][2] == b"{}"


def test_a_redirect_is_not_followed(there: Receiver) -> None:
    there.status, there.headers = 302, {"Location": f"{there.origin}/elsewhere"}
    answer = send(there.url, there.origin)
    assert not answer.is_taken and answer.status == 302 and [path for path, _, _ in there.came] == ["/hook"]


def test_retry_after_is_read_in_seconds(there: Receiver) -> None:
    for said, seconds in (("120", 120), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-5", 0), ("9999999", 0)):
        there.status, there.headers = 503, {"Retry-After": said}
        assert send(there.url, there.origin).retry_after == seconds


@pytest.mark.parametrize("url", [
    "https://127.0.0.1/", "https://localhost/", "https://app.localhost/", "https://[::1]/", "https://10.0.0.7/",
    "https://169.254.169.254/latest/meta-data/", "https://192.168.1.1:8443/", "https://0.0.0.0/",
    "https://[::ffff:127.0.0.1]/", "https://100.64.0.1/"])
def test_an_address_in_a_private_network_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ValueError, match="private network"):
        check_url(url, [])
    assert "private network" in send(url).words


@pytest.mark.parametrize("url", [
    "http://example.org/", "ftp://example.org/", "https://", "https://user:pw@example.org/", "https://ex ample.org/",
    "javascript:alert(1)", "https://example.org:99999/", "//example.org", "https://example.org/\r\nX: y"])
def test_what_is_no_safe_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        check_url(url, [])


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1",
                                     "64:ff9b::a00:1", "100.64.0.1"])
@pytest.mark.parametrize("form", ["https://hooks.example.org/x", "https://0x7f000001/", "https://2130706433/"])
def test_a_name_that_leads_into_a_private_network_is_not_connected_to(
        monkeypatch: pytest.MonkeyPatch, address: str, form: str) -> None:
    """The guard judges what the name leads to at the time of the request, so that rebinding gains nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def resolve(*args: Any, **kwargs: Any) -> list[Any]:
        return [(family, socket.SOCK_STREAM, 6, "", (address, 443))]

    def connect(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it connected")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    assert "leads into a private network" in send(form).words


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, connected = [], []

    def resolve(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        address = "93.184.216.34" if host in ("hooks.example.org", "93.184.216.34") else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    def connect(self: Any, address: Any) -> None:
        connected.append(address)
        raise OSError("no network in a test")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    assert "Nobody could be reached" in send("https://hooks.example.org/").words
    assert asked.count("hooks.example.org") == 1 and connected == [("93.184.216.34", 443)]


def test_an_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch, there: Receiver) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert send(there.url, there.origin).is_taken


def test_an_origin_is_scheme_host_and_port(there: Receiver) -> None:
    assert origin_of("https://Hooks.example.org/a") == ("https", "hooks.example.org", 443)
    port = there.origin.rpartition(":")[2]
    for near in (f"https://127.0.0.1:{port}", f"http://localhost:{port}", "http://127.0.0.1"):
        assert send(there.url, near).status is None
    assert not there.came


def test_who_is_slow_holds_nobody_up(there: Receiver) -> None:
    """Side by side, and after the time is over the caller goes on without the slow one."""
    posts = [Post(f"{there.origin}/slow", b"{}"), Post(there.url, b"{}")]
    slow, quick = post_all(posts, allowed_origins=[there.origin], seconds=1)
    assert quick.is_taken and not slow.is_taken and slow.words == "There was no answer within 1 s."


def test_nobody_there(there: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert send(f"{origin}/hook", origin).words.startswith("Nobody could be reached")
