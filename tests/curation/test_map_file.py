import base64
import gzip
import json

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.map_file import MAGIC, MAX_NAMES, NONE, numbered, on_a_grid, pack, quality_steps, read_bits, write_table


def unpack(content):
    """What static/map.js does with the bytes."""
    content = gzip.decompress(content)
    assert content.startswith(MAGIC)
    length = int.from_bytes(content[8:12], "little")
    header, rest = json.loads(content[12:12 + length]), content[12 + length:]
    assert (12 + length) % 8 == 0 and all(offset % 8 == 0 for _, offset in header["columns"].values())
    return header, {name: np.frombuffer(rest, dtype=f"<{kind}", count=header["n"], offset=offset)
                    for name, (kind, offset) in header["columns"].items()}


def test_what_is_packed_is_found_again():
    label = np.array([0, NONE["u2"], 1], dtype=np.uint16)
    quality = np.array([0, 255, 200], dtype=np.uint8)
    packed = pack(np.array([[0.0, 0], [4, 1], [2, 2]]), {"label": label, "quality": quality}, {"label": ["a", "b"]})
    header, columns = unpack(packed)
    assert header["n"] == 3 and header["names"] == {"label": ["a", "b"]}
    assert columns["label"].tolist() == [0, 65535, 1] and columns["quality"].tolist() == [0, 255, 200]
    assert columns["x"].tolist() == [0, 65535, 32768]


def test_the_same_points_give_the_same_bytes():
    plane = np.random.default_rng(0).normal(size=(100, 2))
    assert pack(plane, {}, {}) == pack(plane, {}, {})


def test_both_axes_have_one_scale_and_the_shorter_is_centred():
    grid = on_a_grid(np.array([[0.0, 5], [10, 5], [5, 10]]))  # 10 wide, 5 high
    assert grid[:, 0].tolist() == [0, 65535, 32768]
    assert grid[:, 1].tolist() == [16384, 16384, 49151]


def test_points_in_one_place_are_drawn_in_the_middle():
    assert on_a_grid(np.ones((3, 2))).tolist() == [[32768, 32768]] * 3


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="split has 2 for 3"):
        pack(np.zeros((3, 2)), {"split": np.zeros(2, dtype=np.uint8)}, {})


def test_names_come_in_the_given_order_then_the_commonest_first():
    numbers, names = numbered(["z", None, "b", "c", "c", "z"], order=["b", "unused"])
    assert names == ["b", "c", "z"] and numbers.tolist() == [2, NONE["u2"], 0, 1, 1, 2]


def test_rare_names_share_one():
    numbers, names = numbered([f"{k:05}" for k in range(MAX_NAMES + 3)])
    assert names[-1] == "3 rarer ones" and len(names) == MAX_NAMES + 1
    assert numbers[-3:].tolist() == [MAX_NAMES] * 3


def test_quality_is_in_steps_and_may_be_missing():
    assert quality_steps(np.array([0, 0.5, 1, np.nan])).tolist() == [0, 100, 200, 255]


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_bits_are_read_as_the_browser_writes_them(bits):
    content = bytearray(-(-len(bits) // 8))
    for row, bit in enumerate(bits):
        content[row >> 3] |= bit << (row & 7)
    assert read_bits(base64.b64encode(content).decode(), len(bits)).tolist() == [k for k, bit in enumerate(bits) if bit]


@pytest.mark.parametrize(("text", "reason"), [("é!", "base64"), ("AAAA", "has 2 bytes, got 3")])
def test_unreadable_bits_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        read_bits(text, 10)


def test_the_table_is_parquet(tmp_path):
    write_table(tmp_path / "map.parquet", {"id": np.array([3, 4]), "label": ["a", None]})
    assert pyarrow.parquet.read_table(tmp_path / "map.parquet").to_pydict() == {"id": [3, 4], "label": ["a", None]}
