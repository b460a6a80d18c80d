"""Any OpenAI-compatible endpoint as the prompt baseline: it is asked for the answer itself."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from jobs.progress import Progress, silent
from training import prompts
from training.prompts import Prompt, Shot
from training.rate_limit import RateLimit

Request = dict[str, Any]
MOST_PATIENCE = 300.0  # seconds; an endpoint that asks for more fails the job with its own words
BYTES_PER_TOKEN = 4
DEFAULT_PORTS = {"http": 80, "https": 443}


class EndpointFailed(Exception):
    """The endpoint gave no answer at all, however often it was asked; the message says what it said instead."""


@dataclass(frozen=True)
class Reply:
    """What an endpoint wrote, "" where it wrote nothing, and the tokens it counted; None where it did not say."""

    text: str
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


def request_of(prompt: Prompt, text: str, data: Mapping[str, Any], shots: Sequence[Shot], *, model: str,
               max_tokens: int) -> Request:
    """The body that asks a model about a text at temperature 0; where answers are JSON, held to their schema."""
    return {"model": model, "messages": prompts.render(prompt, text, data, shots), "temperature": 0,
            "max_tokens": max_tokens, **_response_format(prompt)}


def request_sha256(base_url: str, request: Request) -> str:
    """Hash of all that the answer depends on: address, model, messages and parameters."""
    content = json.dumps({"url": base_url.rstrip("/"), **request}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def answer(base_url: str, api_key: str, requests: Sequence[Request], *, allowed_origins: Iterable[str],
           limit: RateLimit | None = None, keep: Callable[[int, Sequence[Reply]], None] = lambda start, replies: None,
           parallel: int = 4, max_attempts: int = 6, timeout_seconds: float = 60.0, progress: Progress = silent,
           stage: str = "Asking the endpoint") -> list[Reply]:
    """Return what the endpoint replies to each request, in their order.

    allowed_origins: "https://host:port" strings; base_url must be on one of them, and redirects are not followed.
    limit: requests and tokens a minute, tries that failed among them.
    keep: gets replies as they come, a few at a time, with the place of the first; in the caller's thread.
    parallel: requests under way at once. max_attempts: tries per request on 408, 409, 429, 5xx and lost connections,
    with growing pauses. Where the endpoint says Retry-After, all requests wait for it, at most MOST_PATIENCE seconds.
    An endpoint that refuses `response_format` is asked without.
    Raises ValueError if the origin is not allowed, EndpointFailed if a request got no reply in all its tries.
    """
    require_allowed(base_url, allowed_origins)
    import openai

    limit = limit or RateLimit()
    http_client = openai.DefaultHttpxClient(follow_redirects=False, event_hooks={
        "request": [lambda sent: limit.take(_estimate(sent.content))],
        "response": [lambda got: _heed_retry_after(got.status_code, got.headers, limit)]})
    refused: list[str] = []  # parameters that the endpoint does not know
    replies: list[Reply] = []
    with openai.OpenAI(base_url=base_url, api_key=api_key or "none", max_retries=max_attempts - 1,
                       timeout=timeout_seconds, http_client=http_client) as client:

        def ask(request: Request) -> Reply:
            try:
                try:
                    said: Any = create(request)
                except (openai.BadRequestError, openai.UnprocessableEntityError):
                    if "response_format" not in request or refused:
                        raise
                    said = create({name: value for name, value in request.items() if name != "response_format"})
                    refused.append("response_format")
            except openai.APIStatusError as error:
                raise EndpointFailed(f"{base_url} answered {error.status_code}: {error.message[:300]}") from None
            except openai.APIConnectionError as error:
                raise EndpointFailed(f"{base_url} cannot be reached: {error}") from None
            return _reply(said)

        def create(request: Request) -> Any:
            body = {name: value for name, value in request.items() if name not in refused}
            said = client.chat.completions.create(**body)
            if said.usage:
                limit.correct(said.usage.total_tokens - _estimate(json.dumps(body).encode()))
            return said

        pool = ThreadPoolExecutor(parallel)
        try:
            # In slices, so that a cancelled job leaves no long queue of requests behind.
            for start in range(0, len(requests), 4 * parallel):
                progress(stage, start, len(requests))
                asked = [pool.submit(ask, request) for request in requests[start : start + 4 * parallel]]
                while wait(asked, timeout=1).not_done:
                    progress(stage, start, len(requests))  # keeps the job's lease, and ends it if it was cancelled
                got = [one.result() for one in asked]
                keep(start, got)
                replies += got
        finally:
            limit.stop()
            pool.shutdown(cancel_futures=True)
    progress(stage, len(requests), len(requests))
    return replies


def _reply(said: Any) -> Reply:
    text = (said.choices[0].message.content or "") if said.choices else ""
    if said.usage is None:
        return Reply(text)
    return Reply(text, said.usage.prompt_tokens, said.usage.completion_tokens)


def _estimate(body: bytes) -> int:
    """About how many tokens a request has, before the endpoint has counted them."""
    return len(body) // BYTES_PER_TOKEN


def _heed_retry_after(status: int, headers: Mapping[str, str], limit: RateLimit) -> None:
    if status in (429, 503) and (seconds := retry_after(headers)):
        limit.hold(min(seconds, MOST_PATIENCE))


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that an answer asks to wait, as a number or a date (RFC 9110, 10.2.3); 0 where it does not."""
    said = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return 0.0


def _response_format(prompt: Prompt) -> dict[str, Any]:
    schema = prompt.answer_schema
    if schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def parse_label(answer: str, prompt: Prompt) -> str | None:
    """The one label that an answer names, whatever its case and the words around it; None if none or several.

    A label inside a longer label that is named ("card" in "card arrival") does not count.
    """
    words = " ".join(answer.casefold().replace("_", " ").split())
    spans = {label.name: _spans(words, label.completion) | _spans(words, label.name) for label in prompt.labels}
    every = {span for found in spans.values() for span in found}
    named = [name for name, found in spans.items()
             if any(not any(_inside(span, other) for other in every) for span in found)]
    return named[0] if len(named) == 1 else None


def _spans(words: str, label: str) -> set[tuple[int, int]]:
    wanted = re.escape(" ".join(label.casefold().replace("_", " ").split()))
    return {match.span() for match in re.finditer(rf"(?<!\w){wanted}(?!\w)", words)}


def _inside(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return other != span and other[0] <= span[0] and span[1] <= other[1]


def require_allowed(base_url: str, allowed_origins: Iterable[str]) -> None:
    """Raise ValueError unless the address is on an allowed origin."""
    allowed = list(allowed_origins)
    if _origin(base_url) not in [_origin(origin) for origin in allowed]:
        raise ValueError(f"the endpoint {base_url} is not on an allowed origin; allowed are {allowed or 'none'}")


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username or parts.password:
        raise ValueError(f"an endpoint's address must look like https://host/v1, got {url!r}")
    return parts.scheme, parts.hostname.lower(), parts.port or DEFAULT_PORTS[parts.scheme]
