import xml.etree.ElementTree as ET

import pytest

from labeling.task_types.classification import (
    agreement,
    consensus,
    label_config,
    parse,
    parse_completion,
    to_completion,
    to_result,
    validate_value,
)
from projects.schema import validate_schema


def schema(*names):
    return {"labels": [{"name": name} for name in names]}


def test_the_config_shows_instructions_text_and_labels_with_hotkeys():
    labels = [{"name": "good", "description": "says\n thanks"}, {"name": "bad"}]
    config = ET.fromstring(label_config({"labels": labels}, "Judge the tone.\n\nNot the facts."))
    assert [header.get("value") for header in config.findall("Header")] == ["Judge the tone.", "Not the facts."]
    assert config.find("Text").attrib == {"name": "text", "value": "$text"}
    assert [choice.attrib for choice in config.iter("Choice")] == [
        {"value": "good", "hint": "says thanks", "hotkey": "1"}, {"value": "bad", "hotkey": "2"}]
    assert config.find("Filter") is None


def test_many_labels_get_a_filter_and_nine_hotkeys():
    config = ET.fromstring(label_config(schema(*"abcdefghijkl")))
    assert config.find("Filter").get("toName") == "label"
    assert [choice.get("hotkey") for choice in config.iter("Choice")] == [*"123456789", None, None, None]


def test_labels_and_instructions_cannot_break_out_of_the_config():
    names = ['"/><Text name="x" value="$y"/>', "a' b\" <c> &amp;", "]]>", "é☕"]
    config = ET.fromstring(label_config(schema(*names), '"/><Image/> & <!-- $100 -->'))
    assert [choice.get("value") for choice in config.iter("Choice")] == names
    assert [child.tag for child in config] == ["Header", "Text", "Choices"]
    assert config.find("Header").get("value").replace("\N{WORD JOINER}", "") == '"/><Image/> & <!-- $100 -->'


def test_a_dollar_in_the_instructions_is_no_field_name():
    config = label_config(schema("a", "b"), "over $100, $text or US$ 5")
    assert "$\N{WORD JOINER}100" in config and "$\N{WORD JOINER}text" in config and "US$ 5" in config


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


def test_what_was_answered_is_what_is_read():
    assert parse(to_result("good")) == "good"
    other = {"from_name": "note", "to_name": "text", "type": "textarea", "value": {"text": ["hm"]}}
    assert parse([other, *to_result("bad")]) == "bad"


@pytest.mark.parametrize(("result", "words"), [
    ([], "no label was chosen"),
    ([{"from_name": "label", "type": "choices", "value": {"choices": []}}], "no label was chosen"),
    ([{"from_name": "other", "type": "choices", "value": {"choices": ["a"]}}], "no label was chosen"),
    (to_result("a") + to_result("b"), "2 labels were chosen"),
    ([{"from_name": "label", "type": "choices", "value": {"choices": ["a", "b"]}}], "2 labels were chosen"),
    ([{"from_name": "label", "type": "choices", "value": {"choices": [3]}}], "must be text, got 3"),
    ([{"from_name": "label", "type": "choices", "value": {}}], "must be text, got None"),
    ([{"from_name": "label", "type": "choices", "value": {"choices": [""]}}], "must be text"),
    ([{"from_name": "label", "type": "choices"}], "object with a value"),
    (["label"], "object with a value"),
])
def test_a_result_that_is_no_label_is_named(result, words):
    with pytest.raises(ValueError, match=words):
        parse(result)


def test_a_value_outside_the_schema_is_refused():
    validate_value("a", schema("a", "b"))
    with pytest.raises(ValueError, match="“A” is none of the labels: a, b"):
        validate_value("A", schema("a", "b"))


def test_agreement_is_the_share_of_pairs_that_agree():
    assert agreement(["a", "a"]) == 1
    assert agreement(["a", "a", "b"]) == pytest.approx(1 / 3)
    assert agreement(["a", "b", "c"]) == 0
    with pytest.raises(ValueError, match="at least 2"):
        agreement(["a"])


def test_consensus_is_the_most_frequent_answer_and_a_tie_is_none():
    assert consensus(["b", "a", "b"]) == "b"
    assert consensus(["a"]) == "a"
    assert consensus(["a", "b", "b", "c", "a"]) is None
    assert consensus([]) is None


@pytest.mark.parametrize("text", [
    "refund", "Refund.", ' "REFUND"\n', "**refund**", "\n\nrefund\nbecause of the money", "`refund`,"])
def test_a_completion_is_read_past_case_quotes_and_stops(text):
    assert parse_completion(text, schema("refund", "card lost")) == "refund"


def test_a_label_with_stops_of_its_own_is_read():
    assert parse_completion("Etc.", schema("etc.", "etc")) == "etc."
    assert parse_completion(to_completion("*!*"), schema("*!*", "b")) == "*!*"


@pytest.mark.parametrize("text", ["", "   ", "I think refund", "refund or card lost", "refunds", "label: refund"])
def test_an_answer_that_talks_is_no_answer(text):
    with pytest.raises(ValueError, match="none of the labels"):
        parse_completion(text, schema("refund", "card lost"))
