import csv
import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.reading import BadRow, FileRefused, Mapping, Row, read_rows, sniff
from labeling.reading.rows import MAX_ROW_CHARS

TEXT_AND_KEY = Mapping(text_column="text", key_column="id")
SCHEMA = {"labels": [{"name": "a"}, {"name": "b"}]}


@pytest.fixture
def read(tmp_path):
    """A function that writes a file's content and reads it back as a list."""
    def read(content, mapping=TEXT_AND_KEY, *, format="csv", labels=("good", "bad"), kind="examples", **asked):
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        asked.setdefault("schema", {"labels": [{"name": label} for label in labels]})
        return list(read_rows(path, format=format, mapping=mapping, kind=kind, **asked))
    return read


@pytest.fixture
def look(tmp_path):
    def look(content, name="file.csv", **options):
        path = tmp_path / "object"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return sniff(path, name=name, **options)
    return look


# What good files give


def test_a_row_holds_what_the_mapping_says_and_the_rest_as_data(read):
    mapping = Mapping("text", "id", "label", "who", "customer", "when")
    [row] = read("id,text,label,who,customer,when,channel\n"
                 " 7 , Hello ,good,Bob,c1,2026-01-31T13:00:00+01:00,mail\n", mapping)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert row == Row(2, "7", " Hello ", "good", "Bob", "c1", noon, {"channel": "mail"})


def test_columns_that_are_not_mapped_and_cells_that_are_empty_are_none(read):
    [row] = read("text,label\nhello,\n", Mapping("text", label_column="label"))
    assert row == Row(2, None, "hello", None, None, None, None, {})


def test_a_quoted_text_keeps_its_commas_quotes_and_lines(read):
    rows = read('id,text\n1,"a, ""b""\r\nc\n\nd"\n2,x\n')
    assert [(row.line, row.text) for row in rows] == [(2, 'a, "b"\r\nc\n\nd'), (6, "x")]


@pytest.mark.parametrize("content", [
    "id,text\n1,a\n2,b\n", "id,text\r\n1,a\r\n2,b\r\n", "\ufeffid,text\n1,a\n2,b", "\n\nid,text\n\n1,a\n\n\n2,b\n\n",
    "id;text\n1;a\n2;b\n", ' id , "text"\n1,a\n2,b\n'.replace(', "', ',"')])
def test_line_ends_blank_lines_byte_order_marks_and_semicolons_are_fine(read, content):
    assert [(row.key, row.text) for row in read(content)] == [("1", "a"), ("2", "b")]


def test_a_tsv_is_separated_by_tabs_alone(read):
    [row] = read('id\ttext\n1\ta, b; "c"\n', format="tsv")
    assert row.text == 'a, b; "c"'


def test_json_lines_end_at_line_feeds_alone(read):
    separators = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
    rows = read(json.dumps({"id": 1, "text": separators}, ensure_ascii=False).replace("\\u000b", "\\u000b") + "\r\n"
                + '\n{"id": "x", "text": "second", "nested": {"a": [1, null]}}', format="jsonl")
    assert [(row.line, row.key, row.text, row.data) for row in rows] == [
        (1, "1", separators, {}), (3, "x", "second", {"nested": {"a": [1, None]}})]


def test_one_column_may_serve_twice(read):
    [row] = read("text,customer\nhello,c1\n", Mapping("text", key_column="customer", group_column="customer"))
    assert (row.key, row.group) == ("c1", "c1")


def test_a_file_of_labels_needs_no_text(read):
    mapping = Mapping(key_column="id", label_column="label", annotator_column="who")
    rows = read("id,who,label\n1,Ann,a\n1,Bob,b\n2,,a\n1,Ann,b\n3,Ann,\n,Ann,a\n", mapping, kind="annotations",
                labels={"a", "b"})
    assert [(row.key, row.annotator, row.label) for row in rows if isinstance(row, Row)] == [
        ("1", "Ann", "a"), ("1", "Bob", "b"), ("2", None, "a")]
    assert [(row.line, row.reason) for row in rows if isinstance(row, BadRow)] == [
        (5, "line 2 is a label for “1” by the same annotator already. Keep one of the two."),
        (6, "the label is empty. Fill it in or remove the row."),
        (7, "the key is empty. Fill it in or remove the row.")]


