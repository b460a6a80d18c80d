"""A snapshot as one plain file that proves itself: JSON Lines, the manifest first.

1. Line 1 is the manifest, byte by byte; its sha256 is the snapshot's hash.
2. Then come the lines of its parts in the order of PARTS; the manifest has the number and the hash of each.
So nothing has to be believed: a file whose parts have these hashes holds the snapshot, and nothing else.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTS = ("rows", "sha256s", "lineage", "left_out")
MAX_LINE_BYTES = 8_000_000


@dataclass(frozen=True)
class Bundle:
    """A file that was found to hold the snapshot of this hash; `path` is read again for its rows."""

    path: Path
    sha256: str
    manifest: dict[str, Any]

    @property
    def n_rows(self) -> int:
        return int(self.manifest["rows"]["n"])

    def part(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a part, each with its newline."""
        with self.path.open("rb") as file:
            file.readline()
            for part in PARTS:
                lines = (file.readline() for _ in range(_about(self.manifest, part)["n"]))
                if part == name:
                    yield from lines
                    return
                for _ in lines:
                    pass


def open_bundle(path: Path) -> Bundle:
    """Return the snapshot that a file holds, every byte of it hashed.

    Raises ValueError, in words for whoever brought the file, if it is none or a hash differs.
    """
    with path.open("rb") as file:
        head = file.readline(MAX_LINE_BYTES)
        manifest = _manifest(head)
        sha256 = hashlib.sha256(head).hexdigest()
        for part in PARTS:
            about, digest = _about(manifest, part), hashlib.sha256()
            for number in range(about["n"]):
                line = file.readline(MAX_LINE_BYTES)
                if not line.endswith(b"\n"):
                    raise ValueError(f"The file ends within its {part}: {number:,} of {about['n']:,} lines are there. "
                                     "Download it again.")
                digest.update(line)
            if digest.hexdigest() != about["sha256"]:
                raise ValueError(f"The {part} are not the ones that were frozen: their sha256 is {digest.hexdigest()}, "
                                 f"the manifest says {about['sha256']}. Nothing was imported; export the snapshot "
                                 "again, and do not edit the file.")
        if file.read(1):
            raise ValueError("There is something behind the last line. Nothing was imported; export the snapshot "
                             "again.")
    return Bundle(path, sha256, manifest)


def _manifest(line: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(line)
        if line.endswith(b"\n") and manifest["format"] >= 3 and all(_about(manifest, part) for part in PARTS):
            return dict(manifest)
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError("This is no snapshot file of Goldpan. Export a snapshot as “Snapshot file”; in a Hugging Face "
                     "folder it is snapshot.jsonl. Snapshots that were frozen before there were such files have to be "
                     "frozen anew.")


def _about(manifest: dict[str, Any], part: str) -> dict[str, Any]:
    about = manifest["rows"]["sha256s"] if part == "sha256s" else manifest[part]
    n = about.get("n", manifest["rows"]["n"])
    if not isinstance(n, int) or n < 0 or not isinstance(about["sha256"], str):
        raise ValueError(part)
    return {"n": n, "sha256": about["sha256"]}
