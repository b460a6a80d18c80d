"""A prompt for choosing one label: its words, its examples, and the labels it may answer with.

The same prompt object is scored as the baseline, trained on by LoRA and served by the gateway, so its hash says
whether two numbers are about the same question.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

TEXT = "{text}"  # where a prompt's instruction takes the example's text

Message = dict[str, str]


@dataclass(frozen=True)
class LabelText:
    """`name` is the label in the project's schema, `completion` the words that the model answers with."""

    name: str
    completion: str
    description: str = ""


@dataclass(frozen=True)
class Shot:
    """A solved example shown inside the prompt; `label` is a label's name."""

    text: str
    label: str


@dataclass(frozen=True)
class Prompt:
    """The whole question: system message, the user's turn with `{text}` in it once, solved examples, labels."""

    name: str
    system: str
    instruction: str
    shots: tuple[Shot, ...]
    labels: tuple[LabelText, ...]

    def __post_init__(self) -> None:
        if self.instruction.count(TEXT) != 1:
            raise ValueError(f"instruction must contain {TEXT} once, got {self.instruction!r}")
        if len(self.labels) < 2:
            raise ValueError(f"a prompt needs at least 2 labels, got {len(self.labels)}")
        for what in ("name", "completion"):
            values = [getattr(label, what) for label in self.labels]
            if len(set(values)) < len(values) or not all(value.strip() for value in values):
                raise ValueError(f"every label needs a {what} of its own, got {values}")
        unknown = sorted({shot.label for shot in self.shots} - {label.name for label in self.labels})
        if unknown:
            raise ValueError(f"the prompt's examples carry labels that it does not offer: {unknown}")

    def completion_of(self, label: str) -> str:
        """The words that answer `label`; raises ValueError if the prompt does not offer it."""
        for offered in self.labels:
            if offered.name == label:
                return offered.completion
        raise ValueError(f"label must be one of {[offered.name for offered in self.labels]}, got {label!r}")


def render(prompt: Prompt, text: str) -> list[Message]:
    """The messages that ask `prompt` about `text`: system, then user and assistant per shot, then user."""
    messages = [{"role": "system", "content": prompt.system}]
    for shot in prompt.shots:
        messages.append({"role": "user", "content": prompt.instruction.replace(TEXT, shot.text.strip())})
        messages.append({"role": "assistant", "content": prompt.completion_of(shot.label)})
    return [*messages, {"role": "user", "content": prompt.instruction.replace(TEXT, text.strip())}]


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """A JSON-able form, read back by `prompt_from_json`."""
    return asdict(prompt)


def prompt_from_json(data: Mapping[str, Any]) -> Prompt:
    """The prompt that `prompt_to_json` wrote down; raises ValueError if it does not hold together."""
    return Prompt(name=data["name"], system=data["system"], instruction=data["instruction"],
                  shots=tuple(Shot(**shot) for shot in data["shots"]),
                  labels=tuple(LabelText(**label) for label in data["labels"]))


def prompt_sha256(prompt: Prompt) -> str:
    """Hash of everything the model can see of the prompt; its name does not count."""
    seen = prompt_to_json(prompt)
    del seen["name"]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def label_texts(schema: Mapping[str, Any]) -> tuple[LabelText, ...]:
    """The schema's labels in its order; underscores read as spaces in the answer."""
    return tuple(LabelText(name=label["name"], completion=label["name"].replace("_", " ").strip(),
                           description=label.get("description", "") or "") for label in schema["labels"])


def short(schema: Mapping[str, Any]) -> Prompt:
    """The bare prompt that LoRA is trained with: label names only, as the adapter learns the rest from the rows."""
    labels = label_texts(schema)
    names = ", ".join(label.completion for label in labels)
    return Prompt("short", f"Classify as {names}.", TEXT, (), labels)


def zero_shot(schema: Mapping[str, Any], instructions: str = "") -> Prompt:
    """The project's instructions and label definitions, no examples."""
    labels = label_texts(schema)
    return Prompt("zero-shot", _system(labels, instructions), TEXT, (), labels)


def few_shot(schema: Mapping[str, Any], instructions: str, shots: Sequence[Shot]) -> Prompt:
    """The zero-shot prompt with solved examples before the question, in the order given."""
    labels = label_texts(schema)
    return Prompt(f"few-shot, {len(shots)} examples", _system(labels, instructions), TEXT, tuple(shots),
                  labels)


def choose_shots(texts: Sequence[str], labels: Sequence[str], *, per_label: int, seed: int,
                 max_characters: int = 400) -> list[Shot]:
    """Draw `per_label` examples of every label from training rows, labels taking turns.

    texts, labels: rows of the training split only, equally long; the same text is drawn once.
    max_characters: longer texts are not drawn, as every request would pay for them.
    The last example of each round has another label each time, since small models repeat the last answer.
    Raises ValueError if a label has too few such texts.
    """
    if len(texts) != len(labels):
        raise ValueError(f"texts and labels must be equally long, got {len(texts)} and {len(labels)}")
    draw = random.Random(seed)
    names = sorted(set(labels))
    rounds: list[list[Shot]] = [[] for _ in range(per_label)]
    for name in names:
        pool = sorted({text.strip() for text, label in zip(texts, labels, strict=True)
                       if label == name and 0 < len(text.strip()) <= max_characters})
        if len(pool) < per_label:
            raise ValueError(f"label {name!r} has {len(pool)} training texts of up to {max_characters} characters, "
                             f"{per_label} are needed")
        for turn, text in zip(rounds, draw.sample(pool, per_label), strict=True):
            turn.append(Shot(text, name))
    return [shot for n, turn in enumerate(rounds) for shot in turn[n % len(names):] + turn[:n % len(names)]]


def _system(labels: Sequence[LabelText], instructions: str) -> str:
    parts = [instructions.strip()] if instructions.strip() else []
    defined = [f"{label.completion}: {label.description.strip()}" for label in labels if label.description.strip()]
    if defined:
        parts.append("\n".join(defined))
    parts.append(f"Answer with one of: {', '.join(label.completion for label in labels)}.")
    return "\n".join(parts)