@pytest.mark.parametrize(("cell", "time"), [
    ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
    ("2026-01-31 12:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
    ("2026-01-31T12:00:00-05:00", datetime(2026, 1, 31, 17, tzinfo=UTC)),
])
def test_a_time_is_read_into_utc(read, cell, time):
    [row] = read(f"text,at\nx,{cell}\n", Mapping("text", observed_at_column="at"))
    assert row.observed_at == time


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(str.strip), min_size=1))
def test_every_text_survives_csv_and_json_lines(tmp_path, texts):
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "n"], *([text, 1] for text in texts)])
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    (tmp_path / "texts.jsonl").write_bytes(lines.encode())
    for format in ("csv", "jsonl"):
        path = tmp_path / f"texts.{format}"
        rows = read_rows(path, format=format, mapping=Mapping("text"), schema=SCHEMA, kind="examples")
        assert [row.text for row in rows] == texts


# Bad rows


@pytest.mark.parametrize(("line", "reason"), [
    ("2,b,c", "the row has 3 cells and the header has 2. Put quotes around a text that holds a comma."),
    ("2", "the row has 1 cells and the header has 2."),
    ("2,", "the text is empty. Fill it in"),
    ("2, \t\u00a0", "the text is empty. Fill it in"),
    (",b", "the key is empty."),
    ("1,b", "the key “1” is on line 2 already. Give each row a key of its own."),
    ("2,b\0c", "the row holds a NUL character (U+0000), which cannot be stored. Remove it."),
    ('2,"b"c', "the quotes are not right"),
    ("2,b\rc", "a line break (CR) stands in the middle of a cell."),
    ("2," + "b" * 100_001, "the text has 100,001 characters; at most 100,000 are allowed."),
    ("2" * 201 + ",b", "“id” has 201 characters; at most 200 are allowed."),
    ("2," + "b" * 999_999, "the row is longer than 1,000,000 characters."),
    ("2," + "b" * 6_000_000, "the row is longer than 1,000,000 characters."),
    ('2,"' + "b\n" * 90_000, "a quote (\") is opened and not closed."),
])
def test_a_bad_row_is_named_with_its_line_and_the_rest_is_read(read, line, reason):
    good, bad, *rest = read(f"id,text\n1,a\n{line}\n3,c\n")
    assert good == Row(2, "1", "a", None, None, None, None, {})
    assert isinstance(bad, BadRow)
    assert bad.line == 3
    assert bad.reason.startswith(reason)
    assert bad.raw.startswith(line[:20]) and len(bad.raw) <= 2000
    assert rest[-1][1:3] == ("3", "c")
    assert rest[-1].line == 4 + line.count("\n")


@pytest.mark.parametrize(("line", "reason"), [
    ('{"id": 2}', "there is no “text” among: id. Add it or remove the row."),
    ('{"id": 2, "text": null}', "there is no “text”"),
    ('{"id": 2, "text": 5}', "“text” is no text. Write it in quotes."),
    ('{"id": true, "text": "b"}', "“id” is neither text nor a number."),
    ('{"id": ["2"], "text": "b"}', "“id” is neither text nor a number."),
    ('{"text": "b"}', "the key is empty."),
    ('["b"]', "the line is JSON but no object."),
    ('{"id": 2, "text": "b"', "This is not JSON: Expecting ',' delimiter at column "),
    ('{"id": 2, "text": "b"},', "This is not JSON: Extra data at column "),
    ('{"id": 2, "id": 3, "text": "b"}', "The key 'id' stands twice"),
    ('{"id": 2, "text": "b", "x": NaN}', "NaN is not a JSON number."),
    ('{"id": 2, "text": "\\u0000"}', "The string '\\x00' holds U+0000"),
    ('{"id": 2, "text": "b", "x": ["\\ud800"]}', "The string '\\ud800' holds half of a surrogate pair."),
    ('{"id": 2, "text": "b", "x": ' + "[" * 100_000, "The JSON is nested deeper"),
    ('{"id": 2, "text": "' + "b" * 2_000_000 + '"}', "the row is longer than 1,000,000 characters."),
])
def test_a_bad_json_line_is_named_and_the_rest_is_read(read, line, reason):
    rows = read('{"id": 1, "text": "a"}\n' + line + '\n{"id": 3, "text": "c"}\n', format="jsonl")
    assert [(row.line, type(row)) for row in rows] == [(1, Row), (2, BadRow), (3, Row)]
    assert rows[1].reason.startswith(reason)


