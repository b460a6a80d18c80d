import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.task_types.extraction import (
    agreement,
    canonical,
    consensus,
    label_config,
    parse,
    parse_completion,
    render,
    score,
    show,
    to_completion,
    to_result,
    validate_value,
)

SCHEMA = {"json_schema": {
    "type": "object",
    "properties": {
        "tenant": {"type": "string", "description": "who\nrents for $rent"}, "rooms": {"type": "integer"},
        "kind": {"enum": ["flat", "house"]}, "pets": {"type": "array", "items": {"type": "string"}},
        "address": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]}},
    "required": ["tenant"]}}


def test_the_fields_are_told_above_the_box_and_in_the_prompt():
    told = ["tenant (required, text): who rents for $rent", "address.street (required, text)",
            "kind (one of flat, house)", "pets (list of: text)", "rooms (whole number)"]
    config = ET.fromstring(label_config(SCHEMA, "Read."))
    shown = [header.get("value").replace("\N{WORD JOINER}", "") for header in config.findall("Header")]
    assert shown == ["Read.", "Write one JSON object with these fields:", *told,
                     "Press Shift+Enter, or Add, to keep what you wrote."]
    [system, user] = render(" text ", {}, SCHEMA, "Read.")
    assert system["content"].splitlines()[2:-1] == told
    assert user["content"] == "text"


def test_one_spelling_has_sorted_keys_and_arrays_and_no_nulls():
    value = {"tenant": " Ann\r\n", "rooms": 3.0, "kind": None, "pets": ["dog", "cat", None], "address": {"street": "A"}}
    assert to_completion(value) == \
        '{"address": {"street": "A"}, "pets": ["cat", "dog"], "rooms": 3, "tenant": "Ann"}'
    assert canonical({"a": True, "b": 1, "c": 0.5}) == {"a": True, "b": 1, "c": 0.5}


def written(text):
    return [{"from_name": "answer", "to_name": "text", "type": "textarea", "value": {"text": [text]}}]


def test_the_box_is_prefilled_with_lines_that_can_be_edited():
    assert to_result({"tenant": "Ä"}) == written('{\n  "tenant": "Ä"\n}')
    assert parse(written(' {"tenant": "Ann",\n "kind": null} ')) == {"tenant": "Ann"}


@pytest.mark.parametrize(("text", "words"), [
    ("tenant: Ann", "not JSON"),
    ('["Ann"]', "must be a JSON object"),
    ('{"tenant": "Ann", "tenant": "Bob"}', "stands twice"),
    ('{"rooms": NaN}', "NaN"),
    ('{"tenant": "\\ud800"}', "surrogate"),
    ('{"tenant": "Ann"} I hope this helps', "not JSON"),
    ('Here it is: {"tenant": "Ann"}', "not JSON"),
])
def test_what_is_no_json_object_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        parse(written(text))
    with pytest.raises(ValueError, match=words):
        parse_completion(text, SCHEMA)


def test_a_code_fence_around_the_object_is_read_past():
    for text in ('```json\n{"tenant": "Ann"}\n```', '\n```\n{"tenant": "Ann"}```\n'):
        assert parse_completion(text, SCHEMA) == {"tenant": "Ann"}


@pytest.mark.parametrize(("value", "words"), [
    ({}, "'tenant' is a required property"),
    ({"tenant": 3}, "“tenant”: 3 is not of type 'string'"),
    ({"tenant": "Ann", "rooms": 2.5}, "“rooms”: 2.5 is not of type 'integer'"),
    ({"tenant": "Ann", "rooms": True}, "“rooms”: True"),
    ({"tenant": "Ann", "kind": "boat"}, "“kind”: 'boat' is not one of"),
    ({"tenant": "Ann", "pets": ["cat", 1]}, "“pets.1”: 1"),
    ({"tenant": "Ann", "color": "red"}, "'color' was unexpected"),
    ({"tenant": "Ann", "address": {"street": "A", "zip": 1}}, "“address”: .*'zip' was unexpected"),
    ({"tenant": "Ann", "address": {}}, "“address”: 'street' is a required"),
    ({"tenant": "A\ud800"}, "surrogate"),
    ({"tenant": "A\0"}, "U.0000"),
    (["Ann"], "is not of type 'object'"),
])
def test_a_value_that_does_not_fit_the_schema_is_refused_naming_the_field(value, words):
    validate_value({"tenant": "Ann", "rooms": 3, "address": {"street": "A"}}, SCHEMA)
    with pytest.raises(ValueError, match=words):
        validate_value(value, SCHEMA)


