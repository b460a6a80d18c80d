"""One byte sequence per record, whoever writes it: RFC 8785 JSON, one record a line, and its hash."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import rfc8785

MAX_INTEGER = 2**53 - 1


def canonical_line(record: dict[str, Any]) -> bytes:
    """Return the record's RFC 8785 bytes and a newline; equal records give equal bytes.

    Raises ValueError for what RFC 8785 cannot write: NaN, Infinity, integers beyond 2^53 - 1, lone surrogates,
    types that are not JSON. Inside the line there is no newline, so a file of lines is split at b"\\n" and nowhere
    else. 1.0 and 1 become the same bytes; text is kept as it is, without Unicode normalisation.
    """
    if _is_plain(record):
        try:
            return orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # a lone surrogate, which rfc8785 refuses in its own words
            pass
    return rfc8785.dumps(record) + b"\n"


def canonical_pieces(record: dict[str, Any]) -> Iterator[bytes]:
    """Yield what `canonical_line` returns, piece by piece, so that long lists need not lie in memory.

    record: with ASCII names. A list may be an iterator, here and within a list. Raises as `canonical_line` does, for
    another name, too.
    """
    for number, name in enumerate(sorted(record)):
        if not name.isascii():
            raise ValueError(f"a record that is written in pieces has ASCII names, got {name!r:.80}")
        yield (b"," if number else b"{") + _bytes_of(name) + b":"
        yield from _pieces(record[name])
    yield b"}\n" if record else b"{}\n"


def _pieces(value: Any) -> Iterator[bytes]:
    if not isinstance(value, list | Iterator):
        yield _bytes_of(value)
        return
    yield b"["
    for number, part in enumerate(value):
        if number:
            yield b","
        yield from _pieces(part)
    yield b"]"


def _bytes_of(value: Any) -> bytes:
    return canonical_line(value)[:-1]


def _is_plain(value: Any) -> bool:
    """Whether orjson writes what RFC 8785 asks for: no fractions, which it spells otherwise, and ASCII names, which it
    puts into the same order. It is some thirty times as fast."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-MAX_INTEGER <= value <= MAX_INTEGER)
    if kind is dict:
        return all(type(name) is str and name.isascii() and _is_plain(part) for name, part in value.items())
    return kind is list and all(map(_is_plain, value))


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """Return the bytes of a manifest file; their sha256 is the snapshot's identity. Raises as canonical_line."""
    return canonical_line(manifest)


def sha256_of(content: bytes | Path) -> str:
    """Return the sha256, in 64 hex digits, of bytes or of a file's content (read in pieces)."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
