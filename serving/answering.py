"""Who answers a request, what it is asked, what it says, and how that is read: the same for every backend.

A model answers a serving request as it answered the rows that it was evaluated on: under the same prompt, and where
answers are labels by the likelihood of each, balanced as on dev.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from labeling.task_types import task_type
from training.calibration import probabilities
from training.openai_endpoint import parse_label
from training.prompts import Prompt


class Busy(Exception):
    """The model has as much to do as it takes on; ask again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(Exception):
    """There is no model to ask right now, in words; ask again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unanswerable(ValueError):
    """This question has no answer, however often it is asked: it is too long. The words are for who asked."""


@dataclass(frozen=True)
class Served:
    """What answers: a prompt, with an adapter if one was trained for it.

    name: as requests name it, like "moods/champion". deployment: its row's number. bias: added to the labels'
    log-likelihoods, in the prompt's order; () where answers are written. adapter: its folder; None for the bare model.
    max_new_tokens: of a written answer. model: its name at an endpoint, "" for the embedded one. examples: the folder
    of solved examples of which a prompt shows each text those most like it; None where it does not.
    """

    name: str
    deployment: int
    prompt: Prompt
    bias: tuple[float, ...] = ()
    adapter: Path | None = None
    max_new_tokens: int = 0
    model: str = ""
    examples: Path | None = None


@dataclass(frozen=True)
class Question:
    """One example to be answered."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    max_new_tokens: int | None = None  # where who asks wants less than the model may say


@dataclass(frozen=True)
class Reply:
    """What a model says: either the labels' log-likelihoods, in the prompt's order, or a text.

    refusal: in what words it would not answer, where it says so apart from the text; "" otherwise.
    prompt_tokens, answer_tokens: as the model counts them, None if it does not say. label_tokens: of each label, where
    they were scored. waited, model_seconds: in the queue, and in the model with `n_together` questions at once.
    """

    text: str = ""
    refusal: str = ""
    scores: tuple[float, ...] | None = None
    is_whole: bool = True
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    label_tokens: tuple[int, ...] = ()
    waited_seconds: float = 0.0
    model_seconds: float = 0.0
    n_together: int = 1


class Backend(Protocol):
    """Asks a model."""

    def ask(self, served: Served, question: Question) -> Iterator[str | Reply]:
        """Yield the answer's pieces as they are written, where it is written, and last the whole reply.

        Raises Busy, Unavailable or Unanswerable, before the first piece if it can be.
        """
        ...


@dataclass(frozen=True)
class Answer:
    """A reply as it is read. text: what a chat shows. value: as the type of task has it, None if it cannot be read.

    frozen: the answer as a snapshot's row and an evaluation have it, None if it cannot be read. problem: why not.
    probabilities: of each label, where all were scored.
    """

    text: str
    value: Any
    frozen: str | None
    problem: str = ""
    probabilities: dict[str, float] | None = None
    answer_tokens: int | None = None


def read(served: Served, question: Question, reply: Reply) -> Answer:
    """Read a reply as an evaluation reads the model's predictions."""
    prompt = served.prompt
    if reply.scores is not None:
        balanced = probabilities(np.array([reply.scores]) + np.array(served.bias))[0]
        chosen = int(balanced.argmax())
        label = prompt.labels[chosen]
        tokens = reply.label_tokens[chosen] if reply.label_tokens else reply.answer_tokens
        return Answer(label.completion, label.name, label.name, answer_tokens=tokens, probabilities={
            one.name: float(share) for one, share in zip(prompt.labels, balanced, strict=True)})
    if reply.refusal:
        return Answer(reply.text, None, None, f"the model refused to answer: {reply.refusal:.200}",
                      answer_tokens=reply.answer_tokens)
    try:
        frozen = _named(prompt, reply.text) if prompt.has_labels else prompt.read(reply.text, question.text)
        kind = task_type(prompt.task_type)
        value = frozen if prompt.has_labels else kind.parse_completion(reply.text, prompt.schema, source=question.text)
    except ValueError as error:
        return Answer(reply.text, None, None, str(error), answer_tokens=reply.answer_tokens)
    return Answer(reply.text, value, frozen, answer_tokens=reply.answer_tokens)


def _named(prompt: Prompt, text: str) -> str:
    label = parse_label(text, prompt)
    if label is None:
        raise ValueError(f"the answer names none or several of the labels: {text:.100}")
    return label
