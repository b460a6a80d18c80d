"""A file of UTF-8 text, line by line, in blocks: memory stays flat, and what is no such file is refused."""

import io
import itertools
from collections.abc import Iterator
from typing import BinaryIO

from labeling.reading.rows import BLOCK_BYTES, MAX_ROW_CHARS, RAW_CHARS, Bad, FileRefused, too_long


class Lines:
    """The file's lines as strict UTF-8, split at line feeds only, with their ends; `number` counts those handed out.

    A row may take several lines: `start_row` before each. Where a row grows beyond MAX_ROW_CHARS, Bad is raised and
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

    def __iter__(self) -> "Lines":
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
            raise Bad(too_long())
        return line

    def _read_block(self) -> None:
        """Decode the file up to the last line end of the next block, or of more if a line is longer than that."""
        data, self._offset = self._rest, self._rest_offset
        while not (end := data.rfind(b"\n") + 1):
            more = self._file.read(BLOCK_BYTES)
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
        while more := self._file.read(BLOCK_BYTES):
            if end := more.find(b"\n") + 1:
                self._rest, self._rest_offset = more[end:], position + end
                break
            position += len(more)
        else:
            self._rest, self._rest_offset = b"", position
        raise Bad(too_long())

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = self.number + 1 + data.count(b"\n", 0, error.start)
            raise not_utf8(self._offset + error.start, line, data[error.start]) from None


def not_utf8(position: int, line: int, byte: int) -> FileRefused:
    return FileRefused(f"The file is not UTF-8: byte {position:,}, on line {line:,}, is 0x{byte:02x}. Save it again as "
                       "UTF-8; in Excel choose “CSV UTF-8”.")


BYTE_ORDER_MARK = b"\xef\xbb\xbf"
EMPTY = "The file is empty. Choose a file with a header and at least one row."
_FOREIGN = {
    b"\xff\xfe": "UTF-16 text. Save it again as UTF-8; in Excel choose “CSV UTF-8”.",
    b"\xfe\xff": "UTF-16 text. Save it again as UTF-8; in Excel choose “CSV UTF-8”.",
    b"PK\x03\x04": "an Excel or zip file. Save the sheet as CSV (UTF-8) and choose that.",
    b"PAR1": "a Parquet file. Write it as JSON Lines or CSV and choose that.",
    b"\x1f\x8b": "compressed. Unpack it and choose what was in it.",
}


def lines_of(file: BinaryIO) -> Lines:
    """The lines of a file that looks like UTF-8 text; a byte order mark at its start is passed over."""
    head = head_of(file)
    if b"\r" in head and b"\n" not in head:
        raise FileRefused("The file's lines end in the old Mac way (CR alone). Save it with Windows or Unix line ends.")
    return Lines(file, file.tell())


def head_of(file: BinaryIO) -> bytes:
    """The first block of a file that looks like UTF-8 text; the file is left at its start, behind a byte order mark."""
    head = file.read(BLOCK_BYTES)
    if not head.strip(BYTE_ORDER_MARK + b" \t\r\n"):
        raise FileRefused(EMPTY)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise FileRefused(f"The file is {what}")
    file.seek(len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0)
    return head.removeprefix(BYTE_ORDER_MARK)


def first_line(lines: Lines) -> str:
    """The first line that is not blank."""
    try:
        return next(line for line in lines if not line.isspace())
    except StopIteration:
        raise FileRefused(EMPTY) from None
    except Bad:
        raise FileRefused(f"The first line has over {MAX_ROW_CHARS:,} characters. Is it the right file?") from None
