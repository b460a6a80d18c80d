"""Prompts that quote an example: what they lose when it is erased."""

from collections.abc import Mapping, Sequence
from typing import Any

from curation.answers import WRITTEN
from curation.models import ERASED
from labeling.models import Example
from labeling.texts import content_sha256
from training.models import CachedAnswer, PromptVersion, Run

MIN_QUOTE = 12  # characters; a shorter text stands by chance in what somebody wrote
SAID = ("system", "instruction")


def erase_quotes(examples: Sequence[Example]) -> dict[str, int]:
    """Put a tombstone in place of each text of these examples of one project that a prompt quotes, and forget what an
    endpoint has answered in the project.

    examples: as they were loaded before their rows were blanked, so with their texts.
    Solved examples lose their text and what is shown beside it, and their answer where it is written; system message
    and question lose the text where they have it word for word. A run's prompt keeps its hash: its figures stay those
    of the prompt that was asked. Returns n_prompts, how many prompts of runs and versions lost a text. An erasure
    calls it in its transaction, see GOLDPAN_ON_ERASE.
    """
    project, n = examples[0].project, 0
    contents = {content_sha256(example.text) for example in examples}
    quotes = sorted({text for example in examples if len(text := example.text.strip()) >= MIN_QUOTE}, key=len,
                    reverse=True)
    blank: dict[str, Any] = {"text": ERASED, **({"label": ERASED} if project.task_type in WRITTEN else {})}
    for run in Run.objects.filter(snapshot__project=project, config__has_key="prompt"):
        prompt = run.config["prompt"]
        left = {**prompt, **_without(prompt, quotes), "shots": [
            {**{name: value for name, value in shot.items() if name != "data"}, **blank}
            if content_sha256(shot["text"]) in contents else shot for shot in prompt["shots"]]}
        if left != prompt:
            Run.objects.filter(pk=run.pk).update(config=run.config | {"prompt": left})
            n += 1
    for version in PromptVersion.objects.filter(project=project):
        words = _without(version.content["words"], quotes)
        if words != version.content["words"]:
            PromptVersion.objects.filter(pk=version.pk).update(content=version.content | {"words": words})
            n += 1
    CachedAnswer.objects.filter(project=project).delete()  # an answer may have words of any text that its prompt showed
    return {"n_prompts": n}


def _without(said: Mapping[str, Any], quotes: Sequence[str]) -> dict[str, str]:
    left = {name: str(said[name]) for name in SAID}
    for quote in quotes:
        left = {name: text.replace(quote, ERASED) for name, text in left.items()}
    return left


def has_lost_a_quote(run: Run) -> bool:
    """Whether its prompt cannot be asked any more, since a text that it quoted was erased."""
    prompt = run.config.get("prompt", {})
    return any(shot["text"] == ERASED for shot in prompt.get("shots", ())) or _has_hole(prompt)


def has_lost_words(version: PromptVersion) -> bool:
    """Whether a text that somebody quoted in it was erased, so that it is not asked any more."""
    return _has_hole(version.content["words"])


def _has_hole(said: Mapping[str, Any]) -> bool:
    return any(ERASED in said.get(name, "") for name in SAID)
