"""The configured endpoint: what it is asked, what it has answered before, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from curation.services.snapshots import FrozenRow
from jobs.progress import Progress, silent
from projects.errors import UserError
from projects.models import Project
from training.models import CachedAnswer
from training.openai_endpoint import EndpointFailed, Reply, Request, answer, parse_label, request_of, request_sha256
from training.prompts import Prompt
from training.rate_limit import RateLimit
from training.services.scoring import RowShots

LEAST_TOKENS = 64  # an answer may always have so many


@dataclass(frozen=True)
class Usage:
    """What answers cost. n_cached: of n, how many were known already, for nothing; n_uncounted: the endpoint did not
    say how many tokens. cost: in the currency of the price settings, None where no price is set."""

    n: int
    n_cached: int
    n_uncounted: int
    prompt_tokens: int
    answer_tokens: int
    cost: float | None


@dataclass(frozen=True)
class Said:
    """An endpoint's answer to each row."""

    answers: list[str]
    usage: Usage


def token_cost(prompt_tokens: int, answer_tokens: int) -> float | None:
    """What so many tokens of the configured endpoint cost; None where no price is set."""
    prices = settings.GOLDPAN_LLM_PRICE_INPUT, settings.GOLDPAN_LLM_PRICE_OUTPUT
    return (prompt_tokens * prices[0] + answer_tokens * prices[1]) / 1e6 if any(prices) else None


def answer_rows(project: Project, prompt: Prompt, rows: Sequence[FrozenRow], *, longest: int = 0,
                shots: RowShots = None, progress: Progress = silent, stage: str = "Asking the endpoint") -> Said:
    """What the configured endpoint writes about each row; what it has said to the same request before is not asked for.

    longest: characters of the longest training answer. A token has at least one, so an answer may be a quarter longer.
    shots: solved examples of each row's own, for a prompt with neighbours.
    Answers are kept as they come: a job that was cut off goes on where it stopped.
    """
    max_tokens = max(LEAST_TOKENS, longest + longest // 4)
    requests = [request_of(prompt, row.text, row.data, solved, model=settings.GOLDPAN_LLM_MODEL, max_tokens=max_tokens)
                for row, solved in zip(rows, shots or [()] * len(rows), strict=True)]
    replies, new = replies_to(project, requests, url=settings.GOLDPAN_LLM_URL, key=settings.GOLDPAN_LLM_KEY,
                              progress=progress, stage=stage)
    prompt_tokens, answer_tokens = (sum(getattr(reply, name) or 0 for reply in new)
                                    for name in ("prompt_tokens", "answer_tokens"))
    return Said([reply.text for reply in replies], Usage(
        len(rows), len(rows) - len(new), sum(reply.prompt_tokens is None for reply in new), prompt_tokens,
        answer_tokens, token_cost(prompt_tokens, answer_tokens)))


def replies_to(project: Project, requests: Sequence[Request], *, url: str, key: str, progress: Progress = silent,
               stage: str = "Asking the endpoint") -> tuple[list[Reply], list[Reply]]:
    """What the endpoint at `url` replies to each request; and those of the replies that were not known already.

    Replies are kept as they come, so that nothing is asked twice.
    Raises UserError if it gives no reply, or its address is not allowed.
    """
    keys = [request_sha256(url, request) for request in requests]
    known = _known(project, keys)
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
    new = _ask(project, missing, progress, stage, url=url, api_key=key)
    return [new.get(key) or known[key] for key in keys], list(new.values())


def classify_rows(project: Project, prompt: Prompt, rows: Sequence[FrozenRow], *,
                  shots: RowShots = None) -> list[str | None]:
    """The configured endpoint's label for each row, None where its answer is no label."""
    return [parse_label(said, prompt) for said in answer_rows(project, prompt, rows, shots=shots).answers]


def _known(project: Project, keys: Sequence[str]) -> dict[str, Reply]:
    return {one.request_sha256: Reply(one.answer, one.prompt_tokens, one.answer_tokens)
            for one in CachedAnswer.objects.filter(project=project, request_sha256__among=keys)}


def _ask(project: Project, requests: dict[str, Request], progress: Progress, stage: str, *, url: str,
         api_key: str) -> dict[str, Reply]:
    keys = list(requests)

    def keep(start: int, replies: Sequence[Reply]) -> None:
        CachedAnswer.objects.bulk_create((CachedAnswer(
            project=project, request_sha256=key, answer=reply.text, prompt_tokens=reply.prompt_tokens,
            answer_tokens=reply.answer_tokens) for key, reply in zip(keys[start:start + len(replies)], replies,
                                                                     strict=True)), ignore_conflicts=True)

    if not keys:
        return {}
    try:
        replies = answer(url, api_key, list(requests.values()), keep=keep,
                         limit=RateLimit(settings.GOLDPAN_LLM_REQUESTS_PER_MINUTE,
                                         settings.GOLDPAN_LLM_TOKENS_PER_MINUTE),
                         allowed_origins=settings.GOLDPAN_ALLOWED_ORIGINS, progress=progress, stage=stage)
    except (EndpointFailed, ValueError) as error:  # no answer, or an address that is not allowed
        raise UserError(str(error)) from error
    return dict(zip(keys, replies, strict=True))
