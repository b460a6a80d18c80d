import xml.etree.ElementTree as ET

import pytest

from labeling.task_types.response import (
    canonical,
    consensus,
    label_config,
    parse,
    parse_completion,
    render,
    show,
    to_result,
    validate_value,
)

SCHEMA = {"max_chars": 10, "guidance": "Be brief."}


def test_the_box_takes_one_answer_and_says_how_to_keep_it():
    config = ET.fromstring(label_config(SCHEMA, "Answer."))
    assert [header.get("value") for header in config.findall("Header")] == [
        "Answer.", "Be brief.", "Write at most 10 characters.", "Press Shift+Enter, or Add, to keep what you wrote."]
    box = config.find("TextArea").attrib
    assert (box["maxSubmissions"], box["required"], box["toName"]) == ("1", "true", "text")


def test_an_answer_is_stored_with_line_feeds_and_without_space_around_it():
    assert canonical(" a \r\nb\rc\n") == "a \nb\nc"
    assert parse(to_result("a\r\n")) == "a"


@pytest.mark.parametrize(("result", "words"), [
    ([], "no answer was written"),
    (to_result("a") + to_result("b"), "2 answers were written"),
    ([{"from_name": "answer", "type": "textarea", "value": {"text": ["a", "b"]}}], "2 answers"),
    ([{"from_name": "answer", "type": "textarea", "value": {"text": [3]}}], "must be text, got 3"),
    ([{"from_name": "answer", "type": "textarea", "value": {"text": []}}], "no answer"),
])
def test_a_result_that_is_no_answer_is_named(result, words):
    with pytest.raises(ValueError, match=words):
        parse(result)


def test_an_answer_is_text_within_the_limit():
    validate_value(" 0123456789\n", SCHEMA)
    for wrong, words in (("01234567890", "11 characters; at most 10"), (" \n", "empty"), (None, "must be text"),
                         ("a\ud800", "surrogate"), ("a\0", r"U\+0000")):
        with pytest.raises(ValueError, match=words):
            validate_value(wrong, SCHEMA)
    with pytest.raises(ValueError, match="at most 10"):
        parse_completion("x" * 11, SCHEMA)


def test_the_consensus_is_an_answer_that_somebody_gave():
    answers = ["The notice is three months.", "Bananas are yellow.", "Notice: three months."]
    assert consensus(answers) in answers
    assert consensus(answers) != answers[1]


def test_the_prompt_tells_the_guidance_and_the_limit():
    assert render(" Why? ", {}, SCHEMA, "Answer.") == [
        {"role": "system", "content": "Answer.\nBe brief.\nWrite at most 10 characters."},
        {"role": "user", "content": "Why?"}]
    assert render("Why?", {}, {}) == [{"role": "user", "content": "Why?"}]


def test_a_long_answer_is_shown_cut():
    assert show("a\nb") == "a b"
    assert show("x" * 201) == "x" * 199 + "…"