def test_agreement_is_the_share_of_equal_fields():
    a = {"tenant": "Ann  Lee", "rooms": 3, "pets": ["cat", "dog"]}
    b = {"tenant": "ann lee", "rooms": 4, "pets": ["dog"], "address": {"street": "A"}}
    assert agreement([a, b]) == pytest.approx((1 + 0 + 1 / 2 + 0) / 4)
    assert agreement([{}, {}]) == 1
    assert agreement([{"a": True}, {"a": 1}]) == 0
    assert agreement([{"a": ["x", "x"]}, {"a": ["x"]}]) == pytest.approx(1 / 2)
    assert agreement([{"a": []}, {}]) == 1


def test_consensus_goes_field_by_field():
    answers = [{"tenant": "Ann", "rooms": 3, "pets": ["cat", "dog"], "address": {"street": "A"}},
               {"tenant": "ANN", "rooms": 3, "pets": ["dog", "bird"], "address": {"street": "B"}},
               {"tenant": "Ann", "rooms": 4, "pets": ["dog"], "address": {"street": "B"}, "kind": "flat"}]
    assert consensus(answers) == {"tenant": "Ann", "rooms": 3, "pets": ["dog"], "address": {"street": "B"}}


def test_a_field_without_a_majority_is_for_a_person():
    assert consensus([{"rooms": 3}, {"rooms": 4}, {"rooms": 5}]) is None
    assert consensus([{"rooms": 3}, {"rooms": 4}, {}]) is None  # two of three saw one: leaving it out would be wrong
    assert consensus([{"rooms": 3}, {}]) is None
    assert consensus([{"pets": ["cat"]}, {"pets": []}]) is None
    assert consensus([{"rooms": 3}, {}, {}]) == {}
    assert consensus([{"rooms": 3}, {"rooms": 4}], [2, 1]) == {"rooms": 3}


def test_an_empty_array_stands_where_nobody_agrees_on_an_element():
    assert consensus([{"pets": ["cat"]}, {"pets": []}, {"pets": ["dog"]}]) == {"pets": []}
    assert consensus([{"pets": ["cat"]}, {}, {}]) == {}


def test_of_several_spellings_the_most_frequent_stands_and_the_first_on_a_tie():
    assert consensus([{"a": "ANN"}, {"a": "Ann"}, {"a": "Ann"}]) == {"a": "Ann"}
    assert consensus([{"a": "ANN"}, {"a": "Ann"}]) == {"a": "ANN"}
    assert consensus([{"a": ["ANN"]}, {"a": ["Ann"]}, {"a": ["Ann"]}]) == {"a": ["Ann"]}


@given(st.text(), st.integers(1, 5))
def test_agreeing_on_odd_texts_is_agreeing(text, n):
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    assert consensus([{"a": text, "b": {"a": [text]}}] * n) == canonical({"a": text, "b": {"a": [text]}})


def test_the_text_absent_is_no_absent_field():
    assert consensus([{"a": "absent"}] * 2 + [{"a": "x"}]) == {"a": "absent"}
    assert agreement([{"a": "absent"}, {}]) == 0


def test_the_score_is_micro_f1_over_fields_and_exact_records():
    gold = [{"tenant": "Ann", "pets": ["cat", "dog"]}, {"tenant": "Bob"}, {"tenant": "Cy"}]
    predicted = [{"tenant": "ann", "pets": ["dog", "cow"]}, {"tenant": "BOB"}, None]
    # 5 gold fields; 3 + 1 given and 1 for the unreadable answer; right: Ann, dog, Bob
    assert score(gold, predicted).parts == pytest.approx({"field_f1": 2 * 3 / (5 + 5), "record_exact_match": 1 / 3})


def test_an_unreadable_answer_is_worse_than_an_empty_one():
    assert score([{}, {"a": 1}], [{}, {"a": 1}]).value == 1
    assert score([{}, {"a": 1}], [None, {"a": 1}]).value < 1


def test_a_value_is_shown_as_json():
    assert show({"tenant": "Ännchen"}) == '{"tenant": "Ännchen"}'
