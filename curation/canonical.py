"""One byte sequence per record, whoever writes it: RFC 8785 JSON, one record a line, and its hash."""

import hashlib
from pathlib import Path
from typing import Any

import rfc8785


def canonical_line(record: dict[str, Any]) -> bytes:
    """Return the record's RFC 8785 bytes and a newline; equal records give equal bytes.

    Raises ValueError for what RFC 8785 cannot write: NaN, Infinity, integers beyond 2^53 - 1, lone surrogates,
    types that are not JSON. Inside the line there is no newline, so a file of lines is split at b"\\n" and nowhere
    else. 1.0 and 1 become the same bytes; text is kept as it is, without Unicode normalisation.
    """
    return rfc8785.dumps(record) + b"\n"


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """Return the bytes of a manifest file; their sha256 is the snapshot's identity. Raises as canonical_line."""
    return canonical_line(manifest)


def sha256_of(content: bytes | Path) -> str:
    """Return the sha256, in 64 hex digits, of bytes or of a file's content (read in pieces)."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
