"""A prompt of any type of task: what the model is told, its examples, and how an answer is read.

The same prompt object is tried as the baseline, trained on by LoRA and served by the gateway, so its hash says
whether two numbers are about the same question.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from labeling.task_types import task_type
from labeling.task_types.prompt import conversation
from projects.schema import answer_names

TEXT = "{text}"  # where a prompt's instruction takes the example's text
CLASSIFICATION = "classification"
SHORT = {  # what LoRA is trained with where answers are no labels: the adapter learns the rest from the rows
    "multilabel": "Answer with every label that fits, each on a line of its own. The labels: {names}.",
    "spans": "Answer with a JSON list of text and label. The labels: {names}.",
    "extraction": "Answer with one JSON object. Its fields: {names}.",
    "preference": "Which answer is better? Answer with one of: {names}.",
}

Message = dict[str, str]


@dataclass(frozen=True)
class LabelText:
    """`name` is the label in the project's schema, `completion` the words that the model answers with."""

    name: str
    completion: str
    description: str = ""


@dataclass(frozen=True)
class Shot:
    """A solved example shown inside the prompt.

    label: its answer as a frozen row has it: a label's name, or what a model should write.
    data: what the task shows beside the text, as a frozen row has it.
    """

    text: str
    label: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """The whole question: system message, the user's turn with `{text}` in it once, solved examples, how to answer.

    labels: what an answer can be, where it is one of a short list; () where it is written.
    task_type, schema: of the project; they say how an example is shown and an answer is read. A classification prompt
    needs no schema, its labels say it all.
    """

    name: str
    system: str
    instruction: str
    shots: tuple[Shot, ...]
    labels: tuple[LabelText, ...]
    task_type: str = CLASSIFICATION
    schema: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.instruction.count(TEXT) != 1:
            raise ValueError(f"instruction must contain {TEXT} once, got {self.instruction!r}")
        if not task_type(self.task_type).HAS_LABELS:
            if self.labels:
                raise ValueError(f"a prompt for {self.task_type} offers no labels, got {len(self.labels)}")
            return
        if len(self.labels) < 2:
            raise ValueError(f"a prompt needs at least 2 labels, got {len(self.labels)}")
        for what in ("name", "completion"):
            values = [getattr(label, what) for label in self.labels]
            if len(set(values)) < len(values) or not all(value.strip() for value in values):
                raise ValueError(f"every label needs a {what} of its own, got {values}")
        unknown = sorted({shot.label for shot in self.shots} - {label.name for label in self.labels})
        if unknown:
            raise ValueError(f"the prompt's examples carry labels that it does not offer: {unknown}")

    @property
    def has_labels(self) -> bool:
        """Whether an answer is one of a short list, so that the likelihood of each can be compared."""
        return bool(self.labels)

    @property
    def answer_schema(self) -> dict[str, Any] | None:
        """The JSON schema that a written answer is held to; None where it is no JSON."""
        return None if self.has_labels else task_type(self.task_type).answer_schema(self.schema)

    def completion_of(self, label: str) -> str:
        """The words of an answer as a frozen row has it; raises ValueError for a label that is not offered."""
        if not self.has_labels:
            return label
        for offered in self.labels:
            if offered.name == label:
                return offered.completion
        raise ValueError(f"label must be one of {[offered.name for offered in self.labels]}, got {label!r}")

    def read(self, answer: str, text: str) -> str:
        """The answer that a model wrote about a text, as a frozen row would have it: equal answers are equal.

        Raises ValueError, in words, if it is no valid answer.
        """
        kind = task_type(self.task_type)
        if self.has_labels:
            schema = self.schema or {"labels": [{"name": label.name} for label in self.labels]}
            return str(kind.parse_completion(answer, schema, source=text))
        return kind.to_completion(kind.parse_completion(answer, self.schema, source=text), source=text)


def render(prompt: Prompt, text: str, data: Mapping[str, Any] | None = None) -> list[Message]:
    """The messages that ask `prompt` about an example: system, then the solved examples, then the example's turns.

    data: what the task shows beside the text; only preference and chat have some.
    """
    turns = _turns(prompt, text, data or {})
    opening, turns = (turns[:1], turns[1:]) if turns[0]["role"] == "system" else ([], turns)
    solved = [message for shot in prompt.shots for message in (
        *(turn for turn in _turns(prompt, shot.text, shot.data) if turn["role"] != "system"),
        {"role": "assistant", "content": prompt.completion_of(shot.label)})]
    return conversation(prompt.system, [*opening, *solved, *turns])


def _turns(prompt: Prompt, text: str, data: Mapping[str, Any]) -> list[Message]:
    *earlier, last = task_type(prompt.task_type).turns(text, data)
    return [*earlier, {**last, "content": prompt.instruction.replace(TEXT, last["content"].strip())}]


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """A JSON-able form, read back by `prompt_from_json`.

    What a classification prompt does not need is left out, so that hashes from before the other types stay.
    """
    data = asdict(prompt)
    for shot in data["shots"]:
        if not shot["data"]:
            del shot["data"]
    if prompt.task_type == CLASSIFICATION:
        del data["task_type"], data["schema"]
    return data


def prompt_from_json(data: Mapping[str, Any]) -> Prompt:
    """The prompt that `prompt_to_json` wrote down; raises ValueError if it does not hold together."""
    return Prompt(name=data["name"], system=data["system"], instruction=data["instruction"],
                  shots=tuple(Shot(**shot) for shot in data["shots"]),
                  labels=tuple(LabelText(**label) for label in data["labels"]),
                  task_type=data.get("task_type", CLASSIFICATION), schema=data.get("schema", {}))


