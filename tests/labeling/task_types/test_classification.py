import xml.etree.ElementTree as ET

import pytest

from labeling.task_types.classification import (
    agreement,
    consensus,
    label_config,
    parse,
    parse_completion,
    render,
    score,
    to_completion,
    to_result,
    validate_value,
)
from training import prompts


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


def test_underscores_may_be_written_as_spaces_unless_two_labels_then_read_alike():
    assert parse_completion("Card lost.", schema("card_lost", "refund")) == "card_lost"
    assert parse_completion("card_lost", schema("card_lost", "card lost")) == "card_lost"
    assert parse_completion("card-lost", schema("card-lost", "card_lost")) == "card-lost"
    with pytest.raises(ValueError, match="none of the labels"):
        parse_completion("a b_c", schema("a_b_c", "a_b c"))


def test_weights_decide_and_equal_ones_tie():
    assert consensus(["a", "b", "b"], [0.9, 0.2, 0.3]) == "a"
    assert consensus(["a", "b", "b"], [0.3, 0.1, 0.2]) is None
    for weights in ([1.0], [1, 1, -1], [0, 0, 0], [1, 1, float("nan")]):
        with pytest.raises(ValueError, match="3 finite numbers"):
            consensus(["a", "b", "c"], weights)


def test_the_score_is_accuracy_and_macro_f1_over_the_labels_that_occur():
    metrics = score(["a", "a", "b", "c"], ["a", "b", "b", None])
    assert metrics.primary == "accuracy"
    assert metrics.parts == pytest.approx({"accuracy": 1 / 2, "macro_f1": (2 / 3 + 2 / 3 + 0) / 3})
    assert metrics.n == 4


def test_the_prompt_is_the_one_of_the_baseline():
    labels = {"labels": [{"name": "refund", "description": "wants money back"}, {"name": "other"}]}
    ours = render(" Where is my money? ", {}, labels, "Judge the request.")
    assert ours == prompts.render(prompts.zero_shot(labels, "Judge the request."), " Where is my money? ")
