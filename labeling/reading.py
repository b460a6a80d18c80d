"""Import files, read strictly and as a stream: every row comes out as a Row, or as a BadRow with the reason in words.

1. `sniff` looks at the start of a file: its format, its columns, a guess at what each column is.
2. `read_rows` reads the whole file, in blocks, and checks every row.

A file that cannot be used as a whole raises FileRefused, from `read_rows` possibly after some rows. Memory stays flat
but for about 110 bytes per row with a key, to find keys that stand there twice.
"""

import csv
import dataclasses
import difflib
import io
import itertools
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from projects.strict_json import parse_strict

FORMATS = ("csv", "tsv", "jsonl")
MAX_ROW_CHARS = 1_000_000  # of one row, however many lines it has
MAX_TEXT_CHARS = 100_000
MAX_KEY_CHARS = 200  # of a key or a group
MAX_NAME_CHARS = 100  # of a label or an annotator
MAX_COLUMNS = 500
RAW_CHARS = 2_000  # of a bad row that are handed back
_BLOCK_BYTES = 256 * 1024
_SNIFFED_ROWS = 50
_SHOWN_ROWS = 5


class FileRefused(Exception):
    """The file as a whole cannot be used. The message is for the person who chose it: what is wrong, what to do."""


@dataclass(frozen=True)
class Mapping:
    """Which column is what; None: the file has none of that kind."""

    text_column: str | None = None
    key_column: str | None = None
    label_column: str | None = None
    annotator_column: str | None = None
    group_column: str | None = None
    observed_at_column: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return dataclasses.asdict(self)


class Row(NamedTuple):
    """A row that can be used. `line` is the physical line on which it starts, from 1; `data` the unmapped columns.

    The text stands as it is in the file; key, label, annotator and group without the white space around them.
    """

    line: int
    key: str | None
    text: str | None
    label: str | None
    annotator: str | None
    group: str | None
    observed_at: datetime | None  # in UTC
    data: dict[str, Any]


class BadRow(NamedTuple):
    """A row that cannot be used. `reason` says what is wrong and what to do; `raw` is its beginning as it came."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class Sniffed:
    """What the start of a file shows. `rows` are its first good rows, at most 5, by column."""

    format: str
    columns: list[str]
    mapping: Mapping
    rows: list[dict[str, Any]]


class _Bad(Exception):
    """The row in hand cannot be used; the message is the reason."""


def sniff(path: Path, *, name: str = "", format: str | None = None) -> Sniffed:
    """Return what the start of the file shows.

    name: the file's own name, where `path` does not show it.
    format: one of FORMATS; told from the content unless given.
    Raises FileRefused for a file that no format fits.
    """
    with path.open("rb") as file:
        first = _first_line(_lines_of(file))
    format = format or _format_of(first, Path(name or path.name).suffix)
    with path.open("rb") as file:
        records = _records(_lines_of(file), format)
        columns = next(records)
        head = [values for _, values in itertools.islice(records, _SNIFFED_ROWS)]
    rows = [values for values in head if isinstance(values, dict)]
    if not rows:
        raise FileRefused(f"The first row cannot be read: {head[0]}" if head else _no_rows())
    if format == "jsonl":
        columns = list(dict.fromkeys(column for row in rows for column in row))
    return Sniffed(format, columns, _guess(columns, rows), rows[:_SHOWN_ROWS])


def read_rows(path: Path, *, format: str, mapping: Mapping, labels: AbstractSet[str] | None,
              kind: str) -> Iterator[Row | BadRow]:
    """Yield every row of the file in order, blank lines left out.

    format: one of FORMATS. A csv may be separated by semicolons; a tsv uses quotes as a csv does.
    labels: those that a label may be; None allows any.
    kind: "examples", one text per row, or "annotations", one label of an example that is known by its key.
    Raises FileRefused: empty, not UTF-8, a column missing or there twice, no rows.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    check = _Checker(mapping, labels, kind)
    n_rows = 0
    with path.open("rb") as file:
        lines = _lines_of(file)
        records = _records(lines, format)
        check.columns(next(records))
        for line, values in records:
            n_rows += 1
            try:
                yield check.row(line, values)
            except _Bad as reason:
                yield BadRow(line, str(reason), lines.raw())
    if not n_rows:
        raise FileRefused(_no_rows())


