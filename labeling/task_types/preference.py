"""Pairwise preference: which of two answers to a text is better.

schema: {"allow_tie": true}; true if left out.
data: {"left": "…", "right": "…"}, the two answers. Who puts them there draws the sides at random, since people and
models alike prefer a side.
value: "left", "right" or "tie".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labeling.task_types.choices import check_known, choices_result, chosen_one, named_first
from labeling.task_types.free_text import check_storable
from labeling.task_types.metrics import Counts, Metrics, Parts, check_rows, one_label_counts
from labeling.task_types.prompt import conversation, told, users_turn
from labeling.task_types.voting import mean_over_pairs, plurality
from labeling.task_types.xml import headers, option

HAS_LABELS = True
LEFT, RIGHT, TIE = "left", "right", "tie"
_HINTS = {LEFT: "The left answer is better", RIGHT: "The right answer is better", TIE: "Neither is better"}


def validate_data(text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raises ValueError unless there are two different answers, “left” and “right”."""
    for side in (LEFT, RIGHT):
        answer = data.get(side)
        if not isinstance(answer, str) or not answer.strip():
            raise ValueError(f"A comparison needs an answer in “{side}”; got {answer!r:.100}.")
        check_storable(answer)
    if data[LEFT].split() == data[RIGHT].split():
        raise ValueError("“left” and “right” are the same answer. A comparison needs two different ones.")


def task_data(text: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text, LEFT: data[LEFT], RIGHT: data[RIGHT]}


def label_config(schema: Mapping[str, Any], instructions: str = "") -> str:
    """Return Label Studio's XML: the text, the answers side by side, keys 1 to 3.

    Required choices, not Label Studio's Pairwise, which knows no tie and can be submitted without an answer.
    """
    choices = [option("Choice", {"name": side, "description": _HINTS[side]}, position)
               for position, side in enumerate(_sides(schema), 1)]
    return "\n".join([
        "<View>", *headers(instructions), '  <Text name="text" value="$text"/>', '  <View style="display: flex">',
        *(f'    <View style="flex: 1; padding: 0 1em"><Header size="5" value="{side.title()}"/>'
          f'<Text name="{side}" value="${side}"/></View>' for side in (LEFT, RIGHT)), "  </View>",
        '  <Choices name="preference" toName="text" choice="single-radio" required="true" showInline="true">',
        *choices, "  </Choices>", "</View>"])


def to_result(value: str) -> list[dict[str, Any]]:
    return choices_result([value], "preference")


def parse(result: Sequence[Any]) -> str:
    """Return the side that a Label Studio result chose. Raises ValueError unless it chose exactly one."""
    return chosen_one(result, "preference")


def validate_value(value: str, schema: Mapping[str, Any], *, text: str = "") -> None:
    """Raises ValueError if the value is no side, or a tie where none is allowed."""
    check_known(value, _sides(schema))


def canonical(value: str) -> str:
    return value


def agreement(values: Sequence[str]) -> float:
    """Return the share, in [0, 1], of the pairs of answers that are the same; a tie agrees with a tie only."""
    return mean_over_pairs(values, lambda a, b: float(a == b))


def consensus(values: Sequence[str], weights: Sequence[float] | None = None) -> str | None:
    """Return the answer with the most weight.

    None without an answer, or if two have equally much: “tie” says that people found the answers equally good, not
    that they could not agree.
    """
    return plurality(values, weights)


def system(schema: Mapping[str, Any], instructions: str = "") -> str:
    return told(instructions, f"Which answer is better? Answer with one of: {', '.join(_sides(schema))}.")


def turns(text: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    return users_turn("\n\n".join([text.strip(), *(f"Answer {side}:\n{data[side].strip()}" for side in (LEFT, RIGHT))]))


def render(text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
           instructions: str = "") -> list[dict[str, str]]:
    return conversation(system(schema, instructions), turns(text, data))


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answers are no JSON."""
    return None


def to_completion(value: str, *, source: str = "") -> str:
    return value


def parse_completion(text: str, schema: Mapping[str, Any], *, source: str = "") -> str:
    """Return the side that the first line of a model's answer names, alone. Raises ValueError if it names none."""
    return named_first(text, _sides(schema))


def metrics_of(sums: np.ndarray) -> Parts:
    return {"accuracy": sums[..., 0] / sums[..., 1]}


def counts(gold: Sequence[str], predicted: Sequence[str | None], schema: Mapping[str, Any] | None = None) -> Counts:
    check_rows(gold, predicted)
    return Counts(one_label_counts(gold, predicted), metrics_of)


def score(gold: Sequence[str], predicted: Sequence[str | None]) -> Metrics:
    """Return the accuracy."""
    return counts(gold, predicted).metrics


def show(value: str, *, source: str = "") -> str:
    return value


def _sides(schema: Mapping[str, Any]) -> list[str]:
    """The answers that may be given, in the order in which they are shown."""
    return [LEFT, RIGHT, TIE] if schema.get("allow_tie", True) else [LEFT, RIGHT]
