"""The rows of a snapshot in the formats that others train on, and the rows that a format cannot hold, with the reason.

A format is written into a folder: its data, beside it `goldpan.json` (where the rows come from, and all versions),
`row-hashes.csv` (every row's hash as it was frozen), `left-out.csv` and `SHA256SUMS`. Nothing in it depends on when or
where it is written, so two writes of one snapshot are equal byte by byte. Rows are read once and never kept.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from defusedcsv import csv as safe_csv

from curation.answers import Answers
from curation.canonical import canonical_line

EXPORT_VERSION = 1
SIDES = ("left", "right")
TIE = "a tie: neither answer is better, so neither can be the chosen one"
NOT_AN_ANSWER = "its label is no answer under the schema that it was frozen with"
NO_TURNS = "its turns do not alternate between user and assistant, which ShareGPT needs"
DATA_COLUMNS = {"preference": ("left", "right"), "chat": ("messages",)}  # task type → what a row has beside its text
ALL = ("classification", "multilabel", "response", "extraction", "preference", "spans", "chat")
SPLITS = ("train", "dev", "test")
SUMS = "SHA256SUMS"


class Row(Protocol):
    """A frozen row; data: what the task needs beside the text, as its `task_data` gives it. sha256: of its line."""

    @property
    def key(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True)
class LeftOut:
    """A row that is not in the file, and why, in words."""

    key: str
    split: str
    reason: str


@dataclass(frozen=True)
class Format:
    """words, what: for people. data: the file that holds the rows, "" where there are several. fits: task types."""

    words: str
    what: str
    data: str
    fits: tuple[str, ...] = ALL


_ONE_ANSWER = tuple(name for name in ALL if name != "preference")
EXPORTS = {
    "trl": Format("TRL, prompt and completion", "SFTTrainer; JSON Lines", "data.jsonl"),
    "messages": Format("Messages", "one conversation a row; JSON Lines", "data.jsonl"),
    "preference": Format("TRL, chosen and rejected", "DPOTrainer; JSON Lines", "data.jsonl", ("preference",)),
    "kto": Format("TRL, answers marked good or bad", "KTOTrainer; JSON Lines", "data.jsonl", ("preference",)),
    "alpaca": Format("Alpaca", "instruction, input, output, with dataset_info.json", "",
                     tuple(name for name in _ONE_ANSWER if name != "chat")),
    "sharegpt": Format("ShareGPT", "conversations, with dataset_info.json", ""),
    "label-studio": Format("Label Studio", "tasks with their answers; JSON", "data.json"),
    "csv": Format("CSV", "for a spreadsheet", "data.csv"),
    "parquet": Format("Parquet", "for pandas, DuckDB and Spark", "data.parquet"),
    "huggingface": Format("Hugging Face folder", "Parquet, dataset card, Croissant", ""),
    "snapshot": Format("Snapshot file", "to import elsewhere, with the same hash; JSON Lines", "snapshot.jsonl"),
}
BY_ARROW = ("parquet", "huggingface")  # written in columns: see curation.parquet
PLAIN = tuple(name for name in EXPORTS if name not in (*BY_ARROW, "snapshot"))


def formats_of(task_type: str) -> list[str]:
    """The formats that a type of task can be written in; only a comparison has a chosen and a rejected answer."""
    return [name for name, format in EXPORTS.items() if task_type in format.fits]


def check_format(format: str, task_type: str) -> None:
    """Raises ValueError, in words, if the task type cannot be written in this format."""
    if format not in formats_of(task_type):
        raise ValueError(f"The formats are {', '.join(formats_of(task_type))}; got “{format}”.")


@dataclass
class Folder:
    """Files being written into a folder; each is hashed on the way. `n` counts the rows of the data files."""

    path: Path
    n: int = 0
    sha256s: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def write(self, name: str, content: bytes) -> None:
        with self.opened(name) as write:
            write(content)

    def opened(self, name: str) -> "_Writing":
        return _Writing(self, name)

    def add(self, name: str) -> None:
        """Count in a file that somebody else has written into the folder."""
        with (self.path / name).open("rb") as file:
            self.sha256s[name] = hashlib.file_digest(file, "sha256").hexdigest()


class _Writing:
    """`with folder.opened(name) as write: write(b"…")`; a ValueError or any other error leaves the name out."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name, self._digest = folder, name, hashlib.sha256()

    def __enter__(self) -> Callable[[bytes], None]:
        path = self._folder.path / self._name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("wb")
        return self._write

    def _write(self, content: bytes) -> None:
        self._digest.update(content)
        self._file.write(content)

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._folder.sha256s[self._name] = self._digest.hexdigest()


