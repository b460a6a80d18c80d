import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from projects.schema import TASK_TYPES, label_names, validate_schema
from tests.labeling.task_types.strategies import objects


def schema(*names):
    return {"labels": [{"name": name} for name in names]}


@pytest.mark.parametrize(("labels", "words"), [
    (None, "needs “labels”"),
    ("ab", "needs “labels”"),
    (["a", "b"], "needs “labels”"),
    ([{"name": "a"}, {"name": 3}], "needs “labels”"),
    ([{"name": "a"}, {"name": "b", "description": None}], "needs “labels”"),
    ([{"name": "a"}], "between 2 and 200 labels; there are 1"),
    ([{"name": f"label {i}"} for i in range(201)], "there are 201"),
    ([{"name": "a"}, {"name": "  "}], "empty"),
    ([{"name": "a"}, {"name": " b"}], "spaces"),
    ([{"name": "a"}, {"name": "b  c"}], "spaces"),
    ([{"name": "a"}, {"name": "b\u00a0c"}], "spaces"),
    ([{"name": "a"}, {"name": "b\nc"}], "line break"),
    ([{"name": "a"}, {"name": "b\x00"}], "control character"),
    ([{"name": "a"}, {"name": "b\ud800"}], "control character"),
    ([{"name": "a"}, {"name": "b" * 101}], "101 characters"),
    ([{"name": "Good"}, {"name": "good"}], "“Good” and “good” read the same"),
    ([{"name": "fi"}, {"name": "ﬁ"}], "read the same"),
    ([{"name": "a"}, {"name": "$price"}], r"\$ before a word"),
    ([{"name": "a"}, {"name": "b", "description": "x" * 501}], "description of “b” has 501"),
    ([{"name": "a"}, {"name": "b", "description": "x\x1b[0m"}], "description of “b” has a control"),
])
def test_a_schema_that_cannot_be_used_is_refused_in_words(labels, words):
    with pytest.raises(ValueError, match=words):
        validate_schema({"labels": labels})


def test_scripts_that_need_joiners_and_money_signs_are_fine():
    validate_schema(schema("می‌خواهم", "👨‍👩‍👧", "5 $", "US$ 5", "日本語"))
    validate_schema({"labels": [{"name": "a", "description": "one\nline"}, {"name": "b", "description": ""}]})


def test_names_that_a_model_could_not_write_apart_read_the_same():
    for first, second in (("¨", "\N{COMBINING DIAERESIS}"), ("Straße", "STRASSE"), ("a b", "a\N{IDEOGRAPHIC SPACE}b")):
        with pytest.raises(ValueError, match=r"read the same|spaces"):
            validate_schema(schema(first, second))


@pytest.mark.parametrize("task_type", ["multilabel", "spans"])
def test_one_label_is_enough_where_it_may_be_missing(task_type):
    validate_schema(schema("a"), task_type)
    with pytest.raises(ValueError, match="between 1 and 200 labels; there are 0"):
        validate_schema(schema(), task_type)


def test_label_names_are_in_the_order_of_the_schema():
    assert label_names(schema("b", "a")) == ["b", "a"]


def test_a_task_type_nobody_knows_is_named():
    with pytest.raises(ValueError, match=r"one of classification, multilabel, .*; got “regression”"):
        validate_schema({}, "regression")


@pytest.mark.parametrize("task_type", TASK_TYPES)
@pytest.mark.parametrize("what", [None, [], "labels", 3])
def test_a_schema_that_is_no_object_is_refused(task_type, what):
    with pytest.raises(ValueError, match="is an object"):
        validate_schema(what, task_type)


@pytest.mark.parametrize("task_type", ["response", "chat"])
def test_the_limits_of_writing_are_checked(task_type):
    validate_schema({}, task_type)
    validate_schema({"max_chars": 1, "guidance": "Short.\nClear."}, task_type)
    for wrong, words in (({"max_chars": 0}, "from 1 to 100000; got 0"), ({"max_chars": True}, "got True"),
                         ({"max_chars": "9"}, "got '9'"), ({"guidance": "x" * 5001}, "at most 5000"),
                         ({"guidance": None}, "got None"), ({"guidance": "a\x1b"}, "control"),
                         ({"max_char": 9}, "“max_char”, which is not supported")):
        with pytest.raises(ValueError, match=words):
            validate_schema(wrong, task_type)


