"""Objects field by field: two answers to an extraction are alike as far as their fields are.

A field is a leaf: the path of keys to it and a text, number, boolean or array of those. Values are compared
normalised: case, width and runs of spaces do not count, 1 is 1.0, and true is not 1. An array is a collection: its
order says nothing. A field that is null says the same as one left out.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from labeling.task_types.free_text import tidy
from labeling.task_types.voting import beside_half, checked, majority
from labeling.texts import normalise
from projects.strict_json import MAX_INTEGER

Path = tuple[str, ...]
ABSENT = None  # tidied objects hold no null


def tidied(value: Any) -> Any:
    """Return the value with sorted keys and arrays, without nulls, texts tidied and whole numbers without a point."""
    if isinstance(value, Mapping):
        return {name: tidied(value[name]) for name in sorted(value) if value[name] is not None}
    if isinstance(value, list):
        return sorted((tidied(item) for item in value if item is not None), key=json.dumps)
    if isinstance(value, str):
        return tidy(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_INTEGER:
        return int(value)
    return value


def similarity(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Return the share, in [0, 1], of the fields of either object that are equal in both; 1 if there is none.

    An array counts as far as it is shared: elements in both over elements in either.
    """
    first, second = _leaves(tidied(a)), _leaves(tidied(b))
    paths = first.keys() | second.keys()
    each = [_similarity(first.get(path, []), second.get(path, [])) for path in paths]
    return math.fsum(each) / len(each) if each else 1.0


def consensus(values: Sequence[Mapping[str, Any]], weights: Sequence[float] | None = None) -> dict[str, Any] | None:
    """Return the object of what answers of more than half of the weight say, field by field, tidied.

    A field stands with the value, or is left out, as more than half say; of an array those elements stand that more
    than half have. Of several spellings of a value the one with the most weight stands, the first on a tie.
    None without an answer, or if more than half say neither one value of a field nor that it is not there, or if an
    element has exactly half.
    """
    each = checked(weights, len(values))
    answers = [_leaves(tidied(value)) for value in values]
    agreed: dict[Path, Any] = {}
    for path in dict.fromkeys(path for answer in answers for path in answer):
        leaves = [answer.get(path, ABSENT) for answer in answers]
        is_array = any(isinstance(leaf, list) for leaf in leaves)
        said = [_elements(leaf) if is_array else [(_key(leaf), 1)] for leaf in leaves]
        chosen = majority(said, each)
        if chosen is None or not (chosen or is_array):
            return None
        if is_array:
            is_there = math.fsum(weight for leaf, weight in zip(leaves, each, strict=True) if leaf is not ABSENT)
            if chosen or beside_half(is_there, math.fsum(each)) >= 0:
                agreed[path] = [_spelling(key, leaves, each) for key, _ in chosen]
        elif chosen[0][0] != _key(ABSENT):
            agreed[path] = _spelling(chosen[0][0], leaves, each)
    return tidied(_nested(agreed)) if values else None


def counted(value: Mapping[str, Any]) -> Counter[tuple[Path, str]]:
    """Return how often each path holds each normalised value; every element of an array counts."""
    return Counter((path, _key(item)) for path, leaf in _leaves(tidied(value)).items()
                   for item in (leaf if isinstance(leaf, list) else [leaf]))


def _leaves(value: Mapping[str, Any], path: Path = ()) -> dict[Path, Any]:
    """The fields of a tidied object by path; an empty object is a leaf of its own."""
    found: dict[Path, Any] = {}
    for name, part in value.items():
        found |= _leaves(part, (*path, name)) if isinstance(part, Mapping) and part else {(*path, name): part}
    return found


def _nested(leaves: Mapping[Path, Any]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for (*parents, name), leaf in leaves.items():
        part = value
        for parent in parents:
            part = part.setdefault(parent, {})
        part[name] = leaf
    return value


def _similarity(a: Any, b: Any) -> float:
    if not isinstance(a, list) and not isinstance(b, list):
        return float(_key(a) == _key(b))
    ours, theirs = Counter(dict.fromkeys(_elements(a), 1)), Counter(dict.fromkeys(_elements(b), 1))
    either = (ours | theirs).total()
    return (ours & theirs).total() / either if either else 1.0


def _elements(leaf: Any) -> list[tuple[str, int]]:
    """The normalised elements of an array, the second of a kind as a second one: ("a", 1), ("b", 1), ("a", 2)."""
    if leaf is ABSENT:
        return []
    seen: Counter[str] = Counter()
    elements = []
    for item in leaf if isinstance(leaf, list) else [leaf]:
        seen[_key(item)] += 1
        elements.append((_key(item), seen[_key(item)]))
    return elements


def _key(value: Any) -> str:
    """What a value is compared by."""
    return json.dumps(normalise(value) if isinstance(value, str) else value)


def _spelling(key: str, leaves: Sequence[Any], weights: Sequence[float]) -> Any:
    """The value with this key that has the most weight, the first on a tie."""
    weight_of: dict[str, float] = {}
    for leaf, weight in zip(leaves, weights, strict=True):
        for item in leaf if isinstance(leaf, list) else [leaf]:
            if _key(item) == key:
                weight_of[json.dumps(item)] = weight_of.get(json.dumps(item), 0.0) + weight
    return json.loads(max(weight_of, key=lambda spelling: weight_of[spelling]))
