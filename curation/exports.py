"""The rows of a snapshot as files that others train on, and the rows that a format cannot hold, with the reason.

- `trl`: a conversational prompt and its completion, as TRL's SFTTrainer takes them.
- `messages`: the same as one conversation.
- `preference`: prompt, chosen and rejected, as TRL's DPOTrainer takes them; comparisons only.
- `csv`: key, split, label and text, for people; a cell that a spreadsheet would run as a formula gets a ' before it.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from defusedcsv import csv as safe_csv

from curation.answers import Answers
from curation.canonical import canonical_line

EXPORTS = {"trl": "jsonl", "messages": "jsonl", "preference": "jsonl", "csv": "csv"}  # format → file ending
SIDES = ("left", "right")
TIE = "a tie: neither answer is better, so neither can be the chosen one"


class Row(Protocol):
    """A frozen row; data: what the task needs beside the text, as its `task_data` gives it."""

    @property
    def key(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class LeftOut:
    """A row that is not in the file, and why, in words."""

    key: str
    split: str
    reason: str


@dataclass(frozen=True)
class Exported:
    content: bytes
    left_out: list[LeftOut]


def formats_of(task_type: str) -> list[str]:
    """The formats that a type of task can be written in; only a comparison has a chosen and a rejected answer."""
    return [format for format in EXPORTS if format != "preference" or task_type == "preference"]


def export_rows(rows: Sequence[Row], format: str, *, answers: Answers, instructions: str) -> Exported:
    """Return the rows in a format, in their order; every row is in the file or left out with a reason.

    instructions: what the prompt tells the model above the task type's own rules.
    Raises ValueError, in words, if the task type cannot be written in this format.
    """
    if format not in formats_of(answers.task_type):
        raise ValueError(f"The formats are {', '.join(formats_of(answers.task_type))}; got “{format}”.")
    if format == "csv":
        return Exported(_csv(rows), [])
    lines, left_out = [], []
    for row in rows:
        if format == "preference":
            if row.label not in SIDES:
                left_out.append(LeftOut(row.key, row.split, TIE))
                continue
            record = _compared(row)
        else:
            record = _answered(row, answers, instructions, as_one=format == "messages")
        lines.append(canonical_line({**record, "split": row.split, "key": row.key}))
    return Exported(b"".join(lines), left_out)


def left_out_csv(left_out: Sequence[LeftOut]) -> bytes:
    out = io.StringIO()
    writer = safe_csv.writer(out)
    writer.writerow(["key", "split", "reason"])
    writer.writerows([row.key, row.split, row.reason] for row in left_out)
    return out.getvalue().encode()


def _answered(row: Row, answers: Answers, instructions: str, *, as_one: bool) -> dict[str, Any]:
    prompt = answers.kind.render(row.text, row.data, answers.schema, instructions)
    answer = [{"role": "assistant", "content": row.label}]
    return {"messages": [*prompt, *answer]} if as_one else {"prompt": prompt, "completion": answer}


def _compared(row: Row) -> dict[str, Any]:
    """The instructions of a comparison say how to judge, not how to answer, so they are no part of this prompt."""
    chosen, rejected = SIDES if row.label == SIDES[0] else SIDES[::-1]
    return {"prompt": [{"role": "user", "content": row.text}],
            "chosen": [{"role": "assistant", "content": row.data[chosen]}],
            "rejected": [{"role": "assistant", "content": row.data[rejected]}]}


def _csv(rows: Sequence[Row]) -> bytes:
    more = sorted({name for row in rows for name in row.data})
    out = io.StringIO()
    writer = safe_csv.writer(out)
    writer.writerow(["key", "split", "label", "text", *more])
    writer.writerows([row.key, row.split, row.label, row.text, *(_cell(row.data.get(name)) for name in more)]
                     for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
