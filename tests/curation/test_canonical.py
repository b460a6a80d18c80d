import hashlib

import pytest

from curation.canonical import canonical_line, canonical_pieces, manifest_bytes, sha256_of


def test_key_order_and_spelling_of_numbers_make_no_difference():
    assert canonical_line({"b": 1.0, "a": "é"}) == canonical_line({"a": "é", "b": 1}) == '{"a":"é","b":1}\n'.encode()


def test_the_numbers_and_the_key_order_are_those_of_the_standard():
    record = {"\u20ac": 1e21, "\r": 4.50, "1": 2e-3, "\U0001f600": 1e-27, "\ufb33": -0.0}  # RFC 8785, section 3.2
    expected = '{"\\r":4.5,"1":0.002,"€":1e+21,"😀":1e-27,"\ufb33":0}\n'
    assert canonical_line(record) == expected.encode()


def test_text_is_kept_as_it_is():
    assert canonical_line({"t": "e\u0301"}) != canonical_line({"t": "\u00e9"})


def test_a_line_has_one_newline_and_it_is_last():
    line = canonical_line({"t": "one\ntwo\u2028three\r"})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: "a"}, b"bytes"])
def test_what_the_standard_cannot_write_is_refused(value):
    with pytest.raises(ValueError):
        canonical_line({"value": value})


def test_in_pieces_the_bytes_are_the_same():
    record = {"b": [{"é": 1.5, "a": None}, ["x", []], 2], "a": {"z": "\u2028", "10": 1, "9": 1.0}, "c": [], "Z": "é"}
    lazily = {**record, "b": ({"é": 1.5, "a": None} if part == 0 else iter(["x", []]) if part == 1 else part
                              for part in range(3))}
    assert b"".join(canonical_pieces(record)) == b"".join(canonical_pieces(lazily)) == canonical_line(record)
    assert b"".join(canonical_pieces({})) == canonical_line({})
    with pytest.raises(ValueError, match="ASCII names, got 'é'"):
        list(canonical_pieces({"é": []}))


def test_a_manifest_is_one_canonical_line():
    assert manifest_bytes({"n": 2, "files": {}}) == b'{"files":{},"n":2}\n'


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    content = b"\0gold\n" * 100_000
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sha256_of(path) == sha256_of(content) == hashlib.sha256(content).hexdigest()
