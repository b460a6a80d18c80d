"""Instruction and response: a text is answered in the annotator's own words; question answering, summaries.

schema: {"max_chars": 2000, "guidance": "what a good answer is"}, both optional.
value: the answer, a str without white space at its ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labeling.task_types import free_text
from labeling.task_types.metrics import Counts, Metrics, Parts
from labeling.task_types.prompt import conversation, told, users_turn
from labeling.task_types.textarea import HINT, textarea, textarea_result, written
from labeling.task_types.xml import headers

HAS_LABELS = False


def validate_data(text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Nothing but the text is needed."""


def task_data(text: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text}


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML: instructions and guidance, the text, a box for the answer."""
    return "\n".join(["<View>", *headers(instructions, free_text.rules(schema)), '  <Text name="text" value="$text"/>',
                      *headers(HINT), textarea("text", rows=8), "</View>"])


def to_result(value: str) -> list[dict[str, Any]]:
    return textarea_result(value, "text")


def parse(result: Sequence[Any]) -> str:
    """Return the answer that a Label Studio result holds, tidied. Raises ValueError unless it holds exactly one."""
    return canonical(written(result))


def validate_value(value: str, schema: Mapping[str, Any], *, text: str = "") -> None:
    """Raises ValueError if the answer is blank, longer than max_chars, or cannot be stored."""
    free_text.validate_writing(value, schema)


def canonical(value: str) -> str:
    return free_text.tidy(value)


def agreement(values: Sequence[str]) -> float:
    """Return the mean similarity in wording of the pairs of answers; see `free_text.similarity`."""
    return free_text.agreement(values)


def consensus(values: Sequence[str], weights: Sequence[float] | None = None) -> str | None:
    """Return the answer that is most like the others, one that somebody gave; None on a tie or without an answer."""
    return free_text.medoid(values, weights)


def system(schema: Mapping[str, Any], instructions: str = "") -> str:
    return told(instructions, free_text.rules(schema))


def turns(text: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    return users_turn(text)


def render(text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
           instructions: str = "") -> list[dict[str, str]]:
    return conversation(system(schema, instructions), turns(text, data))


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answers are no JSON."""
    return None


def to_completion(value: str, *, source: str = "") -> str:
    return canonical(value)


def parse_completion(text: str, schema: Mapping[str, Any], *, source: str = "") -> str:
    """Return the answer, tidied. Raises ValueError if it is blank or longer than max_chars."""
    validate_value(text, schema)
    return canonical(text)


def metrics_of(sums: np.ndarray) -> Parts:
    return free_text.metrics_of(sums)


def counts(gold: Sequence[str], predicted: Sequence[str | None], schema: Mapping[str, Any] | None = None) -> Counts:
    return free_text.counts(gold, predicted)


def score(gold: Sequence[str], predicted: Sequence[str | None]) -> Metrics:
    """Return ROUGE-L, as a trend only: which of two answers is better, people or a calibrated judge have to say."""
    return counts(gold, predicted).metrics


def show(value: str, *, source: str = "") -> str:
    return free_text.one_line(value)
