"""Prompts that quote an example: what they lose when it is erased."""

from collections.abc import Sequence

from curation.models import ERASED
from labeling.models import Example
from labeling.texts import content_sha256
from training.models import Run


def erase_quotes(examples: Sequence[Example]) -> dict[str, int]:
    """Put a tombstone in place of each text of these examples of one project that a run's prompt quotes.

    examples: as they were loaded before their rows were blanked, so with their texts.
    The prompt keeps its hash: its figures stay those of the prompt that was asked. Returns n_prompts, how many lost a
    text. An erasure calls it in its transaction, see GOLDPAN_ON_ERASE.
    """
    contents, n = {content_sha256(example.text) for example in examples}, 0
    for run in Run.objects.filter(snapshot__project=examples[0].project_id, config__has_key="prompt"):
        shots = run.config["prompt"]["shots"]
        left = [shot | {"text": ERASED} if content_sha256(shot["text"]) in contents else shot for shot in shots]
        if left != shots:
            prompt = run.config["prompt"] | {"shots": left}
            Run.objects.filter(pk=run.pk).update(config=run.config | {"prompt": prompt})
            n += 1
    return {"n_prompts": n}


def has_lost_a_quote(run: Run) -> bool:
    """Whether its prompt cannot be asked any more, since a text that it quoted was erased."""
    return any(shot["text"] == ERASED for shot in run.config.get("prompt", {}).get("shots", ()))
