"""What scoring predicted values against gold values gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metrics:
    """`value` is the metric named `primary`; `parts` has all metrics by name, that one included, each in [0, 1].

    n: the number of rows.
    """

    primary: str
    value: float
    parts: dict[str, float]
    n: int


def metrics(gold: Sequence[Any], parts: dict[str, float]) -> Metrics:
    """Return the metrics of all `gold` rows; the first of `parts` is the primary one."""
    primary = next(iter(parts))
    return Metrics(primary, parts[primary], parts, len(gold))


def check_rows(gold: Sequence[Any], predicted: Sequence[Any]) -> None:
    """Raises ValueError unless there is at least one row, and one prediction per row."""
    if len(gold) != len(predicted) or not gold:
        raise ValueError("gold and predicted must have one value per row and at least one row, got "
                         f"{len(gold)} and {len(predicted)}")


def f1(n_right: float, n_gold: float, n_predicted: float) -> float:
    """Return 2 · right / (gold + predicted), in [0, 1]; 1 where there was nothing to find and nothing was found."""
    return 2 * n_right / (n_gold + n_predicted) if n_gold + n_predicted else 1.0
