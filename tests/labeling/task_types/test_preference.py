import xml.etree.ElementTree as ET

import pytest

from labeling.task_types.preference import (
    agreement,
    consensus,
    label_config,
    parse_completion,
    render,
    score,
    task_data,
    validate_data,
    validate_value,
)

PAIR = {"left": "Yes.", "right": "No.", "model": "hidden"}


def test_the_answers_stand_side_by_side_and_a_choice_is_required():
    config = ET.fromstring(label_config({}, "Which is better?"))
    assert [text.get("value") for text in config.iter("Text")] == ["$text", "$left", "$right"]
    assert config.find("Choices").get("required") == "true"
    assert [(choice.get("value"), choice.get("hotkey")) for choice in config.iter("Choice")] == [
        ("left", "1"), ("right", "2"), ("tie", "3")]
    without = ET.fromstring(label_config({"allow_tie": False}))
    assert [choice.get("value") for choice in without.iter("Choice")] == ["left", "right"]


def test_which_model_answered_stays_hidden():
    assert task_data("Is it?", PAIR) == {"text": "Is it?", "left": "Yes.", "right": "No."}


@pytest.mark.parametrize(("data", "words"), [
    ({}, "answer in “left”; got None"),
    ({"left": "a", "right": "  "}, "answer in “right”"),
    ({"left": "a", "right": 3}, "answer in “right”; got 3"),
    ({"left": "a b", "right": " a  b\n"}, "the same answer"),
    ({"left": "a", "right": "b\ud800"}, "surrogate"),
])
def test_a_pair_is_two_different_answers(data, words):
    validate_data("Is it?", PAIR, {})
    with pytest.raises(ValueError, match=words):
        validate_data("Is it?", data, {})


def test_a_tie_is_an_answer_only_where_it_is_allowed():
    validate_value("tie", {})
    with pytest.raises(ValueError, match="“tie” is none of the labels: left, right"):
        validate_value("tie", {"allow_tie": False})
    assert parse_completion("**Tie**.", {}) == "tie"
    with pytest.raises(ValueError, match="none of the labels"):
        parse_completion("tie", {"allow_tie": False})


def test_people_who_differ_are_no_tie():
    assert consensus(["left", "right"]) is None
    assert consensus(["tie", "tie", "left"]) == "tie"
    assert consensus(["left", "right"], [2, 1]) == "left"
    assert agreement(["left", "tie", "tie"]) == pytest.approx(1 / 3)


def test_the_prompt_shows_both_answers():
    [system, user] = render(" Is it? ", PAIR, {"allow_tie": False}, "Be fair.")
    assert system["content"] == "Be fair.\nWhich answer is better? Answer with one of: left, right."
    assert user["content"] == "Is it?\n\nAnswer left:\nYes.\n\nAnswer right:\nNo."


def test_the_score_is_accuracy():
    metrics = score(["left", "right", "tie"], ["left", None, "left"])
    assert (metrics.primary, metrics.value) == ("accuracy", pytest.approx(1 / 3))
