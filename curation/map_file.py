"""The points of a map as bytes for the browser, as a table for other programs, and a selection of them as bits.

The browser's file: MAGIC, the length of a JSON header as uint32, the header, then one array per column, each begun at a
multiple of 8 bytes, little-endian, n values long. The header says where: {"n": …, "columns": {"x": ["u2", offset], …},
"names": {"label": […], …}}. Coordinates are numbered 0 to 65,535 on one scale for both axes.
"""

import base64
import binascii
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

MAGIC = b"GPMAP1\0\0"
NONE = {"u1": 0xFF, "u2": 0xFFFF}  # where a row has no value
QUALITY_STEPS = 200  # of label quality in [0, 1]
FLAGS = {  # kind → what the legend calls it; an example shows the first that holds
    "issue": "looks wrong", "disagreement": "annotators disagree", "crosses": "near-copy is held out",
    "duplicate": "has near-copies"}
MAX_NAMES = 1000  # labels, or annotators, that a map tells apart; rarer ones are drawn as one


def pack(coordinates: np.ndarray, columns: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str | int]]) -> bytes:
    """Return the browser's file, gzip-compressed; the same input gives the same bytes.

    coordinates: (n, 2) finite floats. columns: name → (n,) uint8 or uint16. names: column → what its numbers mean.
    """
    plane = on_a_grid(coordinates)
    arrays = {"x": plane[:, 0], "y": plane[:, 1], **columns}
    if wrong := [name for name, array in arrays.items() if len(array) != len(coordinates)]:
        raise ValueError(f"a column has one value per point, {wrong[0]} has {len(arrays[wrong[0]])} for "
                         f"{len(coordinates)}")
    places, offset, parts = {}, 0, []
    for name, array in arrays.items():
        content = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        content += bytes(-len(content) % 8)
        places[name] = [array.dtype.str[1:], offset]
        parts.append(content)
        offset += len(content)
    header = json.dumps({"n": len(coordinates), "columns": places, "names": dict(names)}).encode()
    header += b" " * (-(len(MAGIC) + 4 + len(header)) % 8)
    whole = b"".join([MAGIC, len(header).to_bytes(4, "little"), header, *parts])
    return gzip.compress(whole, compresslevel=6, mtime=0)


def on_a_grid(coordinates: np.ndarray) -> np.ndarray:
    """Return (n, 2) uint16: one scale for both axes, the longer side from 0 to 65,535, the other centred."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    side = float((high - low).max()) or 1.0
    middle = (low + high) / 2
    return np.round(np.clip((coordinates - middle) / side + 0.5, 0, 1) * 65_535).astype(np.uint16)


def numbered(values: Sequence[str | None], order: Sequence[str] = ()) -> tuple[np.ndarray, list[str]]:
    """Return (n,) uint16 numbers and the names they stand for; NONE["u2"] for None.

    Names of `order` come first and in that order, the others by how common they are, ties by name. Beyond MAX_NAMES
    rarer ones share one last name.
    """
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    given = [name for name in order if name in counts]
    names = given + sorted(counts.keys() - set(given), key=lambda name: (-counts[name], name))
    number = {name: min(k, MAX_NAMES) for k, name in enumerate(names)}
    found = np.array([NONE["u2"] if value is None else number[value] for value in values], dtype=np.uint16)
    return found, names[:MAX_NAMES] + ([f"{len(names) - MAX_NAMES:,} rarer ones"] if len(names) > MAX_NAMES else [])


def quality_steps(quality: np.ndarray) -> np.ndarray:
    """Return (n,) uint8: quality in [0, 1] in QUALITY_STEPS, NONE["u1"] for nan."""
    steps = np.round(np.nan_to_num(quality, nan=0.0) * QUALITY_STEPS).astype(np.uint8)
    return np.where(np.isnan(quality), NONE["u1"], steps).astype(np.uint8)


def write_table(path: Path, columns: Mapping[str, Sequence[object] | np.ndarray]) -> None:
    """Write the columns as a Parquet file, zstd-compressed."""
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(dict(columns)), path, compression="zstd")


def read_bits(text: str, n: int) -> np.ndarray:
    """Return the rows, ascending, whose bit is set in a base64 text of n bits; the first row is the lowest bit.

    Raises ValueError if the text is no base64 or has another length.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a selection is base64, got {text[:20]!r}") from None
    if len(content) != -(-n // 8):
        raise ValueError(f"a selection of {n} points has {-(-n // 8)} bytes, got {len(content)}")
    bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8), bitorder="little")
    return np.flatnonzero(bits[:n])
