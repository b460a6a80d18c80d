"""Bulk files by their sha256: written to a temporary name, fsynced, renamed; so a file is whole or absent.

A store is a folder; a file of it is `<root>/<first two hex digits>/<sha256>`. Clients send hashes, never paths.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class NewObject:
    """A file on its way into a store; `sha256` is that of what was written so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._digest.update(content)
        self._file.write(content)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def new_object(root: Path) -> Iterator[NewObject]:
    """Yield a file to write piece by piece; it is in the store when the block has ended without an error."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = root / f".{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            new = NewObject(file)
            yield new
            file.flush()
            os.fsync(file.fileno())
        target = _path(root, new.sha256)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        temporary.rename(target)
        _fsync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def put_object(root: Path, source: bytes | Path | BinaryIO | Iterable[bytes]) -> str:
    """Store the bytes (the file's, the stream's, the pieces') and return their sha256. Storing twice stores once."""
    with new_object(root) as new:
        for chunk in _chunks(source):
            new.write(chunk)
    return new.sha256


def open_object(root: Path, sha256: str) -> BinaryIO:
    """Open a stored file for reading. Raises FileNotFoundError if it is not there, ValueError for no sha256."""
    return open(object_path(root, sha256), "rb")


def object_path(root: Path, sha256: str) -> Path:
    """The file of a hash, for libraries that want a path to read. Raises like open_object."""
    path = _path(root, sha256)
    if not path.exists():
        raise FileNotFoundError(f"no stored file has the sha256 {sha256}")
    return path


def object_exists(root: Path, sha256: str) -> bool:
    return _path(root, sha256).exists()


def delete_object(root: Path, sha256: str) -> None:
    """Remove a stored file; one that is not there is no error."""
    _path(root, sha256).unlink(missing_ok=True)


def object_is_sound(root: Path, sha256: str) -> bool:
    """Whether the file is there and its bytes still have this hash."""
    try:
        with open(object_path(root, sha256), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _path(root: Path, sha256: str) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"a sha256 has 64 hex digits, got {sha256[:80]!r}")
    return root / sha256[:2] / sha256


def _chunks(source: bytes | Path | BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with open(source, "rb") as file:
            yield from iter(lambda: file.read(_CHUNK), b"")
    elif read := getattr(source, "read", None):
        yield from iter(lambda: read(_CHUNK), b"")
    else:
        yield from source


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
