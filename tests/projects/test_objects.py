"""The object store: a file is whole or absent, its name is its hash, and nobody gets out of the folder."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projects import objects
from projects.objects import (
    delete_object,
    new_object,
    object_exists,
    object_is_sound,
    object_path,
    open_object,
    put_object,
)

CONTENT = b"one row\nanother row\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def files_in(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_bytes_a_file_and_a_stream_are_stored_under_the_hash_of_their_content(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    everything: tuple[Any, ...] = (CONTENT, source, io.BytesIO(CONTENT))
    for number, given in enumerate(everything):
        root = tmp_path / f"store-{number}"
        assert put_object(root, given) == SHA256
        assert files_in(root) == [root / SHA256[:2] / SHA256]
        with open_object(root, SHA256) as file:
            assert file.read() == CONTENT


def test_content_larger_than_a_chunk_is_stored_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_CHUNK", 7)
    assert put_object(tmp_path, io.BytesIO(CONTENT)) == SHA256
    assert object_is_sound(tmp_path, SHA256)


def test_storing_twice_stores_once(tmp_path: Path) -> None:
    put_object(tmp_path, CONTENT)
    put_object(tmp_path, CONTENT)
    assert len(files_in(tmp_path)) == 1


class TornStream(io.BytesIO):
    """Gives its first bytes, then fails as a lost connection does."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("connection lost")
        return super().read(5)


def test_a_torn_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="connection lost"):
        put_object(tmp_path, TornStream(CONTENT))
    assert files_in(tmp_path) == []


def test_a_file_written_in_pieces_is_stored_when_its_block_has_ended(tmp_path: Path) -> None:
    with new_object(tmp_path) as new:
        new.write(CONTENT[:3])
        new.write(CONTENT[3:])
        assert not object_exists(tmp_path, SHA256)
    assert new.sha256 == SHA256 and object_is_sound(tmp_path, SHA256)
    with pytest.raises(OSError, match="gone"), new_object(tmp_path) as torn:
        torn.write(CONTENT * 2)
        raise OSError("gone")
    assert len(files_in(tmp_path)) == 1


@pytest.mark.parametrize("broken", ["fsync", "rename"])
def test_a_write_that_fails_at_its_end_leaves_nothing(
        broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(f"{'os' if broken == 'fsync' else 'pathlib.Path'}.{broken}", full)
    with pytest.raises(OSError, match="No space"):
        put_object(tmp_path, CONTENT)
    assert files_in(tmp_path) == []
    monkeypatch.undo()
    assert put_object(tmp_path, CONTENT) == SHA256, "the store works again once there is room"


def test_the_name_appears_only_after_the_bytes_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            steps.append(step.__name__)
            return step(*given)
        return call

    monkeypatch.setattr(os, "fsync", noted(os.fsync))
    monkeypatch.setattr(Path, "rename", noted(Path.rename))
    put_object(tmp_path, CONTENT)
    assert steps == ["fsync", "rename", "fsync"], "the file, then its name, then the folder that holds the name"


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    put_object(tmp_path, CONTENT)
    assert object_is_sound(tmp_path, SHA256)
    path = object_path(tmp_path, SHA256)
    path.write_bytes(CONTENT.replace(b"another", b"anether"))
    assert not object_is_sound(tmp_path, SHA256)


def test_a_changed_file_is_mended_by_storing_its_content_again(tmp_path: Path) -> None:
    put_object(tmp_path, CONTENT)
    object_path(tmp_path, SHA256).write_bytes(b"")
    put_object(tmp_path, CONTENT)
    assert object_is_sound(tmp_path, SHA256)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert not object_exists(tmp_path, SHA256)
    assert not object_is_sound(tmp_path, SHA256)
    for look in (open_object, object_path):
        with pytest.raises(FileNotFoundError, match=SHA256):
            look(tmp_path, SHA256)


def test_deleting_removes_the_file_and_twice_is_no_error(tmp_path: Path) -> None:
    put_object(tmp_path, CONTENT)
    delete_object(tmp_path, SHA256)
    delete_object(tmp_path, SHA256)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", [
    "", "..", "../secrets.env", "/etc/passwd", "..%2f..%2fsecrets.env", "a/../" + SHA256, SHA256.upper(), SHA256[:-1],
    SHA256 + "0", SHA256 + "\n", SHA256[:63] + "/", SHA256[:63] + "\0", "g" * 64, "٣" * 64])
def test_only_a_hash_is_a_name(name: str, tmp_path: Path) -> None:
    for look in (open_object, object_path, object_exists, object_is_sound, delete_object):
        with pytest.raises(ValueError, match="64 hex digits"):
            look(tmp_path, name)


def test_nobody_else_can_read_the_store(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    put_object(root, CONTENT)
    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / SHA256[:2]).stat().st_mode & 0o777 == 0o700
    assert object_path(root, SHA256).stat().st_mode & 0o777 == 0o600
