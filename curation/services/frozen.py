"""Reading what was frozen: every byte is hashed on the way, and memory does not grow with the number of rows.

A snapshot's manifest names the hash of its rows file and, from format 3 on, that of a list with the hash of every row.
After an erasure the rows file has a tombstone in place of a line; the list still says what stood there, so that the
other rows are as provable as before.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import orjson
from django.conf import settings

from curation.models import RedactedRows, Snapshot
from projects.errors import UserError
from projects.objects import object_exists, open_object

HASH_LINE = 65  # bytes of a line in the list of hashes
CHUNK_BYTES = 4_000_000  # a row has at most 1,000,000 characters, so a chunk holds at least one


@dataclass(frozen=True)
class FrozenRow:
    """One row of a snapshot as training reads it. split is train, dev or test; group keeps related rows together.

    label: the answer as a model should write it. data: what the task shows beside the text; a row of the file has it
    only where there is some. sha256: of its line, "" where nobody has asked.
    """

    key: str
    text: str
    label: str
    split: str
    group: str
    data: dict[str, Any] = field(default_factory=dict)
    sha256: str = field(default="", compare=False, repr=False)

    @property
    def record(self) -> dict[str, Any]:
        """The row as it stands in the file."""
        row: dict[str, Any] = {"group": self.group, "key": self.key, "label": self.label, "split": self.split,
                               "text": self.text}
        return {**row, "data": self.data} if self.data else row


class Chunk(NamedTuple):
    """Whole lines of a rows file, tombstones among them, and the hash of each as it was frozen."""

    lines: bytes
    sha256s: list[str]


def read_manifest(snapshot: Snapshot) -> dict[str, Any]:
    """The manifest, its bytes checked against the snapshot's identity."""
    return dict(json.loads(checked_bytes(snapshot, snapshot.sha256)))


def read_rows(snapshot: Snapshot, split: str | None = None) -> list[FrozenRow]:
    """The rows that were not erased, in file order, all or those of one split.

    Raises UserError if the stored file is missing or not the one that was frozen.
    """
    return [row for row in stream_rows(snapshot) if split is None or row.split == split]


def stream_rows(snapshot: Snapshot) -> Iterator[FrozenRow]:
    """Yield the rows that were not erased, in file order, each with its hash.

    Raises UserError as `read_rows` does, in the worst case after the last row: whoever writes something from them
    publishes it only then.
    """
    for chunk in stream_chunks(snapshot):
        for line, sha256 in zip(chunk.lines.split(b"\n"), chunk.sha256s, strict=False):
            record = orjson.loads(line)
            if "erased" not in record:
                yield FrozenRow(**record, sha256=sha256)


def stream_chunks(snapshot: Snapshot) -> Iterator[Chunk]:
    """Return the rows file in chunks of whole lines, always cut at the same places. Raises as `stream_rows` does.

    The database is asked before this returns, so that another thread may read the chunks.
    """
    manifest = read_manifest(snapshot)
    listed = manifest["rows"].get("sha256s")  # snapshots of format 1 and 2 have no list
    redacted = newest_redaction(snapshot)
    hashes = _hash_list(snapshot, listed["sha256"]) if listed else None
    if redacted is None:
        return _chunks(snapshot, manifest["rows"]["sha256"], hashes)
    # Where there is no list, a line's hash is its own, and a tombstone says what was there.
    return _chunks(snapshot, redacted.sha256, hashes, has_tombstones=True)


def newest_redaction(snapshot: Snapshot) -> RedactedRows | None:
    return RedactedRows.objects.filter(snapshot=snapshot).last()


def rows_file_of(snapshot: Snapshot) -> str:
    """The sha256 of the rows file as it lies in the store now."""
    redacted = newest_redaction(snapshot)
    return redacted.sha256 if redacted else snapshot.rows_sha256


def checked_bytes(snapshot: Snapshot, sha256: str) -> bytes:
    """A small file of a snapshot. Raises UserError if it is missing or has changed."""
    with _opened(snapshot, sha256) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _changed(snapshot, sha256)
    return content


def file_trouble(sha256: str) -> str:
    """What is wrong with a stored file, in words; "" if its bytes still have this hash."""
    if not object_exists(settings.GOLDPAN_OBJECTS, sha256):
        return f"{sha256} is missing"
    with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
        content = iter(lambda: file.read(CHUNK_BYTES), b"")
        digest = hashlib.sha256()
        for piece in content:
            digest.update(piece)
    return "" if digest.hexdigest() == sha256 else f"{sha256} has changed on the disk"


def _opened(snapshot: Snapshot, sha256: str) -> BinaryIO:
    try:
        return open_object(settings.GOLDPAN_OBJECTS, sha256)
    except FileNotFoundError:
        raise UserError(f"A file of {snapshot} is missing: {sha256}. Restore it from a backup.") from None


def _changed(snapshot: Snapshot, sha256: str) -> UserError:
    return UserError(f"A file of {snapshot} has changed on the disk: {sha256}. Restore it from a backup.")


def _hash_list(snapshot: Snapshot, sha256: str) -> Iterator[str]:
    """Yield the hash of every row; one that has changed is told after the last."""
    digest = hashlib.sha256()
    with _opened(snapshot, sha256) as file:
        while content := file.read(1000 * HASH_LINE):
            digest.update(content)
            yield from content.decode("ascii", "replace").split("\n")[:-1]
    if digest.hexdigest() != sha256:
        raise _changed(snapshot, sha256)


def _chunks(snapshot: Snapshot, sha256: str, hashes: Iterator[str] | None, *,
            has_tombstones: bool = False) -> Iterator[Chunk]:
    digest, rest = hashlib.sha256(), b""
    with _opened(snapshot, sha256) as file:
        while content := file.read(CHUNK_BYTES):
            digest.update(content)
            if end := content.rfind(b"\n") + 1:
                lines = b"".join((rest, memoryview(content)[:end]))
                yield Chunk(lines, _hashes_of(lines, hashes, has_tombstones))
                rest = content[end:]
            else:
                rest += content
    if digest.hexdigest() != sha256 or rest:
        raise _changed(snapshot, sha256)
    if hashes is not None and next(hashes, None) is not None:  # its own bytes are checked at its end
        raise ValueError(f"the list of hashes of {snapshot} names more rows than its file has")


def _hashes_of(lines: bytes, hashes: Iterator[str] | None, has_tombstones: bool) -> list[str]:
    if hashes is not None:
        return list(islice(hashes, lines.count(b"\n")))
    return [_hash_of(line, has_tombstones) for line in lines.split(b"\n") if line]


def _hash_of(line: bytes, has_tombstones: bool) -> str:
    if has_tombstones and b'"erased":' in line and (record := orjson.loads(line)).get("erased"):
        return str(record["row_sha256"])
    return hashlib.sha256(line + b"\n").hexdigest()
