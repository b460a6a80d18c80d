import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.training.tiny_model import SCHEMA
from training import prompts
from training.openai_endpoint import (
    EndpointFailed,
    Reply,
    answer,
    parse_label,
    request_of,
    request_sha256,
    retry_after,
)
from training.rate_limit import RateLimit

PROMPT = prompts.short(SCHEMA)


class Vendor:
    """A server that answers each text with what the test says, and remembers what it was asked."""

    def __init__(self):
        self.asked, self.answers, self.failures, self.holds_schemas = [], {}, {}, True
        self.wait, self.counts = {"Retry-After-Ms": "10"}, True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.origin = self.url.removesuffix("/v1")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _handler(self):
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = asked["messages"][-1]["content"]
                vendor.asked.append((self.headers["Authorization"], asked))
                status = vendor.failures[text].pop() if vendor.failures.get(text) else 200
                if "response_format" in asked and not vendor.holds_schemas:
                    status = 400
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Type", "application/json")
                for name, value in vendor.wait.items():
                    self.send_header(name, value)
                self.end_headers()
                message = {"role": "assistant", "content": vendor.answers.get(text, "good")}
                usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22} if vendor.counts else None
                self.wfile.write(json.dumps({
                    "usage": usage,
                    "id": "1", "object": "chat.completion", "created": 0, "model": "m",
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode())

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def vendor():
    vendor = Vendor()
    yield vendor
    vendor.server.shutdown()


def requests(texts, prompt=PROMPT):
    return [request_of(prompt, text, {}, (), model="m", max_tokens=64) for text in texts]


def ask(vendor, texts, prompt=PROMPT, **changed):
    replies = answer(vendor.url, "secret", requests(texts, prompt), **({"allowed_origins": [vendor.origin]} | changed))
    return [parse_label(reply.text, prompt) if prompt.has_labels else reply.text for reply in replies]


def test_every_text_gets_its_own_label(vendor):
    vendor.answers = {f"t{n}": ["bad", "so so", "good"][n % 3] for n in range(40)}
    assert ask(vendor, list(vendor.answers)) == list(vendor.answers.values())


def test_the_request_is_the_prompt_at_temperature_zero(vendor):
    ask(vendor, ["hello"])
    [(authorization, asked)] = vendor.asked
    assert authorization == "Bearer secret"
    assert asked["temperature"] == 0 and asked["messages"] == prompts.render(PROMPT, "hello")


def test_written_answers_come_as_they_are(vendor):
    vendor.answers = {"a": "As you wish.", "b": ""}
    prompt = prompts.zero_shot({}, "Answer.", "response")
    assert ask(vendor, ["a", "b"], prompt) == ["As you wish.", ""]
    assert "response_format" not in vendor.asked[0][1]


@pytest.mark.parametrize("holds_schemas", [True, False])
def test_a_json_answer_is_held_to_its_schema_where_the_endpoint_can(vendor, holds_schemas):
    vendor.holds_schemas = holds_schemas
    prompt = prompts.zero_shot(
        {"json_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}, "", "extraction")
    texts = [f"t{n}" for n in range(9)]
    assert ask(vendor, texts, prompt, parallel=1) == ["good"] * 9
    formats = [asked["response_format"] for _, asked in vendor.asked if "response_format" in asked]
    held = [one["json_schema"]["schema"] for one in formats]
    assert held == [prompt.answer_schema] * (9 if holds_schemas else 1)  # refused once, it is not asked for again
    assert prompt.answer_schema["additionalProperties"] is False


def test_an_answer_that_is_no_label_is_none(vendor):
    vendor.answers = {"a": "I cannot say.", "b": "", "c": "good or bad"}
    assert ask(vendor, ["a", "b", "c"]) == [None, None, None]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(vendor, status):
    vendor.failures = {"hello": [status, status]}
    assert ask(vendor, ["hello"]) == ["good"]
    assert len(vendor.asked) == 3


def test_an_endpoint_that_stays_down_is_a_failure_and_not_a_wrong_answer(vendor):
    vendor.failures = {"hello": [500] * 9}
    with pytest.raises(EndpointFailed, match="answered 500"):
        ask(vendor, ["hello"], max_attempts=2)
    assert len(vendor.asked) == 2


def test_a_refused_key_is_not_tried_again(vendor):
    vendor.failures = {"hello": [401] * 9}
    with pytest.raises(EndpointFailed, match="401"):
        ask(vendor, ["hello"])
    assert len(vendor.asked) == 1


def test_a_redirect_is_not_followed(vendor):
    vendor.failures = {"hello": [302] * 9}
    with pytest.raises(EndpointFailed, match="302"):
        ask(vendor, ["hello"])


@pytest.mark.parametrize("allowed", [[], ["https://127.0.0.1"], ["http://127.0.0.1:1"], ["http://localhost:8000"]])
def test_an_origin_that_is_not_allowed_is_never_asked(vendor, allowed):
    with pytest.raises(ValueError, match="not on an allowed origin"):
        ask(vendor, ["hello"], allowed_origins=allowed)
    assert vendor.asked == []


@pytest.mark.parametrize("url", ["ftp://host/v1", "file:///etc/passwd", "https://", "http://allowed@evil/v1"])
def test_an_address_that_hides_something_is_refused(url):
    with pytest.raises(ValueError, match="must look like"):
        answer(url, "", requests(["x"]), allowed_origins=["http://allowed"])


def test_progress_counts_the_texts(vendor):
    calls = []
    ask(vendor, ["x"] * 5, parallel=1, progress=lambda *call: calls.append(call[1:]))
    assert calls == [(0, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(("answer", "label"), [
    ("good", "good"), (" Good. ", "good"), ("**so so**", "so so"), ("SO_SO", "so so"), ("The label is: bad", "bad"),
    ("goodness", None), ("good, not bad", None), ("good good", "good"), ("", None)])
def test_an_answer_is_read_with_mercy_but_not_guessed(answer, label):
    assert parse_label(answer, PROMPT) == label


def test_a_label_inside_a_longer_one_is_not_meant():
    prompt = prompts.short({"labels": [{"name": "card"}, {"name": "card_arrival"}]})
    assert parse_label("card arrival", prompt) == "card_arrival"
    assert parse_label("card", prompt) == "card"
    assert parse_label("card arrival, or card", prompt) is None


def test_tokens_are_counted_where_the_endpoint_counts_them(vendor):
    [reply] = answer(vendor.url, "", requests(["x"]), allowed_origins=[vendor.origin])
    assert reply == Reply("good", prompt_tokens=20, answer_tokens=2)
    vendor.counts = False
    [reply] = answer(vendor.url, "", requests(["x"]), allowed_origins=[vendor.origin])
    assert reply == Reply("good")


def test_retry_after_keeps_all_requests_back(vendor):
    class Remembering(RateLimit):
        def hold(self, seconds):
            held.append(seconds)

    held = []
    vendor.failures, vendor.wait = {"hello": [429]}, {"Retry-After": "120", "Retry-After-Ms": "10"}
    assert ask(vendor, ["hello"], limit=Remembering()) == ["good"]
    assert held == [120.0]


def test_every_try_counts_against_the_limit(vendor):
    class Counting(RateLimit):
        def take(self, tokens):
            taken.append(tokens)

    taken = []
    vendor.failures = {"hello": [500, 503]}
    ask(vendor, ["hello"], limit=Counting())
    assert len(taken) == 3 and min(taken) > 10


def test_replies_are_handed_over_as_they_come(vendor):
    kept = []
    ask(vendor, [f"t{n}" for n in range(6)], parallel=1, keep=lambda start, replies: kept.append((start, len(replies))))
    assert kept == [(0, 4), (4, 2)]


def test_what_came_before_a_failure_is_kept(vendor):
    kept = []
    vendor.failures = {"t5": [401] * 9}
    with pytest.raises(EndpointFailed):
        ask(vendor, [f"t{n}" for n in range(6)], parallel=1, keep=lambda start, replies: kept.extend(replies))
    assert len(kept) == 4


def test_a_cancelled_job_asks_no_more(vendor):
    class Cancelled(Exception):
        pass

    def progress(stage, done, total):
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        ask(vendor, [f"t{n}" for n in range(40)], parallel=1, progress=progress)
    assert len(vendor.asked) == 4


def test_the_hash_of_a_request_follows_all_that_the_answer_depends_on():
    one, other = requests(["a", "b"])
    hashes = {request_sha256("http://h/v1", one), request_sha256("http://h/v1", other),
              request_sha256("http://other/v1", one), request_sha256("http://h/v1", one | {"model": "n"}),
              request_sha256("http://h/v1", one | {"max_tokens": 5})}
    assert len(hashes) == 5
    assert request_sha256("http://h/v1/", dict(reversed(one.items()))) == request_sha256("http://h/v1", one)


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("0.5", 0.5), ("", 0.0), ("soon", 0.0), ("-3", 0.0),
                                               ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)])
def test_retry_after_is_read_as_seconds_or_a_date(said, seconds):
    assert retry_after({"retry-after": said}) == seconds