@pytest.mark.parametrize(("label", "words"), [
    ("refnd", "“refnd” is none of the project's labels. Did you mean “Refund”?"),
    ("REFUND", "Did you mean “Refund”?"),
    ("weather", "“weather” is none of the project's labels. Correct it, or add it to the project's labels."),
])
def test_a_label_outside_the_schema_is_met_with_the_closest_one(read, label, words):
    [bad] = read(f"text,label\na,{label}\n", Mapping("text", label_column="label"), labels={"Refund", "card lost"})
    assert bad.reason.endswith(words)


@pytest.mark.parametrize("cell", ["yesterday", "31.01.2026", "2026-13-01", "1706659200", "0001-01-01T00:00:00+05:00"])
def test_a_time_that_is_none_is_refused(read, cell):
    [bad] = read(f"text,at\nx,{cell}\n", Mapping("text", observed_at_column="at"))
    assert bad.reason == f"“{cell}” is no time. Write it as 2026-01-31 or 2026-01-31T12:00:00Z."


def test_a_quote_that_is_never_closed_neither_hangs_nor_fills_the_memory(tmp_path):
    path = tmp_path / "open.csv"
    lines = "".join(f"{i},text number {i} of the many that follow the open quote\n" for i in range(20_000))
    path.write_text('id,text\n1,"open\n' + lines)
    tracemalloc.start()
    rows = read_rows(path, format="csv", mapping=Mapping("text"), schema=SCHEMA, kind="examples")
    first = next(rows)
    n_rows = sum(isinstance(row, Row) for row in rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    last_taken = 20_002 - n_rows
    assert first.line == 2 and "opened and not closed" in first.reason
    assert first.reason.endswith(f"Lines 2 to {last_taken:,} were taken for this one row.")
    assert last_taken < 4_000
    assert peak < 8_000_000


def test_a_file_of_nothing_but_quotes_ends(read):
    rows = read("text\n" + '"\n' * 200_000, Mapping("text"))
    assert rows and all(isinstance(row, BadRow) for row in rows)


def test_a_large_file_is_read_in_flat_memory(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("text\n")
        file.writelines("x" * 1000 + "\n" for _ in range(20_000))
        file.write("y" * 20_000_000 + "\n")
    tracemalloc.start()
    n_rows = sum(1 for _ in read_rows(path, format="csv", mapping=Mapping("text"), schema=SCHEMA, kind="examples"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == 20_001
    assert peak < 16_000_000


# Files that are refused whole


@pytest.mark.parametrize(("content", "words"), [
    (b"", "file is empty"),
    (b"\xef\xbb\xbf \r\n\n", "file is empty"),
    (b"id,text\n", "has a header but no rows"),
    (b"id,text\n\n\r\n", "has a header but no rows"),
    ("id,text\n1,a\n".encode("utf-16"), "UTF-16"),
    ("id,text\n1,a\n".encode("utf-16-be"), "NUL|no column"),
    (b"PK\x03\x04rest", "Excel or zip"),
    (b"\x1f\x8brest", "compressed"),
    (b"PAR1rest", "Parquet"),
    (b"id,text\r1,a\r2,b\r", "old Mac"),
    (b"id,text\n1,caf\xe9\n", r"byte 13, on line 2, is 0xe9.*“CSV UTF-8”"),
    (b"\xef\xbb\xbfid,text\n1,caf\xe9\n", r"byte 16, on line 2, is 0xe9"),
    (b"id,text\n" + b"1,a\n" * 200_000 + b"1,\xff\n", r"byte 800,010, on line 200,002, is 0xff"),
    (b"id,text\n1,\xed\xa0\x80\n", "not UTF-8: byte 10"),
    (b"id,text,id\n1,a,2\n", "Two columns are named “id”"),
    (b"id,text,\n1,a,\n", "Column 3 has no name"),
    (b"id,te\0xt\n1,a\n", "column 2 holds a NUL"),
    (b"id,body\n1,a\n", r"no column “text”. The columns are: id, body\."),
    (b'id,"text\n1,a\n', "header cannot be read"),
    (b"a" * 2_000_000, "over 1,000,000 characters"),
    (",".join(f"c{i}" for i in range(501)).encode() + b"\n", "501 columns"),
])
def test_a_file_that_cannot_be_used_is_refused_in_words(read, content, words):
    with pytest.raises(FileRefused, match=words):
        read(content)


def test_a_json_list_and_a_missing_choice_are_refused(read):
    with pytest.raises(FileRefused, match="one JSON list"):
        read('[{"text": "a"},\n{"text": "b"}]', format="jsonl")
    with pytest.raises(FileRefused, match="column that holds the text"):
        read("id,text\n1,a\n", Mapping(key_column="id"))
    with pytest.raises(FileRefused, match="two columns"):
        read("id,label\n1,a\n", Mapping(key_column="id"), kind="annotations")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text('",;\n\r\t{}[]:abc\\u0\ufeff\0', max_size=60).map(str.encode),
       st.sampled_from(["csv", "tsv", "jsonl"]))
def test_whatever_the_bytes_each_line_is_a_row_or_bad_or_the_file_is_refused(tmp_path, content, format):
    path = tmp_path / "any"
    path.write_bytes(b'{"text": "a"}\n' * (format == "jsonl") + b"text,x\n" * (format == "csv") + content)
    try:
        sniff(path)
        mapping = Mapping("text")
        assert all(isinstance(row, Row | BadRow) for row in
                   read_rows(path, format=format, mapping=mapping, schema=SCHEMA, kind="examples"))
    except FileRefused as refused:
        assert str(refused)


# The first look


def test_a_first_look_tells_format_columns_and_what_they_are(look):
    sniffed = look("ID,Tweet,Sentiment,Customer ID,Created-At,channel\n" + "1,hello,good,c1,2026-01-31,mail\n" * 9)
    assert (sniffed.format, sniffed.columns[:2], len(sniffed.rows)) == ("csv", ["ID", "Tweet"], 5)
    assert sniffed.mapping == Mapping("Tweet", "ID", "Sentiment", None, "Customer ID", "Created-At")
    assert sniffed.rows[0]["channel"] == "mail"
    assert Mapping(**sniffed.mapping.as_dict()) == sniffed.mapping


@pytest.mark.parametrize(("content", "name", "format"), [
    ("a,b\n1,2\n", "x.csv", "csv"), ("a\tb\n1\t2\n", "x.csv", "tsv"), ("a\n1\n", "x.tsv", "tsv"),
    ("a;b\n1;2\n", "", "csv"),
    ('{"a": 1}\n', "x.csv", "jsonl"), ('\n\n  {"a": 1}\n', "", "jsonl"), ('{"a": 1}\n', "x.ndjson", "jsonl")])
def test_the_format_is_told_from_the_content(look, content, name, format):
    assert look(content, name).format == format


def test_json_columns_are_those_of_the_first_rows_together(look):
    sniffed = look('{"id": 1, "text": "a"}\nnot json\n{"text": "b", "label": "x"}\n', "x.jsonl")
    assert sniffed.columns == ["id", "text", "label"]
    assert sniffed.mapping == Mapping("text", "id", "label")


def test_without_a_telling_name_the_text_is_the_column_with_the_longest_cells(look):
    assert look("id,a,b\n1,short,a long text about something\n").mapping == Mapping("b", "id")


def test_a_first_look_finds_what_is_wrong(look):
    for content, words in (
            ("", "empty"), ("a,b\n", "no rows"), ("{oops}\n", "first row cannot be read: This is not JSON"),
            ("a,b\n1,2,3\n", "first row cannot be read"), ("x" * (MAX_ROW_CHARS + 1), "first line has over")):
        with pytest.raises(FileRefused, match=words):
            look(content)
