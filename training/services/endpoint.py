from collections.abc import Sequence

from django.conf import settings

from curation.services.snapshots import FrozenRow
from jobs.progress import Progress, silent
from projects.errors import UserError
from training.openai_endpoint import EndpointFailed, answer, parse_label
from training.prompts import Prompt

LEAST_TOKENS = 64  # an answer may always have so many


def answer_rows(prompt: Prompt, rows: Sequence[FrozenRow], *, longest: int = 0, progress: Progress = silent,
                stage: str = "Asking the endpoint") -> list[str]:
    """What the configured endpoint writes about each row.

    longest: characters of the longest training answer. A token has at least one, so an answer may be a quarter longer.
    """
    try:
        return answer(settings.GOLDPAN_LLM_URL, settings.GOLDPAN_LLM_KEY, settings.GOLDPAN_LLM_MODEL, prompt,
                      [row.text for row in rows], data=[row.data for row in rows],
                      max_tokens=max(LEAST_TOKENS, longest + longest // 4), progress=progress, stage=stage,
                      allowed_origins=settings.GOLDPAN_ALLOWED_ORIGINS)
    except (EndpointFailed, ValueError) as error:  # no answer, or an address that is not allowed
        raise UserError(str(error)) from error


def classify_rows(prompt: Prompt, rows: Sequence[FrozenRow]) -> list[str | None]:
    """The configured endpoint's label for each row, None where its answer is no label."""
    return [parse_label(said, prompt) for said in answer_rows(prompt, rows)]
