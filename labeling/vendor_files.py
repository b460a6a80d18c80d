"""The file that an outside company gets: one row per example, each with all that its people need to answer it."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from defusedcsv import csv as safe_csv

T = TypeVar("T")

FORMATS = ("jsonl", "csv")


@dataclass(frozen=True)
class Question:
    """What is asked of every row: the allowed labels ([] where an answer is free) and the guideline in force."""

    task_type: str
    allowed_labels: list[str]
    schema: dict[str, Any]
    guideline: str
    guideline_version: int


@dataclass(frozen=True)
class AskedRow:
    """An example to be answered by `n_annotators` different people; `data`: what its type shows beside the text."""

    key: str
    text: str
    data: dict[str, Any]
    n_annotators: int


def to_jsonl(rows: Sequence[AskedRow], question: Question) -> bytes:
    """One object per row, lossless."""
    return b"".join(json.dumps(_values(row, question), ensure_ascii=False).encode() + b"\n" for row in rows)


def to_csv(rows: Sequence[AskedRow], question: Question) -> bytes:
    """A table whose lists and objects are JSON, and whose cells no spreadsheet runs as a formula.

    A text that begins as a formula does gets ' before it and so is not quite itself.
    """
    out = io.StringIO()
    writer = safe_csv.writer(out)
    for number, row in enumerate(rows):
        values = _values(row, question)
        if number == 0:
            writer.writerow(values)
        writer.writerow(json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
                        for value in values.values())
    return out.getvalue().encode()


def _values(row: AskedRow, question: Question) -> dict[str, Any]:
    return {"key": row.key, "text": row.text, **row.data, "task_type": question.task_type,
            "allowed_labels": question.allowed_labels, "schema": question.schema, "guideline": question.guideline,
            "guideline_version": question.guideline_version, "n_annotators": row.n_annotators}


def drawn(keys: Sequence[str], n: int, seed: str) -> list[str]:
    """Return n of the keys, or all if there are fewer, in an order that follows from the seed alone."""
    return in_drawn_order(keys, keys, seed)[:n]


def in_drawn_order(values: Sequence[T], keys: Sequence[str], seed: str) -> list[T]:
    """Return the values in an order that follows from the seed and their keys alone, whatever order they came in."""
    def place(pair: tuple[str, T]) -> bytes:
        return hashlib.sha256(f"{seed}:{pair[0]}".encode()).digest()

    return [value for _, value in sorted(zip(keys, values, strict=True), key=place)]


def n_honeypots(n_rows: int, share: float) -> int:
    """Return how many known answers are mixed into n_rows: the share of them, and one at least if there are to be any.

    share: in [0, 1].
    """
    return max(1, round(n_rows * share)) if n_rows and share > 0 else 0
