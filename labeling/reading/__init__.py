"""Import files, read strictly and as a stream: every row comes out as a Row, or as a BadRow with the reason in words.

1. `sniff` looks at the start of a file: its format, its columns, a guess at what each column is.
2. `read_rows` reads the whole file, in blocks, and checks every row: `lines`, `lists` and `records` give its values,
   `checking`, `content` and `labels` what they mean under the project's task type, `exported_tasks` those of Label
   Studio.

A file that cannot be used as a whole raises FileRefused, from `read_rows` possibly after some rows. Memory stays flat
but for about 110 bytes per row with a key, to find keys that stand there twice.
"""

import itertools
from collections.abc import Iterator
from collections.abc import Mapping as Values
from pathlib import Path
from typing import Any, BinaryIO

from labeling.reading import exported_tasks
from labeling.reading.checking import Checker
from labeling.reading.guessing import guess, roles
from labeling.reading.labels import Labels
from labeling.reading.lines import Lines, first_line, head_of, lines_of
from labeling.reading.lists import Objects
from labeling.reading.records import records
from labeling.reading.rows import FIELDS, FORMATS, LIST_FORMATS, Bad, BadRow, FileRefused, Mapping, Row, Sniffed, needed

__all__ = ["FIELDS", "FORMATS", "Bad", "BadRow", "FileRefused", "Labels", "Mapping", "Row", "Sniffed", "needed",
           "read_rows", "roles", "sniff"]

_SNIFFED_ROWS = 50
_SHOWN_ROWS = 5


def sniff(path: Path, *, name: str = "", format: str | None = None, kind: str = "examples",
          task_type: str = "classification") -> Sniffed:
    """Return what the start of the file shows.

    name: the file's own name, where `path` does not show it.
    format: one of FORMATS; told from the content unless given.
    kind, task_type: as in `read_rows`, for the guess.
    Raises FileRefused for a file that no format fits.
    """
    with path.open("rb") as file:
        format = format or _format_of(file, Path(name or path.name).suffix)
        file.seek(0)
        _, found = _open(file, format)
        columns = next(found)
        head = [values for _, values in itertools.islice(found, _SNIFFED_ROWS)]
    rows = [values for values in head if isinstance(values, dict)]
    if not rows:
        raise FileRefused(f"The first row cannot be read: {head[0]}" if head else _no_rows(format))
    if format == "ls-json":
        rows = [task["data"] for task in rows if isinstance(task.get("data"), dict)]
    if not columns:
        columns = list(dict.fromkeys(column for row in rows for column in row))
    return Sniffed(format, columns, guess(columns, rows, kind=kind, task_type=task_type, format=format),
                   rows[:_SHOWN_ROWS])


def read_rows(path: Path, *, format: str, mapping: Mapping, kind: str, schema: Values[str, Any],
              task_type: str = "classification") -> Iterator[Row | BadRow]:
    """Yield every row of the file in order, blank lines left out.

    format: one of FORMATS. A csv may be separated by semicolons; a tsv uses quotes as a csv does.
    kind: "examples", one text per row, or "annotations", one label of an example that is known by its key.
    schema, task_type: of the project; they say what an example and a label have to be.
    Raises FileRefused: empty, not UTF-8, a column missing or there twice, no rows.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    check = Checker(mapping, kind, task_type, schema)
    n_rows = 0
    with path.open("rb") as file:
        source, found = _open(file, format)
        check.columns(next(found), format)
        for line, values in found:
            n_rows += 1
            if format == "ls-json":
                for row in exported_tasks.rows_of(values, line, mapping, check, task_type):
                    yield BadRow(line, str(row), source.raw()) if isinstance(row, Bad) else row
                continue
            try:
                yield check.row(line, values)
            except Bad as reason:
                yield BadRow(line, str(reason), source.raw())
    if not n_rows:
        raise FileRefused(_no_rows(format))


def _open(file: BinaryIO, format: str) -> tuple[Lines | Objects, Iterator[Any]]:
    """What gives a bad row's beginning, and the records: the header's columns first, then (line, values or Bad)."""
    if format in LIST_FORMATS:
        objects = Objects(file)
        return objects, objects.records()
    lines = lines_of(file)
    return lines, records(lines, format)


def _format_of(file: BinaryIO, suffix: str) -> str:
    if head_of(file).lstrip().startswith(b"["):
        file.seek(0)
        found = Objects(file).records()
        next(found)
        _, first = next(found, (0, None))
        return "ls-json" if exported_tasks.is_task(first) else "json"
    file.seek(0)
    first_of_all = first_line(lines_of(file))
    if first_of_all.lstrip().startswith("{") or suffix.lower() in (".jsonl", ".ndjson"):
        return "jsonl"
    is_tsv = suffix.lower() in (".tsv", ".tab") or first_of_all.count("\t") > first_of_all.count(",")
    return "tsv" if is_tsv else "csv"


def _no_rows(format: str) -> str:
    what = "is an empty list" if format in LIST_FORMATS else "has a header but no rows"
    return f"The file {what}. Choose a file with at least one."
