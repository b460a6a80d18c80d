"""Any OpenAI-compatible endpoint as the prompt baseline: it is asked for the answer itself."""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from jobs.progress import Progress, silent
from training import prompts
from training.prompts import Prompt

DEFAULT_PORTS = {"http": 80, "https": 443}


class EndpointFailed(Exception):
    """The endpoint gave no answer at all, however often it was asked; the message says what it said instead."""


def classify(base_url: str, api_key: str, model: str, prompt: Prompt, texts: Sequence[str],
             **options: Any) -> list[str | None]:
    """Return the endpoint's label for each text at temperature 0, None where its answer is no single label.

    options: of `answer`, which also says what is raised.
    """
    return [parse_label(said, prompt) for said in answer(base_url, api_key, model, prompt, texts, **options)]


def answer(base_url: str, api_key: str, model: str, prompt: Prompt, texts: Sequence[str], *,
           allowed_origins: Iterable[str], data: Sequence[Mapping[str, Any]] | None = None, parallel: int = 4,
           max_attempts: int = 6, timeout_seconds: float = 60.0, max_tokens: int = 64, progress: Progress = silent,
           stage: str = "Asking the endpoint") -> list[str]:
    """Return what the endpoint writes about each text at temperature 0; "" where it writes nothing.

    allowed_origins: "https://host:port" strings; base_url must be on one of them, and redirects are not followed.
    data: what the task shows beside each text. max_tokens: of an answer.
    parallel: requests under way at once. max_attempts: tries per text on 408, 409, 429, 5xx and lost connections,
    with growing pauses.
    Where answers are JSON, the endpoint is asked to keep to their schema (`response_format`); one that refuses to is
    asked without.
    Raises ValueError if the origin is not allowed, EndpointFailed if a text got no answer in all its tries.
    """
    _check_origin(base_url, allowed_origins)
    import openai

    http_client = openai.DefaultHttpxClient(follow_redirects=False)
    held = _response_format(prompt)  # taken away once the endpoint has refused it
    rows = list(zip(texts, data or [{}] * len(texts), strict=True))
    answers: list[str] = []
    with openai.OpenAI(base_url=base_url, api_key=api_key or "none", max_retries=max_attempts - 1,
                       timeout=timeout_seconds, http_client=http_client) as client:

        def ask(row: tuple[str, Mapping[str, Any]]) -> str:
            try:
                try:
                    said: Any = create(row, dict(held))
                except (openai.BadRequestError, openai.UnprocessableEntityError):
                    if not held:
                        raise
                    said = create(row, {})
                    held.clear()
            except openai.APIStatusError as error:
                raise EndpointFailed(f"{base_url} answered {error.status_code}: {error.message[:300]}") from None
            except openai.APIConnectionError as error:
                raise EndpointFailed(f"{base_url} cannot be reached: {error}") from None
            return (said.choices[0].message.content or "") if said.choices else ""

        def create(row: tuple[str, Mapping[str, Any]], more: dict[str, Any]) -> Any:
            return client.chat.completions.create(
                model=model, messages=prompts.render(prompt, *row), temperature=0,  # type: ignore[arg-type]
                max_tokens=max_tokens, **more)

        with ThreadPoolExecutor(parallel) as pool:
            # In slices, so that a cancelled job leaves no long queue of requests behind.
            for start in range(0, len(rows), 4 * parallel):
                progress(stage, start, len(rows))
                answers += pool.map(ask, rows[start : start + 4 * parallel])
    progress(stage, len(rows), len(rows))
    return answers


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


def _check_origin(base_url: str, allowed_origins: Iterable[str]) -> None:
    allowed = list(allowed_origins)
    if _origin(base_url) not in [_origin(origin) for origin in allowed]:
        raise ValueError(f"the endpoint {base_url} is not on an allowed origin; allowed are {allowed or 'none'}")


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username or parts.password:
        raise ValueError(f"an endpoint's address must look like https://host/v1, got {url!r}")
    return parts.scheme, parts.hostname.lower(), parts.port or DEFAULT_PORTS[parts.scheme]
