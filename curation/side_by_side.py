"""Answers to one example held side by side, so that what differs is seen at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Stretch:
    """A stretch of a text that the same spans cover: their labels, and those that end here.

    is_disputed: not every answer marks it with these labels.
    """

    text: str
    labels: tuple[str, ...]
    ending: tuple[str, ...]
    is_disputed: bool


def stretches(text: str, answers: Sequence[Sequence[Mapping[str, Any]]], chosen: int) -> list[Stretch]:
    """Return the text cut at the ends of the spans of one of the answers, in order; joined they are the text.

    A span is disputed unless every answer has it, both ends and the label alike. Spans may overlap.
    """
    spans = [(span["start"], span["end"], span["label"]) for span in answers[chosen]]
    shared = set.intersection(*({(span["start"], span["end"], span["label"]) for span in answer}
                                for answer in answers))
    cuts = sorted({0, len(text), *(end for start, end, _ in spans), *(start for start, _, _ in spans)})
    found = []
    for start, end in pairwise(cuts):
        covering = [span for span in spans if span[0] <= start and end <= span[1]]
        found.append(Stretch(
            text[start:end], tuple(label for _, _, label in covering),
            tuple(label for _, last, label in covering if last == end), any(span not in shared for span in covering)))
    return found


@dataclass(frozen=True)
class FieldRow:
    """One field of every answer, "" where an answer lacks it."""

    path: str
    cells: tuple[str, ...]
    differs: bool


def field_rows(answers: Sequence[Mapping[str, Any]]) -> list[FieldRow]:
    """Return the fields of all answers, those of the first one first, a nested field by its path "seller.name"."""
    leaves = [dict(_leaves(answer)) for answer in answers]
    rows = []
    for path in dict.fromkeys(path for fields in leaves for path in fields):
        cells = tuple(fields.get(path, "") for fields in leaves)
        rows.append(FieldRow(path, cells, len(set(cells)) > 1))
    return rows


def _leaves(value: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, part in value.items():
        found += _leaves(part, f"{path}{name}.") if isinstance(part, Mapping) else [(f"{path}{name}", _shown(part))]
    return found


def _shown(part: Any) -> str:
    if isinstance(part, list):
        return ", ".join(map(_shown, part))
    return {True: "yes", False: "no"}[part] if isinstance(part, bool) else str(part)
