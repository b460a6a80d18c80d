"""The rows of a CSV, TSV or JSON Lines file as values by column."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from labeling.reading.lines import Lines, first_line
from labeling.reading.rows import MAX_COLUMNS, Bad, FileRefused
from projects.strict_json import parse_strict


def records(lines: Lines, format: str) -> Iterator[Any]:
    """Yield the header's columns first, then (line, values by column) for each row; Bad for a row that has none."""
    return _json_records(lines) if format == "jsonl" else _cell_records(lines, format)


def _json_records(lines: Lines) -> Iterator[Any]:
    yield []
    may_be_list = True
    while True:
        number = lines.start_row()
        values: Any
        try:
            line = next(lines)
            if line.isspace():
                continue
            if may_be_list and line.lstrip().startswith("["):
                raise FileRefused("The file is one JSON list, not JSON Lines. Check it again as “json”.")
            may_be_list = False
            values = _json_object(line)
        except StopIteration:
            return
        except Bad as reason:
            values = reason
        yield number, values


def _json_object(line: str) -> dict[str, Any]:
    values = parsed(line.strip(" \t\r\n"))
    if not isinstance(values, dict):
        raise Bad("the line is JSON but no object. Write {\"text\": …} on each line.")
    return values


def parsed(text: str) -> Any:
    """One JSON value, read strictly. Raises Bad."""
    try:
        return parse_strict(text)
    except ValueError as error:
        raise Bad(str(error).replace("line 1, ", "")) from None


def _cell_records(lines: Lines, format: str) -> Iterator[Any]:
    first = first_line(lines)
    delimiter = "\t" if format == "tsv" else max(",;", key=first.count)
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    try:
        header = _header(next(reader))
    except (csv.Error, Bad) as error:
        raise FileRefused(f"The header cannot be read: {error}. Mend the first line.") from None
    yield header
    n_columns = len(header)
    while True:
        number = lines.start_row()
        values: Any
        try:
            cells = next(reader)
            if not cells:
                continue
            if len(cells) != n_columns:
                raise Bad(_wrong_count(len(cells), n_columns, delimiter))
            if lines.has_nul and lines.row_has_nul():
                raise Bad("the row holds a NUL character (U+0000), which cannot be stored. Remove it.")
            values = dict(zip(header, cells, strict=True))
        except StopIteration:
            return
        except (Bad, csv.Error) as error:
            values = Bad(_csv_reason(str(error)) if isinstance(error, csv.Error) else str(error))
            if lines.number > number:
                values = Bad(f"{values} Lines {number:,} to {lines.number:,} were taken for this one row.")
        yield number, values


def _header(cells: Sequence[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    if len(columns) > MAX_COLUMNS:
        raise FileRefused(f"The file has {len(columns)} columns; at most {MAX_COLUMNS} are allowed.")
    for position, column in enumerate(columns, 1):
        if not column:
            raise FileRefused(f"Column {position} has no name. Give every column a name in the first line.")
        if "\0" in column:
            raise FileRefused(f"The name of column {position} holds a NUL character (U+0000). Remove it.")
        if column in columns[:position - 1]:
            raise FileRefused(f"Two columns are named “{column[:100]}”. Rename one.")
    return columns


def _wrong_count(n_cells: int, n_columns: int, delimiter: str) -> str:
    separator = {",": "a comma", ";": "a semicolon", "\t": "a tab"}[delimiter]
    return (f"the row has {n_cells} cells and the header has {n_columns}. Put quotes around a text that holds "
            f"{separator}.")


def _csv_reason(error: str) -> str:
    if "field larger" in error or "unexpected end" in error:
        return "a quote (\") is opened and not closed. Close it; a quote inside a quoted cell is written twice (\"\")."
    if "new-line character" in error:
        return "a line break (CR) stands in the middle of a cell. Put quotes around that cell."
    return f"the quotes are not right ({error}). A quote inside a quoted cell is written twice (\"\")."