def write_rows(rows: Iterable[Row], format: str, folder: Folder, *, answers: Answers, instructions: str,
               name: str) -> None:
    """Write the rows in one of PLAIN, in their order; every row is in the folder's files or left out with a reason.

    instructions: what the prompt tells the model above the task type's own rules. name: of the data set, for
    dataset_info.json; lower-case letters, digits and hyphens.
    Raises ValueError, in words, if the task type cannot be written in this format.
    """
    check_format(format, answers.task_type)
    if format == "csv":
        _write_csv(rows, folder, answers)
    elif format == "label-studio":
        _write_label_studio(rows, folder, answers)
    elif format in ("alpaca", "sharegpt"):
        _write_per_split(rows, format, folder, answers, instructions, name)
    else:
        with folder.opened(EXPORTS[format].data) as write:
            for row, record in _records(rows, format, folder, answers, instructions):
                write(_line(row, record))


def _line(row: Row, record: Mapping[str, Any]) -> bytes:
    return canonical_line({**record, "split": row.split, "key": row.key, "row_sha256": row.sha256})


def _records(rows: Iterable[Row], format: str, folder: Folder, answers: Answers,
             instructions: str) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Each row that the format can hold with its records; the others go into folder.left_out."""
    for row in rows:
        found = list(_of_row(row, format, answers, instructions))
        if isinstance(found[0], str):
            folder.left_out.append(LeftOut(row.key, row.split, found[0]))
            continue
        folder.n += 1
        for record in found:
            assert isinstance(record, dict)
            yield row, record


def _of_row(row: Row, format: str, answers: Answers, instructions: str) -> Iterator[dict[str, Any] | str]:
    """The records of a row, or why it has none."""
    is_comparison = answers.task_type == "preference"
    if format in ("preference", "kto") or (format == "sharegpt" and is_comparison):
        if row.label not in SIDES:
            yield TIE
            return
        prompt, chosen, rejected = _compared(row)
        if format == "preference":
            yield {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        elif format == "kto":
            yield {"prompt": prompt, "completion": chosen, "label": True}
            yield {"prompt": prompt, "completion": rejected, "label": False}
        else:
            yield {"conversations": _turns(prompt), "chosen": _turns(chosen)[0], "rejected": _turns(rejected)[0]}
        return
    prompt = answers.kind.render(row.text, row.data, answers.schema, instructions)
    answer = [{"role": "assistant", "content": row.label}]
    if format == "trl":
        yield {"prompt": prompt, "completion": answer}
    elif format == "messages":
        yield {"messages": [*prompt, *answer]}
    elif format == "alpaca":
        told, asked = _told(prompt), prompt[-1]["content"]
        yield {"instruction": told or asked, "input": asked if told else "", "output": row.label}
    else:
        turns = _turns([turn for turn in [*prompt, *answer] if turn["role"] != "system"])
        alternate = all(turn["from"] == ("human", "gpt")[place % 2] for place, turn in enumerate(turns))
        yield {"conversations": turns, "system": _told(prompt)} if alternate else NO_TURNS


def _told(prompt: Sequence[Mapping[str, str]]) -> str:
    return prompt[0]["content"] if prompt[0]["role"] == "system" else ""


def _turns(messages: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    return [{"from": "gpt" if turn["role"] == "assistant" else "human", "value": turn["content"]} for turn in messages]


def _compared(row: Row) -> tuple[list[dict[str, str]], list[dict[str, str]], list[dict[str, str]]]:
    """The instructions of a comparison say how to judge, not how to answer, so they are no part of this prompt."""
    chosen, rejected = SIDES if row.label == SIDES[0] else SIDES[::-1]
    return ([{"role": "user", "content": row.text}], [{"role": "assistant", "content": row.data[chosen]}],
            [{"role": "assistant", "content": row.data[rejected]}])


# LLaMA-Factory's two formats: a file per split, and dataset_info.json, which says how to read them

def _write_per_split(rows: Iterable[Row], format: str, folder: Folder, answers: Answers, instructions: str,
                     name: str) -> None:
    with ExitStack() as stack:
        write_to = {split: stack.enter_context(folder.opened(f"{split}.jsonl")) for split in SPLITS}
        for row, record in _records(rows, format, folder, answers, instructions):
            write_to[row.split](_line(row, record))
    columns: dict[str, Any] = {"columns": {"prompt": "instruction", "query": "input", "response": "output"}}
    if format == "sharegpt":
        columns = {"formatting": "sharegpt", "columns": {"messages": "conversations", "system": "system"}}
        if answers.task_type == "preference":
            columns = {"formatting": "sharegpt", "ranking": True, "columns": {
                "messages": "conversations", "chosen": "chosen", "rejected": "rejected"}}
    folder.write("dataset_info.json", _readable({
        f"{name}_{split}": {"file_name": f"{split}.jsonl", "file_sha256": folder.sha256s[f"{split}.jsonl"], **columns}
        for split in SPLITS}))


# Label Studio and CSV

def _write_label_studio(rows: Iterable[Row], folder: Folder, answers: Answers) -> None:
    with folder.opened(EXPORTS["label-studio"].data) as write:
        opening = b"[\n"
        for row in rows:
            try:
                result = answers.kind.to_result(answers.value(row.label, source=row.text))
            except ValueError:
                folder.left_out.append(LeftOut(row.key, row.split, NOT_AN_ANSWER))
                continue
            write(opening + canonical_line({
                "data": answers.kind.task_data(row.text, row.data),
                "meta": {"goldpan": {"external_id": row.key, "split": row.split, "row_sha256": row.sha256}},
                "annotations": [{"result": result, "was_cancelled": False, "ground_truth": True}]})[:-1])
            opening = b",\n"
            folder.n += 1
        write(b"\n]\n" if folder.n else b"[]\n")


def _write_csv(rows: Iterable[Row], folder: Folder, answers: Answers) -> None:
    more = DATA_COLUMNS.get(answers.task_type, ())
    with folder.opened(EXPORTS["csv"].data) as write:
        write(_csv_line(["key", "split", "label", "text", *more, "row_sha256"]))
        for row in rows:
            folder.n += 1
            write(_csv_line([row.key, row.split, row.label, row.text, *(_cell(row.data.get(name)) for name in more),
                             row.sha256]))


def _csv_line(cells: Sequence[str]) -> bytes:
    """A line for people: a cell that a spreadsheet would run as a formula gets a ' before it."""
    out = io.StringIO()
    safe_csv.writer(out).writerow(cells)
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# What stands beside the data in every folder

def write_evidence(folder: Folder, *, facts: Mapping[str, Any], hashes: Iterable[tuple[str, str, str]],
                   left_out: Iterable[LeftOut]) -> None:
    """Write goldpan.json, row-hashes.csv, left-out.csv and at last SHA256SUMS, which names all the other files.

    facts: where the rows come from. hashes: key, split and hash of every row that was frozen, in the file's order.
    left_out: what was not frozen or has been erased; what the format could not hold is added to it.
    """
    with folder.opened("row-hashes.csv") as write:
        write(b"key,split,row_sha256\r\n")
        for row in hashes:
            write(_csv_line(row))
    with folder.opened("left-out.csv") as write:
        write(b"key,split,reason\r\n")
        for left in chain(left_out, folder.left_out):
            write(_csv_line([left.key, left.split, left.reason]))
    folder.write("goldpan.json", _readable({**facts, "export": EXPORT_VERSION, "rows_in_files": folder.n,
                                            "files": dict(sorted(folder.sha256s.items()))}))
    folder.write(SUMS, "".join(
        f"{sha256}  {name}\n" for name, sha256 in sorted(folder.sha256s.items())).encode())


def _readable(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()
