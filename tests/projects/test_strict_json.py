import json

import pytest

from projects.strict_json import MAX_DEPTH, MAX_INTEGER, parse_strict


@pytest.mark.parametrize("text", ['{"a": [1, -2.5, "é\\n😀", null, true, {}]}', '"word"', "0", "[]", "1e300",
                                  f"[{MAX_INTEGER}, -{MAX_INTEGER}]", '{"a": 1, "A": 1}', '"\\ud83d\\ude00"',
                                  '"\u2028"'])
def test_plain_json_is_read_as_the_standard_parser_reads_it(text):
    assert parse_strict(text) == json.loads(text)
    assert parse_strict(text.encode()) == json.loads(text)


@pytest.mark.parametrize(("text", "reason"), [
    ('{"a": 1, "b": 2, "a": 1}', "key 'a' stands twice"),
    ('{"a": {"x": 1, "\\u0078": 2}}', "key 'x' stands twice"),
    ('{"a": NaN}', "NaN"),
    ("[-Infinity]", "-Infinity"),
    ("1e999", "too large"),
    ('"\\ud800"', "surrogate"),
    ('{"\\udc00": 1}', "surrogate"),
    ('"\\ude00\\ud83d"', "surrogate"),
    ('["a\\u0000b"]', r"U\+0000"),
    ('{"a\\u0000": 1}', r"U\+0000"),
    ('"a\x00b"', "not JSON"),
    (str(MAX_INTEGER + 1), "write it as a string"),
    (f"-{MAX_INTEGER + 1}", "write it as a string"),
    ("9" * 10_000, "write it as a string"),
    ('{"a": 1', "not JSON"),
    ("", "not JSON"),
    ("{} {}", "not JSON"),
    ("{'a': 1}", "not JSON"),
    ("\ufeff{}", "byte order mark"),
])
def test_what_a_database_or_a_hash_would_choke_on_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_strict(text)
    with pytest.raises(ValueError, match=reason):
        parse_strict(text.encode())


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1_000, 100_000])
def test_deep_nesting_is_refused_without_a_recursion_error(opening, depth):
    text = opening * depth + "1" + {"[": "]", '{"a":': "}"}[opening] * depth
    with pytest.raises(ValueError, match="deeper than 64"):
        parse_strict(text)


def test_nesting_up_to_the_limit_is_read():
    assert parse_strict("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert parse_strict('{"a":' * (MAX_DEPTH - 1) + "[1]" + "}" * (MAX_DEPTH - 1))


@pytest.mark.parametrize("raw", [b'"\xff"', b'"\xed\xa0\x80"', '"a"'.encode("utf-16")])
def test_bytes_that_are_not_utf8_are_refused(raw):
    with pytest.raises(ValueError, match="not UTF-8"):
        parse_strict(raw)


def test_a_surrogate_in_a_string_argument_is_refused():
    with pytest.raises(ValueError, match="surrogate"):
        parse_strict('"\ud800"')


def test_a_huge_object_with_one_repeated_key_is_refused_in_one_pass():
    keys = ", ".join(f'"{i}": 0' for i in range(200_000))
    with pytest.raises(ValueError, match="stands twice"):
        parse_strict("{" + keys + ', "199999": 1}')