def _no_rows() -> str:
    return "The file has a header but no rows. Choose a file with at least one."


class _Lines:
    """The file's lines as strict UTF-8, split at line feeds only, with their ends; `number` counts those handed out.

    A row may take several lines: `start_row` before each. Where a row grows beyond MAX_ROW_CHARS, _Bad is raised and
    reading can go on behind it.
    """

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self.number = 0
        self.has_nul = False  # somewhere in what was read so far
        self._file = file
        self._offset = self._rest_offset = offset
        self._rest = b""
        self._block: Iterator[str] = iter(())
        self._row: list[str] = []
        self._room = MAX_ROW_CHARS

    def start_row(self) -> int:
        """Forget the lines of the row before; return the line on which the next one starts."""
        self._row.clear()
        self._room = MAX_ROW_CHARS
        return self.number + 1

    def raw(self) -> str:
        return "".join(itertools.islice(self._row, RAW_CHARS))[:RAW_CHARS].rstrip("\r\n")

    def row_has_nul(self) -> bool:
        return self.has_nul and any("\0" in line for line in self._row)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._block, None)
        if line is None:
            self._read_block()
            line = next(self._block)
        self.number += 1
        self._row.append(line)
        self._room -= len(line)
        if self._room < 0:
            raise _Bad(_too_long())
        return line

    def _read_block(self) -> None:
        """Decode the file up to the last line end of the next block, or of more if a line is longer than that."""
        data, self._offset = self._rest, self._rest_offset
        while not (end := data.rfind(b"\n") + 1):
            more = self._file.read(_BLOCK_BYTES)
            if not more:
                end = len(data)
                break
            data += more
            if len(data) > MAX_ROW_CHARS * 4 and b"\n" not in more:
                self._skip_line(data)
        self._rest, self._rest_offset = data[end:], self._offset + end
        text = self._decode(data[:end])
        self.has_nul = self.has_nul or "\0" in text
        self._block = iter(io.StringIO(text, newline="\n"))

    def _skip_line(self, data: bytes) -> None:
        """Pass over a line that is too long to be held in memory."""
        self.number += 1
        self._row.append(data[:RAW_CHARS].decode(errors="replace"))
        position = self._offset + len(data)
        while more := self._file.read(_BLOCK_BYTES):
            if end := more.find(b"\n") + 1:
                self._rest, self._rest_offset = more[end:], position + end
                break
            position += len(more)
        else:
            self._rest, self._rest_offset = b"", position
        raise _Bad(_too_long())

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = self.number + 1 + data.count(b"\n", 0, error.start)
            raise FileRefused(
                f"The file is not UTF-8: byte {self._offset + error.start:,}, on line {line:,}, is "
                f"0x{data[error.start]:02x}. Save it again as UTF-8; in Excel choose “CSV UTF-8”.") from None


def _too_long() -> str:
    return (f"the row is longer than {MAX_ROW_CHARS:,} characters. Shorten it; if it should be several rows, look for "
            "a quote (\") that is opened and not closed.")


_EMPTY = "The file is empty. Choose a file with a header and at least one row."
_FOREIGN = {
    b"\xff\xfe": "UTF-16 text. Save it again as UTF-8; in Excel choose “CSV UTF-8”.",
    b"\xfe\xff": "UTF-16 text. Save it again as UTF-8; in Excel choose “CSV UTF-8”.",
    b"PK\x03\x04": "an Excel or zip file. Save the sheet as CSV (UTF-8) and choose that.",
    b"PAR1": "a Parquet file. Write it as JSON Lines or CSV and choose that.",
    b"\x1f\x8b": "compressed. Unpack it and choose what was in it.",
}


def _lines_of(file: BinaryIO) -> _Lines:
    """The lines of a file that looks like UTF-8 text; a byte order mark at its start is passed over."""
    head = file.read(_BLOCK_BYTES)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise FileRefused(_EMPTY)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise FileRefused(f"The file is {what}")
    if b"\r" in head and b"\n" not in head:
        raise FileRefused("The file's lines end in the old Mac way (CR alone). Save it with Windows or Unix line ends.")
    return _Lines(file, file.seek(3 if head.startswith(b"\xef\xbb\xbf") else 0))


