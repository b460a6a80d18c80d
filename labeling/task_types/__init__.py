"""One module per type of task; all that the product knows about a type stands in its module.

`task_type("spans")` gives the module of a type, and `TaskTypeModule` says what is in each. What a schema may hold is
checked by `projects.schema`. The other modules here are what several types share, named after their subject.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from labeling.task_types import chat, classification, extraction, multilabel, preference, response, spans
from labeling.task_types.metrics import Counts, Metrics, Parts

Message = dict[str, str]


class TaskTypeModule(Protocol):
    """What every type of task does. A value is JSON: text, a list or an object; its module's docstring says which.

    schema: one that `projects.schema.validate_schema` has let through.
    source: the example's text. Only spans need it, since they point into it; the others take no notice of it.
    """

    HAS_LABELS: bool  # a value is one of a short fixed list, so there can be a probability for each

    def validate_data(self, text: str, data: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
        """Raises ValueError, in words for the person who imports, if an example lacks what this type asks about."""

    def task_data(self, text: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return what Label Studio is given of an example: its text and what the config shows, nothing else."""

    def label_config(self, schema: Mapping[str, Any], instructions: str = "") -> str:
        """Return Label Studio's XML for this schema, the instructions on top."""

    def to_result(self, value: Any) -> list[dict[str, Any]]:
        """Return the value as the result of a Label Studio annotation or prediction."""

    def parse(self, result: Sequence[Any]) -> Any:
        """Return the value of a Label Studio result. Raises ValueError, naming what is wrong, if there is none."""

    def validate_value(self, value: Any, schema: Mapping[str, Any], *, text: str = "") -> None:
        """Raises ValueError, in words, if the value is no answer under this schema.

        text: the example's text; without it (an empty text) what depends on it is not checked.
        """

    def canonical(self, value: Any) -> Any:
        """Return the one spelling of all equal answers, to be stored: two answers are equal if these are."""

    def agreement(self, values: Sequence[Any]) -> float:
        """Return how much the answers to one example agree, in [0, 1]: the mean over all pairs of answers.

        Raises ValueError if there are fewer than two.
        """

    def consensus(self, values: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """Return what the answers to one example say together; None if there is none, or on a tie: ask a person.

        weights: how much each answer counts, at least 0 and not all 0; equally if left out.
        Raises ValueError if the weights are no such numbers.
        """

    def system(self, schema: Mapping[str, Any], instructions: str = "") -> str:
        """Return what a model is told once for all examples: the instructions, then how to answer; may be empty."""

    def turns(self, text: str, data: Mapping[str, Any]) -> list[Message]:
        """Return what is asked about one example: one turn or more, the last a user's."""

    def answer_schema(self, schema: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the JSON schema of what `to_completion` writes, to hold a model to it; None where it is no JSON."""

    def render(self, text: str, data: Mapping[str, Any], schema: Mapping[str, Any],
               instructions: str = "") -> list[Message]:
        """Return the chat messages, each with a role and content, that ask a model for the value's completion."""

    def to_completion(self, value: Any, *, source: str = "") -> str:
        """Return what a model should write for this value."""

    def parse_completion(self, text: str, schema: Mapping[str, Any], *, source: str = "") -> Any:
        """Return the canonical value that a model wrote: that of `to_completion(value)` is `canonical(value)`.

        Raises ValueError, naming what is wrong, if it wrote no valid value.
        """

    def metrics_of(self, sums: np.ndarray) -> Parts:
        """Return each metric of `score` by its name, the primary one first, of (…, p) sums of `counts` over rows."""

    def counts(self, gold: Sequence[Any], predicted: Sequence[Any], schema: Mapping[str, Any] | None = None) -> Counts:
        """Return what the metrics of `score` are made of, row by row.

        schema: with it, the counts of two sets of predictions for the same gold values have the same columns.
        Raises ValueError as `score` does.
        """

    def score(self, gold: Sequence[Any], predicted: Sequence[Any]) -> Metrics:
        """Return how well predicted values match gold values, row by row.

        predicted: None is an answer that could not be read, and wrong.
        Raises ValueError if there is no row, or not one prediction per row.
        """

    def show(self, value: Any, *, source: str = "") -> str:
        """Return the value on one line of at most 200 characters, for lists and logs."""


_MODULES: dict[str, TaskTypeModule] = {
    "classification": classification,
    "multilabel": multilabel,
    "response": response,
    "extraction": extraction,
    "preference": preference,
    "spans": spans,
    "chat": chat,
}


def task_type(name: str) -> TaskTypeModule:
    """Return the module of a type of task. Raises ValueError, naming the known ones, if there is none."""
    if name not in _MODULES:
        raise ValueError(f"the task type must be one of {', '.join(_MODULES)}, got {name!r:.100}")
    return _MODULES[name]
