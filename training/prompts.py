"""A prompt of any type of task: what the model is told, its examples, and how an answer is read.

The same prompt object is tried as the baseline, trained on by LoRA and served by the gateway, so its hash says
whether two numbers are about the same question.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
    neighbours: so many further examples are shown with each text, those training rows that are most like it; 0 for a
    prompt that shows the same to all.
    """

    name: str
    system: str
    instruction: str
    shots: tuple[Shot, ...]
    labels: tuple[LabelText, ...]
    task_type: str = CLASSIFICATION
    schema: Mapping[str, Any] = field(default_factory=dict)
    neighbours: int = 0

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


def render(prompt: Prompt, text: str, data: Mapping[str, Any] | None = None,
           shots: Sequence[Shot] = ()) -> list[Message]:
    """The messages that ask `prompt` about an example: system, then the solved examples, then the example's turns.

    data: what the task shows beside the text; only preference and chat have some.
    shots: shown for this text alone, behind the prompt's own.
    """
    turns = _turns(prompt, text, data or {})
    opening, turns = (turns[:1], turns[1:]) if turns[0]["role"] == "system" else ([], turns)
    solved = [message for shot in (*prompt.shots, *shots) for message in (
        *(turn for turn in _turns(prompt, shot.text, shot.data) if turn["role"] != "system"),
        {"role": "assistant", "content": prompt.completion_of(shot.label)})]
    return conversation(prompt.system, [*opening, *solved, *turns])


def _turns(prompt: Prompt, text: str, data: Mapping[str, Any]) -> list[Message]:
    *earlier, last = task_type(prompt.task_type).turns(text, data)
    return [*earlier, {**last, "content": prompt.instruction.replace(TEXT, last["content"].strip())}]


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """A JSON-able form, read back by `prompt_from_json`.

    What a prompt does not need is left out, so that hashes from before there was such a thing stay.
    """
    data = asdict(prompt)
    data["shots"] = [shot_to_json(shot) for shot in prompt.shots]
    if not prompt.neighbours:
        del data["neighbours"]
    if prompt.task_type == CLASSIFICATION:
        del data["task_type"], data["schema"]
    return data


def shot_to_json(shot: Shot) -> dict[str, Any]:
    return {"text": shot.text, "label": shot.label, **({"data": dict(shot.data)} if shot.data else {})}


def shots_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Shot, ...]:
    return tuple(Shot(**shot) for shot in data)


def prompt_from_json(data: Mapping[str, Any]) -> Prompt:
    """The prompt that `prompt_to_json` wrote down; raises ValueError if it does not hold together."""
    return Prompt(name=data["name"], system=data["system"], instruction=data["instruction"],
                  shots=shots_from_json(data["shots"]),
                  labels=tuple(LabelText(**label) for label in data["labels"]),
                  task_type=data.get("task_type", CLASSIFICATION), schema=data.get("schema", {}),
                  neighbours=data.get("neighbours", 0))


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


def bare(schema: Mapping[str, Any], instructions: str = "", task_type: str = CLASSIFICATION) -> Prompt:
    """The question alone: the first paragraph of the instructions and the names of the answers, nothing defined."""
    question = re.split(r"\n\s*\n", instructions.strip(), maxsplit=1)[0]
    if "labels" not in schema:
        return _prompt("zero-shot", schema, task_type, question)
    undefined = {**schema, "labels": [{**label, "description": ""} for label in schema["labels"]]}
    if task_type == CLASSIFICATION:
        return _prompt("zero-shot", undefined, task_type, question)
    said = _prompt("zero-shot", undefined, task_type, question)
    return replace(said, schema=dict(schema))


def few_shot(schema: Mapping[str, Any], instructions: str, shots: Sequence[Shot],
             task_type: str = CLASSIFICATION) -> Prompt:
    """The zero-shot prompt with solved examples before the question, in the order given."""
    return _prompt(f"few-shot, {len(shots)} examples", schema, task_type, instructions, shots=tuple(shots))


def nearest_shots(schema: Mapping[str, Any], instructions: str, n: int, task_type: str = CLASSIFICATION) -> Prompt:
    """The zero-shot prompt; with each text come the n training rows that are most like it, solved.

    Source: Liu et al. 2022, What Makes Good In-Context Examples for GPT-3? (KATE), DeeLIO.
    """
    return replace(_prompt(f"few-shot, {n} nearest", schema, task_type, instructions), neighbours=n)


def by_hand(schema: Mapping[str, Any], task_type: str, *, name: str, system: str, instruction: str,
            shots: Sequence[Shot] = (), neighbours: int = 0) -> Prompt:
    """A prompt in somebody's own words. Raises ValueError if {text} is not in the instruction once."""
    return replace(_prompt(name, schema, task_type, ""), system=system, instruction=instruction, shots=tuple(shots),
                   neighbours=neighbours)


def _prompt(name: str, schema: Mapping[str, Any], kind: str, instructions: str, *, shots: tuple[Shot, ...] = (),
            system: str = "") -> Prompt:
    module = task_type(kind)
    labels = label_texts(schema, kind) if module.HAS_LABELS else ()
    if kind == CLASSIFICATION:
        return Prompt(name, _system(labels, instructions), TEXT, shots, labels)
    return Prompt(name, system or module.system(schema, instructions), TEXT, shots, labels, kind, dict(schema))


def _system(labels: Sequence[LabelText], instructions: str) -> str:
    parts = [instructions.strip()] if instructions.strip() else []
    defined = [f"{label.completion}: {label.description.strip()}" for label in labels if label.description.strip()]
    if defined:
        parts.append("\n".join(defined))
    parts.append(f"Answer with one of: {', '.join(label.completion for label in labels)}.")
    return "\n".join(parts)