def _first_line(lines: _Lines) -> str:
    """The first line that is not blank."""
    try:
        return next(line for line in lines if not line.isspace())
    except StopIteration:
        raise FileRefused(_EMPTY) from None
    except _Bad:
        raise FileRefused(f"The first line has over {MAX_ROW_CHARS:,} characters. Is it the right file?") from None


def _format_of(first: str, suffix: str) -> str:
    if first.lstrip().startswith(("{", "[")) or suffix.lower() in (".jsonl", ".ndjson"):
        return "jsonl"
    return "tsv" if suffix.lower() in (".tsv", ".tab") or first.count("\t") > first.count(",") else "csv"


def _records(lines: _Lines, format: str) -> Iterator[Any]:
    """Yield the header's columns first, then (line, values by column) for each row; _Bad for a row that has none."""
    return _json_records(lines) if format == "jsonl" else _cell_records(lines, format)


def _json_records(lines: _Lines) -> Iterator[Any]:
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
                raise FileRefused("The file is one JSON list. Write JSON Lines: one object on each line.")
            may_be_list = False
            values = _json_object(line)
        except StopIteration:
            return
        except _Bad as reason:
            values = reason
        yield number, values


def _json_object(line: str) -> dict[str, Any]:
    try:
        values = parse_strict(line.strip(" \t\r\n"))
    except ValueError as error:
        raise _Bad(str(error).replace("line 1, ", "")) from None
    if not isinstance(values, dict):
        raise _Bad("the line is JSON but no object. Write {\"text\": …} on each line.")
    return values


def _cell_records(lines: _Lines, format: str) -> Iterator[Any]:
    first = _first_line(lines)
    delimiter = "\t" if format == "tsv" else max(",;", key=first.count)
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    try:
        header = _header(next(reader))
    except (csv.Error, _Bad) as error:
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
                raise _Bad(_wrong_count(len(cells), n_columns, delimiter))
            if lines.has_nul and lines.row_has_nul():
                raise _Bad("the row holds a NUL character (U+0000), which cannot be stored. Remove it.")
            values = dict(zip(header, cells, strict=True))
        except StopIteration:
            return
        except (_Bad, csv.Error) as error:
            values = _Bad(_csv_reason(str(error)) if isinstance(error, csv.Error) else str(error))
            if lines.number > number:
                values = _Bad(f"{values} Lines {number:,} to {lines.number:,} were taken for this one row.")
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


class _Checker:
    """Turns the values of one row after the other into Rows; remembers the keys it has seen."""

    def __init__(self, mapping: Mapping, labels: AbstractSet[str] | None, kind: str) -> None:
        if kind not in ("examples", "annotations"):
            raise ValueError(f"kind must be examples or annotations, got {kind!r}")
        self._mapping, self._labels = mapping, labels
        self._is_examples = kind == "examples"
        self._mapped = frozenset(column for column in mapping.as_dict().values() if column is not None)
        self._seen: dict[int, int] = {}  # hash of a key, of a key and annotator: the line
        self._closest: dict[str, str] = {}

    def columns(self, columns: list[str]) -> None:
        """Raises FileRefused if a column that the rows cannot do without is not chosen or not there."""
        if self._is_examples and self._mapping.text_column is None:
            raise FileRefused("Choose the column that holds the text.")
        if not self._is_examples and None in (self._mapping.key_column, self._mapping.label_column):
            raise FileRefused("A file of labels needs two columns: the example's key and the label. Choose both.")
        for column in sorted(self._mapped):
            if columns and column not in columns:
                raise FileRefused(f"There is no column “{column}”. The columns are: {', '.join(columns)[:1000]}.")

    def row(self, line: int, values: Any) -> Row:
        if isinstance(values, _Bad):
            raise values
        mapping = self._mapping
        text = self._text(values) if self._is_examples else None
        key = _cell(values, mapping.key_column, MAX_KEY_CHARS)
        label = _cell(values, mapping.label_column, MAX_NAME_CHARS)
        annotator = _cell(values, mapping.annotator_column, MAX_NAME_CHARS)
        if label is not None and self._labels is not None and label not in self._labels:
            raise _Bad(self._unknown_label(label))
        if label is None and not self._is_examples:
            raise _Bad("the label is empty. Fill it in or remove the row.")
        group = _cell(values, mapping.group_column, MAX_KEY_CHARS)
        observed_at = _time(values, mapping.observed_at_column)
        if mapping.key_column is not None:
            self._check_key(line, key, annotator)
        data = {column: value for column, value in values.items() if column not in self._mapped}
        return Row(line, key, text, label, annotator, group, observed_at, data)

    def _text(self, values: dict[str, Any]) -> str:
        column = str(self._mapping.text_column)
        text = values.get(column)
        if not isinstance(text, str):
            if text is None:
                raise _Bad(f"there is no “{column}” among: {', '.join(values)[:300]}. Add it or remove the row.")
            raise _Bad(f"“{column}” is no text. Write it in quotes.")
        if not text or text.isspace():
            raise _Bad("the text is empty. Fill it in or remove the row.")
        if len(text) > MAX_TEXT_CHARS:
            raise _Bad(f"the text has {len(text):,} characters; at most {MAX_TEXT_CHARS:,} are allowed. Shorten it.")
        return text

    def _check_key(self, line: int, key: str | None, annotator: str | None) -> None:
        if key is None:
            raise _Bad("the key is empty. Fill it in or remove the row.")
        first = self._seen.setdefault(hash(key if self._is_examples else (key, annotator)), line)
        if first == line:
            return
        if self._is_examples:
            raise _Bad(f"the key “{key}” is on line {first:,} already. Give each row a key of its own.")
        raise _Bad(f"line {first:,} is a label for “{key}” by the same annotator already. Keep one of the two.")

    def _unknown_label(self, label: str) -> str:
        assert self._labels is not None
        if label not in self._closest and len(self._closest) < 1000:  # a look-up costs a millisecond
            folded = {other.casefold(): other for other in self._labels}
            close = difflib.get_close_matches(label.casefold(), folded, n=1)
            self._closest[label] = f" Did you mean “{folded[close[0]]}”?" if close else ""
        closest = self._closest.get(label) or " Correct it, or add it to the project's labels."
        return f"“{label}” is none of the project's labels.{closest}"