def test_a_tie_is_allowed_or_not():
    for right in ({}, {"allow_tie": True}, {"allow_tie": False}):
        validate_schema(right, "preference")
    for wrong, words in (({"allow_tie": "yes"}, "true or false; got 'yes'"), ({"tie": True}, "“tie”")):
        with pytest.raises(ValueError, match=words):
            validate_schema(wrong, "preference")


def fields(**properties):
    return {"json_schema": {"type": "object", "properties": properties}}


def test_texts_numbers_choices_lists_and_one_level_of_objects_may_be_extracted():
    validate_schema({"json_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "title": "Lease",
        "properties": {
            "tenant": {"type": "string", "description": "who rents"}, "rent": {"type": "number"},
            "rooms": {"type": "integer"}, "furnished": {"type": "boolean"},
            "kind": {"enum": ["flat", "house"]}, "pets": {"type": "array", "items": {"enum": ["cat", "dog"]}},
            "address": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]}},
        "required": ["tenant", "address"], "additionalProperties": False}}, "extraction")


@given(objects())
def test_every_schema_let_through_is_a_json_schema(drawn):
    json_schema, _ = drawn
    validate_schema({"json_schema": json_schema}, "extraction")
    Draft202012Validator.check_schema(json_schema)


@pytest.mark.parametrize(("wrong", "words"), [
    ({}, "needs “json_schema”"),
    ({"json_schema": {"type": "array"}}, "needs “json_schema”"),
    ({"json_schema": {"type": "object"}}, "needs “properties”"),
    ({"json_schema": {"type": "object", "properties": {}}}, "at least one field"),
    ({**fields(a={"type": "string"}), "labels": []}, "“labels”, which is not supported"),
    (fields(a={"$ref": "https://example.org/schema.json"}), "“a” has “\\$ref”, which is not supported"),
    (fields(a={"$ref": "#/properties/b"}, b={"type": "string"}), "“\\$ref”"),
    (fields(a={"type": "string", "pattern": "(a+)+$"}), "“pattern”"),
    (fields(a={"anyOf": [{"type": "string"}]}), "“anyOf”"),
    (fields(a={"type": ["string", "null"]}), "type of “a” is one of string, .* got \\['string', 'null'\\]"),
    (fields(a={"type": "null"}), "got 'null'"),
    (fields(a={}), "got None"),
    (fields(a="string"), "“a” is an object with a “type”"),
    (fields(a={"type": "array"}), "“a\\[\\]” needs a schema"),
    (fields(a={"type": "array", "items": {"type": "array"}}), "“a\\[\\]”"),
    (fields(a={"type": "array", "items": {"type": "object", "properties": {}}}), "“a\\[\\]” has “properties”"),
    (fields(a={"type": "object", "properties": {"b": {"type": "object", "properties": {}}}}),
     "“a.b” is an object in an object"),
    (fields(a={"type": "string", "enum": ["x", "x"]}), "“enum” of “a”"),
    (fields(a={"type": "integer", "enum": [1, 2]}), "“enum” of “a”"),
    (fields(a={"enum": []}), "“enum” of “a”"),
    (fields(a={"enum": [" x"]}), "“enum” of “a”"),
    (fields(a={"type": "string", "description": "\x00"}), "“description” of “a”"),
    (fields(**{" a": {"type": "string"}}), "named ' a'"),
    (fields(**{"": {"type": "string"}}), "named ''"),
    (fields(**{"a\ud800": {"type": "string"}}), "named 'a"),
    (fields(**{f"f{n}": {"type": "string"} for n in range(101)}), "101 fields; at most 100"),
    ({"json_schema": {**fields(a={"type": "string"})["json_schema"], "required": ["b"]}}, "“required” of The JSON"),
    ({"json_schema": {**fields(a={"type": "string"})["json_schema"], "required": ["a", "a"]}}, "each once"),
    ({"json_schema": {**fields(a={"type": "string"})["json_schema"], "required": [[]]}}, "each once"),
    ({"json_schema": {**fields(a={"type": "string"})["json_schema"], "additionalProperties": True}}, "other fields"),
])
def test_a_json_schema_outside_the_part_that_is_understood_is_refused_in_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        validate_schema(wrong, "extraction")
