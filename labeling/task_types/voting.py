"""What several answers say together: their agreement by pairs, the most frequent one, the parts most of them have."""

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

Part = TypeVar("Part", bound=Hashable)


def mean_over_pairs(values: Sequence[Any], similarity: Callable[[Any, Any], float]) -> float:
    """Return the mean similarity of all pairs of answers. Raises ValueError if there are fewer than two answers."""
    if len(values) < 2:
        raise ValueError(f"agreement needs at least 2 answers, got {len(values)}")
    pairs = list(itertools.combinations(values, 2))
    return math.fsum(similarity(a, b) for a, b in pairs) / len(pairs)


def plurality(values: Sequence[Part], weights: Sequence[float] | None = None) -> Part | None:
    """Return the answer with the most weight; None on a tie or without an answer."""
    weight_of: dict[Part, float] = {}
    for value, weight in zip(values, checked(weights, len(values)), strict=True):
        weight_of[value] = weight_of.get(value, 0.0) + weight
    ranked = sorted(weight_of, key=lambda value: -weight_of[value])
    if not ranked or (len(ranked) > 1 and math.isclose(weight_of[ranked[0]], weight_of[ranked[1]])):
        return None
    return ranked[0]


def majority(answers: Sequence[Iterable[Part]], weights: Sequence[float] | None = None) -> list[Part] | None:
    """Return the parts that answers of more than half of the weight have, in the order in which they first occur.

    None if a part has exactly half of the weight: that is a tie.
    """
    each = checked(weights, len(answers))
    weight_of: dict[Part, float] = {}
    for answer, weight in zip(answers, each, strict=True):
        for part in dict.fromkeys(answer):
            weight_of[part] = weight_of.get(part, 0.0) + weight
    sides = {part: beside_half(weight, math.fsum(each)) for part, weight in weight_of.items()}
    return None if 0 in sides.values() else [part for part, side in sides.items() if side > 0]


def beside_half(weight: float, total: float) -> int:
    """Return 1 if the weight is more than half of the total, -1 if it is less, 0 if it is half."""
    if math.isclose(2 * weight, total):
        return 0
    return 1 if 2 * weight > total else -1


def checked(weights: Sequence[float] | None, n: int) -> list[float]:
    """Return the weights of n answers, 1 each if there are none.

    Raises ValueError unless there are n of them, all finite and at least 0, and not all 0.
    """
    if weights is None:
        return [1.0] * n
    if len(weights) != n or not all(math.isfinite(weight) and weight >= 0 for weight in weights) \
            or (n and not any(weights)):
        raise ValueError(f"weights must be {n} finite numbers, at least 0 and not all 0, got {list(weights)!r:.200}")
    return [float(weight) for weight in weights]
