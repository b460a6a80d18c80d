"""Multi-label classification: a text gets one or more of the schema's labels.

schema: {"labels": [{"name": "billing", "description": "…"}, …]}, the description optional.
value: a list of label names, sorted, each once, at least one. “None of them” is a label of its own: an empty answer
in Label Studio could as well be a slip.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labeling.task_types.choices import check_known, choices_config, choices_result, chosen, named
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
from labeling.task_types.voting import majority, mean_over_pairs
from projects.schema import label_names

HAS_LABELS = False


def validate_data(text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Nothing but the text is needed."""


def task_data(text: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text}


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML for this schema, the instructions above the text; keys 1 to 9 switch a label."""
    return choices_config(schema, instructions, "multiple")


def to_result(value: Sequence[str]) -> list[dict[str, Any]]:
    return choices_result(value)


def parse(result: Sequence[Any]) -> list[str]:
    """Return the labels that a Label Studio result chose, sorted. Raises ValueError if it chose none."""
    return canonical(chosen(result))


def validate_value(value: Sequence[str], schema: Mapping[str, Any], *, text: str = "") -> None:
    """Raises ValueError unless the value is a list of the schema's labels, at least one and each once."""
    if not isinstance(value, list):
        raise ValueError(f"the labels of a text are a list, got {value!r:.100}")
    if not value:
        raise ValueError("no label was chosen")
    for label in value:
        check_known(label, label_names(schema))
    if len(set(value)) < len(value):
        raise ValueError(f"a label was chosen twice: {value!r:.100}")


def canonical(value: Sequence[str]) -> list[str]:
    return sorted(set(value))


def agreement(values: Sequence[Sequence[str]]) -> float:
    """Return the mean Jaccard index of the pairs of answers, in [0, 1]: shared labels over labels that either has.

    Source: Jaccard 1912, The distribution of the flora in the alpine zone, New Phytologist 11.
    """
    return mean_over_pairs([set(value) for value in values], lambda a, b: len(a & b) / len(a | b) if a | b else 1.0)


def consensus(values: Sequence[Sequence[str]], weights: Sequence[float] | None = None) -> list[str] | None:
    """Return the labels that answers of more than half of the weight have.

    None without an answer, if a label has exactly half of the weight, or if no label has more.
    """
    labels = majority(values, weights)
    return canonical(labels) if labels else None


def system(schema: Mapping[str, Any], instructions: str = "") -> str:
    return told(instructions, definitions(schema), "Answer with every label that fits, each on a line of its own. "
                f"The labels: {', '.join(label_names(schema))}.")


def turns(text: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    return users_turn(text)


def render(text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
           instructions: str = "") -> list[dict[str, str]]:
    return conversation(system(schema, instructions), turns(text, data))


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answers are no JSON."""
    return None


def to_completion(value: Sequence[str], *, source: str = "") -> str:
    """Return the labels, each on a line of its own, since a name may have a comma in it but no line break."""
    return "\n".join(canonical(value))


def parse_completion(text: str, schema: Mapping[str, Any], *, source: str = "") -> list[str]:
    """Return the labels that a model's answer lists, on lines or between commas, with or without bullets.

    Raises ValueError if one of them is none of the schema's labels, or if there is none.
    """
    names, found = label_names(schema), []
    for line in filter(str.strip, text.splitlines()):
        whole = named(line, names) or named(line.strip().lstrip("-*•0123456789.) "), names)
        parts = [whole] if whole else [named(part, names) for part in line.split(",")]
        if None in parts:
            raise ValueError(f"the answer {line!r:.100} is none of the labels")
        found += [part for part in parts if part is not None]
    if not found:
        raise ValueError("the answer names no label")
    return canonical(found)


def metrics_of(sums: np.ndarray) -> Parts:
    n_right, n_both = np.split(sums[..., 2:], 2, axis=-1)
    return {"macro_f1": macro(f1s(n_right, n_both), n_both > 0), "exact_match": sums[..., 0] / sums[..., 1]}


def counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str] | None],
           schema: Mapping[str, Any] | None = None) -> Counts:
    """A row's own score is the share of the labels in gold or predicted that are in both: its Jaccard index."""
    check_rows(gold, predicted)
    wanted, given = [set(value) for value in gold], [set(value or ()) for value in predicted]
    labels = sorted(set(label_names(schema or {"labels": []})).union(*wanted, *given))
    exact = one_label_counts([sorted(value) for value in wanted], [None if value is None else sorted(set(value))
                                                                   for value in predicted])
    return Counts(np.hstack([exact, label_counts(wanted, given, labels)]), metrics_of)


def score(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str] | None]) -> Metrics:
    """Return macro-F1 (primary), the mean F1 over the labels that occur, and the share of rows that match exactly."""
    return counts(gold, predicted).metrics


def show(value: Sequence[str], *, source: str = "") -> str:
    return one_line(", ".join(value))
