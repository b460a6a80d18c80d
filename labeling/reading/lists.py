"""A file that is one JSON list of objects, object by object: memory stays flat however long the list is."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from labeling.reading.lines import head_of, not_utf8
from labeling.reading.records import parsed
from labeling.reading.rows import BLOCK_BYTES, MAX_ROW_CHARS, RAW_CHARS, Bad, FileRefused, too_long

MAX_OBJECT_CHARS = 4 * MAX_ROW_CHARS  # the answers of many people to one text are one object
_SPACE = re.compile(r"[ \t\r\n]*")
_extent = json.JSONDecoder().raw_decode  # finds where an object ends; what is in it is read strictly afterwards


class Objects:
    """The objects of the list. One that cannot be used is Bad; what cannot be passed over refuses the file."""

    def __init__(self, file: BinaryIO) -> None:
        head_of(file)
        self._file, self._n_bytes = file, file.tell()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._line = "", 0, 1
        self._is_over = False
        self._object_text = ""  # of the one in hand

    def raw(self) -> str:
        return self._object_text[:RAW_CHARS]

    def records(self) -> Iterator[Any]:
        """Yield an empty list of columns first, then (line, object or Bad) for each object, in order."""
        yield []
        if self._next() != "[":
            raise FileRefused("The file is no JSON list. It should begin with [.")
        self._at += 1
        is_first = True
        while (character := self._next()) != "]":
            if not is_first:
                if character != ",":
                    raise self._refused("a comma or ] was expected")
                self._at += 1
                character = self._next()
            if character != "{":
                raise self._refused("an object was expected, { … }")
            is_first = False
            yield self._object()
        self._at += 1
        if self._next():
            raise self._refused("nothing was expected behind the list")

    def _object(self) -> tuple[int, Any]:
        end, line = self._end(), self._line
        text = self._object_text = self._text[self._at:end]
        self._line += text.count("\n")
        self._at = end
        if len(text) > MAX_OBJECT_CHARS:
            return line, Bad(too_long())
        try:
            return line, parsed(text)
        except Bad as reason:
            return line, reason

    def _end(self) -> int:
        """Where the object that begins here ends."""
        while True:
            try:
                return _extent(self._text, self._at)[1]
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > MAX_OBJECT_CHARS:
                    raise self._refused(f"an object is not closed within {MAX_OBJECT_CHARS:,} characters") from None
                if not self._read():
                    self._line += self._text.count("\n", self._at, error.pos)
                    raise self._refused(error.msg) from None
            except RecursionError:
                raise self._refused("it is nested too deeply") from None

    def _next(self) -> str:
        """The next character that is no space; "" at the end of the file."""
        while True:
            end = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it always matches
            self._line += self._text.count("\n", self._at, end)
            self._at = end
            if end < len(self._text):
                return self._text[end]
            if not self._read():
                return ""

    def _read(self) -> bool:
        """Read on behind what is not used yet; False at the end of the file."""
        if self._is_over:
            return False
        data = self._file.read(BLOCK_BYTES)
        self._is_over = not data
        try:
            more = self._decoder.decode(data, final=self._is_over)
        except UnicodeDecodeError as error:
            n_held = len(error.object) - len(data)  # bytes of a character that the block before began
            line = self._line + self._text.count("\n", self._at) + error.object.count(b"\n", 0, error.start)
            raise not_utf8(self._n_bytes - n_held + error.start, line, error.object[error.start]) from None
        self._n_bytes += len(data)
        self._text, self._at = self._text[self._at:] + more, 0
        return True

    def _refused(self, what: str) -> FileRefused:
        return FileRefused(f"The file is not the JSON list it begins as: {what} on line {self._line:,}. Write it "
                           "again, or as JSON Lines, one object on each line, where a bad line spoils no other.")