def prompt_sha256(prompt: Prompt) -> str:
    """Hash of everything the model can see of the prompt; its name does not count."""
    seen = prompt_to_json(prompt)
    del seen["name"]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def label_texts(schema: Mapping[str, Any], task_type: str = CLASSIFICATION) -> tuple[LabelText, ...]:
    """The labels of an answer in the schema's order; underscores read as spaces in the answer."""
    described = {label["name"]: label.get("description", "") or "" for label in schema.get("labels", ())}
    return tuple(LabelText(name=name, completion=name.replace("_", " ").strip(), description=described.get(name, ""))
                 for name in answer_names(schema, task_type))


def short(schema: Mapping[str, Any], task_type: str = CLASSIFICATION, instructions: str = "") -> Prompt:
    """The bare prompt that LoRA is trained with, as the adapter learns the rest from the rows.

    Free text keeps the instructions: nothing else says what is asked.
    """
    if task_type == CLASSIFICATION:
        labels = label_texts(schema)
        return Prompt("short", f"Classify as {', '.join(label.completion for label in labels)}.", TEXT, (), labels)
    if task_type not in SHORT:
        return _prompt("short", schema, task_type, instructions)
    names = schema["json_schema"]["properties"] if task_type == "extraction" else answer_names(schema, task_type)
    return _prompt("short", schema, task_type, "", system=SHORT[task_type].format(names=", ".join(sorted(names)
                   if task_type == "extraction" else names)))


def zero_shot(schema: Mapping[str, Any], instructions: str = "", task_type: str = CLASSIFICATION) -> Prompt:
    """The project's instructions and definitions, no examples."""
    return _prompt("zero-shot", schema, task_type, instructions)


def few_shot(schema: Mapping[str, Any], instructions: str, shots: Sequence[Shot],
             task_type: str = CLASSIFICATION) -> Prompt:
    """The zero-shot prompt with solved examples before the question, in the order given."""
    return _prompt(f"few-shot, {len(shots)} examples", schema, task_type, instructions, shots=tuple(shots))


def _prompt(name: str, schema: Mapping[str, Any], kind: str, instructions: str, *, shots: tuple[Shot, ...] = (),
            system: str = "") -> Prompt:
    module = task_type(kind)
    labels = label_texts(schema, kind) if module.HAS_LABELS else ()
    if kind == CLASSIFICATION:
        return Prompt(name, _system(labels, instructions), TEXT, shots, labels)
    return Prompt(name, system or module.system(schema, instructions), TEXT, shots, labels, kind, dict(schema))


def choose_shots(texts: Sequence[str], labels: Sequence[str], *, per_label: int, seed: int,
                 max_characters: int = 400, data: Sequence[Mapping[str, Any]] | None = None) -> list[Shot]:
    """Draw `per_label` examples of every label from training rows, labels taking turns.

    texts, labels, data: rows of the training split only, equally long; the same text is drawn once.
    max_characters: longer examples are not drawn, as every request would pay for them.
    The last example of each round has another label each time, since small models repeat the last answer.
    Raises ValueError if a label has too few such texts.
    """
    if len(texts) != len(labels):
        raise ValueError(f"texts and labels must be equally long, got {len(texts)} and {len(labels)}")
    draw = random.Random(seed)
    names = sorted(set(labels))
    rounds: list[list[Shot]] = [[] for _ in range(per_label)]
    shown = dict(zip((text.strip() for text in texts), data or [{}] * len(texts), strict=True))
    for name in names:
        pool = sorted({text.strip() for text, label in zip(texts, labels, strict=True)
                       if label == name and 0 < _size(text, shown[text.strip()]) <= max_characters})
        if len(pool) < per_label:
            raise ValueError(f"label {name!r} has {len(pool)} training texts of up to {max_characters} characters, "
                             f"{per_label} are needed")
        for turn, text in zip(rounds, draw.sample(pool, per_label), strict=True):
            turn.append(Shot(text, name, shown[text]))
    return [shot for n, turn in enumerate(rounds) for shot in turn[n % len(names):] + turn[:n % len(names)]]


def choose_written_shots(texts: Sequence[str], answers: Sequence[str], *, n: int, seed: int,
                         max_characters: int = 800, data: Sequence[Mapping[str, Any]] | None = None) -> list[Shot]:
    """Draw up to n examples with written answers from training rows, no two with the same text or answer.

    max_characters: of text, what is shown beside it and answer together; where none is so short, none is drawn.
    """
    rows = list(zip(texts, answers, data or [{}] * len(texts), strict=True))
    random.Random(seed).shuffle(rows)
    shots: dict[str, Shot] = {}
    for text, answer, shown in rows:
        is_new = text.strip() not in shots and all(shot.label != answer for shot in shots.values())
        if is_new and 0 < _size(text, shown) + len(answer) <= max_characters and len(shots) < n:
            shots[text.strip()] = Shot(text.strip(), answer, shown)
    return list(shots.values())


def _size(text: str, data: Mapping[str, Any]) -> int:
    """Characters of an example as it is shown; 0 for an empty text."""
    return len(text.strip()) + (len(json.dumps(data, ensure_ascii=False)) if data else 0) if text.strip() else 0


def _system(labels: Sequence[LabelText], instructions: str) -> str:
    parts = [instructions.strip()] if instructions.strip() else []
    defined = [f"{label.completion}: {label.description.strip()}" for label in labels if label.description.strip()]
    if defined:
        parts.append("\n".join(defined))
    parts.append(f"Answer with one of: {', '.join(label.completion for label in labels)}.")
    return "\n".join(parts)
