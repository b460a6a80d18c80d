from collections.abc import Sequence

from django.conf import settings

from curation.services.snapshots import FrozenRow
from projects.errors import UserError
from training.openai_endpoint import EndpointFailed, classify
from training.prompts import Prompt


def classify_rows(prompt: Prompt, rows: Sequence[FrozenRow]) -> list[str | None]:
    """The configured endpoint's label for each row, None where its answer is no label."""
    try:
        return classify(settings.GOLDPAN_LLM_URL, settings.GOLDPAN_LLM_KEY, settings.GOLDPAN_LLM_MODEL, prompt,
                        [row.text for row in rows], allowed_origins=settings.GOLDPAN_ALLOWED_ORIGINS)
    except (EndpointFailed, ValueError) as error:  # no answer, or an address that is not allowed
        raise UserError(str(error)) from error