def _cell(values: dict[str, Any], column: str | None, max_chars: int) -> str | None:
    """The cell without the white space around it, a number as text; None if it is empty or not there."""
    if column is None:
        return None
    cell = values.get(column)
    if not isinstance(cell, str):
        if cell is None:
            return None
        if isinstance(cell, bool) or not isinstance(cell, int | float):
            raise _Bad(f"“{column}” is neither text nor a number. Write it in quotes.")
        cell = str(cell)
    cell = cell.strip()
    if len(cell) > max_chars:
        raise _Bad(f"“{column}” has {len(cell):,} characters; at most {max_chars} are allowed. Shorten it.")
    return cell or None


def _time(values: dict[str, Any], column: str | None) -> datetime | None:
    """The time in UTC; one without a zone is taken for UTC."""
    cell = _cell(values, column, MAX_NAME_CHARS)
    if cell is None:
        return None
    try:
        time = datetime.fromisoformat(cell)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Bad(f"“{cell}” is no time. Write it as 2026-01-31 or 2026-01-31T12:00:00Z.") from None


_NAMES = {
    "text_column": ("text", "content", "body", "message", "tweet", "sentence", "query", "question", "prompt", "comment",
                    "review", "description", "utterance"),
    "key_column": ("key", "id", "external_id", "uid", "uuid", "example_id", "ticket_id", "text_id"),
    "label_column": ("label", "labels", "category", "class", "intent", "sentiment", "target", "answer"),
    "annotator_column": ("annotator", "annotated_by", "labeler", "labeller", "rater", "worker", "annotator_id"),
    "group_column": ("group", "customer", "customer_id", "thread", "thread_id", "conversation_id", "document",
                     "document_id", "doc_id"),
    "observed_at_column": ("observed_at", "created_at", "timestamp", "date", "datetime", "time"),
}


def _guess(columns: list[str], rows: list[dict[str, Any]]) -> Mapping:
    """What each column is, by its name; the text falls back to the column with the longest cells."""
    by_name = {column.casefold().replace(" ", "_").replace("-", "_"): column for column in reversed(columns)}
    guessed = {role: next((by_name[name] for name in names if name in by_name), None) for role, names in _NAMES.items()}
    if guessed["text_column"] is None:
        free = [column for column in columns if column not in guessed.values()]
        guessed["text_column"] = max(free, key=lambda column: sum(len(str(row.get(column, ""))) for row in rows),
                                     default=None)
    return Mapping(**guessed)
