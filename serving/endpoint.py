"""Any OpenAI-compatible server as a backend: vLLM with adapters under their names, Ollama, a vendor."""

from collections.abc import Iterable, Iterator
from typing import Any

from serving.answering import Busy, Question, Reply, Served, Unanswerable, Unavailable
from training.openai_endpoint import request_of, require_allowed, retry_after

PATIENCE_SECONDS = 120.0
FILTERED = "The endpoint's filter withheld the answer."
LABEL_TOKENS = 64  # a label's name is short


class Endpoint:
    """Asks a server at an allowed address for the answer itself, at temperature 0, piece by piece.

    Answers that are labels are written there, not scored: the balance of an evaluation by likelihoods is not applied.
    """

    def __init__(self, base_url: str, api_key: str, allowed_origins: Iterable[str]) -> None:
        self.base_url, self.api_key, self.allowed_origins = base_url, api_key, list(allowed_origins)

    def ask(self, served: Served, question: Question) -> Iterator[str | Reply]:
        import openai

        try:
            require_allowed(self.base_url, self.allowed_origins)
        except ValueError as error:
            raise Unavailable(str(error)) from None
        most = min(served.max_new_tokens or LABEL_TOKENS, question.max_new_tokens or ENDLESS)
        request = request_of(served.prompt, question.text, question.data, (), model=served.model,
                             max_tokens=most)
        http_client = openai.DefaultHttpxClient(follow_redirects=False)
        with openai.OpenAI(base_url=self.base_url, api_key=self.api_key or "none", max_retries=0,
                           timeout=PATIENCE_SECONDS, http_client=http_client) as client:
            try:
                yield from _streamed(client, request)
            except openai.RateLimitError as error:
                wait = retry_after(error.response.headers) or 5.0
                raise Busy(f"{self.base_url} takes no more requests for {wait:.0f} s.", wait) from None
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                raise Unanswerable(f"{self.base_url} refused the request: {error.message[:300]}") from None
            except openai.APIStatusError as error:
                raise Unavailable(f"{self.base_url} answered {error.status_code}.") from None
            except openai.APIConnectionError:
                raise Unavailable(f"{self.base_url} cannot be reached.") from None


ENDLESS = 10**9


def _streamed(client: Any, request: dict[str, Any]) -> Iterator[str | Reply]:
    said, refusal, is_whole, used = "", "", True, None
    with client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}) as stream:
        for event in stream:
            used = event.usage or used
            for choice in event.choices[:1]:
                is_whole = choice.finish_reason != "length" if choice.finish_reason else is_whole
                refusal += choice.delta.refusal or ""
                if choice.finish_reason == "content_filter":
                    refusal = refusal or FILTERED
                if piece := choice.delta.content:
                    said += piece
                    yield piece
    yield Reply(text=said.strip(), refusal=refusal, is_whole=is_whole,
                prompt_tokens=used.prompt_tokens if used else None,
                answer_tokens=used.completion_tokens if used else None)
