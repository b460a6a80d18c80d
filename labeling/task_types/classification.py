"""Single-label classification: a text gets exactly one of the schema's labels.

schema: {"labels": [{"name": "refund", "description": "wants the money back"}, …]}, the description optional.
value: a label's name, a str.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labeling.task_types.choices import check_known, choices_config, choices_result, chosen_one, named_first
from labeling.task_types.free_text import one_line
from labeling.task_types.metrics import (
    Counts,
    Metrics,
    Parts,
    check_rows,
    f1s,
    label_counts,
    macro,
    one_label_counts,
)
from labeling.task_types.prompt import conversation, definitions, told, users_turn
from labeling.task_types.voting import mean_over_pairs, plurality
from projects.schema import label_names

HAS_LABELS = True


def validate_data(text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Nothing but the text is needed."""


def task_data(text: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text}


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML for this schema, the instructions above the text; keys 1 to 9 choose a label."""
    return choices_config(schema, instructions, "single-radio")


def to_result(value: str) -> list[dict[str, Any]]:
    return choices_result([value])


def parse(result: Sequence[Any]) -> str:
    """Return the label that a Label Studio result chose.

    Raises ValueError, naming what is wrong, unless the result chose exactly one label.
    """
    return chosen_one(result)


def validate_value(value: str, schema: Mapping[str, Any], *, text: str = "") -> None:
    """Raises ValueError if the value is none of the schema's labels."""
    check_known(value, label_names(schema))


def canonical(value: str) -> str:
    return value


def agreement(values: Sequence[str]) -> float:
    """Return the share, in [0, 1], of the pairs of answers to one example that agree.

    Raises ValueError if there are fewer than two answers.
    """
    return mean_over_pairs(values, lambda a, b: float(a == b))


def consensus(values: Sequence[str], weights: Sequence[float] | None = None) -> str | None:
    """Return the label with the most answers, or the most weight; None on a tie or without an answer."""
    return plurality(values, weights)


def system(schema: Mapping[str, Any], instructions: str = "") -> str:
    return told(instructions, definitions(schema), f"Answer with one of: {', '.join(label_names(schema))}.")


def turns(text: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    return users_turn(text)


def render(text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
           instructions: str = "") -> list[dict[str, str]]:
    return conversation(system(schema, instructions), turns(text, data))


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answers are no JSON."""
    return None


def to_completion(value: str, *, source: str = "") -> str:
    return value


def parse_completion(text: str, schema: Mapping[str, Any], *, source: str = "") -> str:
    """Return the label that a model's answer names, whatever its case, quotes, final full stop or underscores.

    Only the first line that is not empty counts, and it must be a label alone: an answer that talks is not an answer.
    Raises ValueError if it is none of the schema's labels.
    """
    return named_first(text, label_names(schema))


def metrics_of(sums: np.ndarray) -> Parts:
    n_right, n_both = np.split(sums[..., 2:], 2, axis=-1)
    return {"accuracy": sums[..., 0] / sums[..., 1], "macro_f1": macro(f1s(n_right, n_both), n_both > 0)}


def counts(gold: Sequence[str], predicted: Sequence[str | None], schema: Mapping[str, Any] | None = None) -> Counts:
    check_rows(gold, predicted)
    labels = sorted({*label_names(schema or {"labels": []}), *gold, *(label for label in predicted if label)})
    each = label_counts([{label} for label in gold], [{label} if label else set() for label in predicted], labels)
    return Counts(np.hstack([one_label_counts(gold, predicted), each]), metrics_of)


def score(gold: Sequence[str], predicted: Sequence[str | None]) -> Metrics:
    """Return accuracy (primary) and macro-F1, the mean F1 over the labels that occur in gold or predicted."""
    return counts(gold, predicted).metrics


def show(value: str, *, source: str = "") -> str:
    return one_line(value)
