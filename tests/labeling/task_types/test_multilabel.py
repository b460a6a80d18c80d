import xml.etree.ElementTree as ET

import pytest

from labeling.task_types.multilabel import (
    agreement,
    consensus,
    label_config,
    parse,
    parse_completion,
    score,
    show,
    to_completion,
    to_result,
    validate_value,
)

SCHEMA = {"labels": [{"name": name} for name in ("billing", "card_lost", "a, b", "- none")]}


def test_several_labels_can_be_switched_on():
    choices = ET.fromstring(label_config(SCHEMA)).find("Choices")
    assert (choices.get("choice"), choices.get("required")) == ("multiple", "true")


def test_labels_are_read_sorted_and_each_once():
    assert parse(to_result(["b", "a"]) + to_result(["b"])) == ["a", "b"]
    with pytest.raises(ValueError, match="no label was chosen"):
        parse([])


def test_a_value_is_some_of_the_labels_each_once():
    validate_value(["billing", "a, b"], SCHEMA)
    for wrong, words in (([], "no label"), (["x"], "“x” is none"), (["billing", "billing"], "twice"),
                         ("billing", "are a list"), ([["billing"]], "is none")):
        with pytest.raises(ValueError, match=words):
            validate_value(wrong, SCHEMA)


def test_agreement_is_shared_labels_over_all_labels():
    assert agreement([["a", "b"], ["b", "c"]]) == pytest.approx(1 / 3)
    assert agreement([["a"], ["a"], ["b"]]) == pytest.approx(1 / 3)
    assert agreement([["a"], ["b"]]) == 0


def test_consensus_is_what_more_than_half_have_and_half_is_a_tie():
    assert consensus([["a", "b"], ["b", "c"], ["b", "a"]]) == ["a", "b"]
    assert consensus([["a", "b"], ["b"]]) is None  # half say a
    assert consensus([["a"], ["b"], ["c"]]) is None  # nothing stands, and an empty answer is none
    assert consensus([["a", "b"], ["b"]], [2, 1]) == ["a", "b"]
    assert consensus([["a", "b"], ["b"]], [1, 2]) == ["b"]


@pytest.mark.parametrize("text", [
    "billing\ncard_lost", "card lost, Billing.", "- Billing\n- card lost", "1. billing\n2. card_lost",
    "* billing, card lost"])
def test_a_completion_is_lines_commas_or_bullets(text):
    assert parse_completion(text, SCHEMA) == ["billing", "card_lost"]


def test_labels_with_commas_and_bullets_in_them_are_read():
    assert parse_completion(to_completion(["a, b", "- none"]), SCHEMA) == ["- none", "a, b"]


@pytest.mark.parametrize("text", ["", "\n", "billing and card_lost", "billing\nrefund", "labels: billing"])
def test_a_completion_with_anything_else_is_no_answer(text):
    with pytest.raises(ValueError, match=r"none of the labels|names no label"):
        parse_completion(text, SCHEMA)


def test_the_score_is_macro_f1_and_exact_match():
    metrics = score([["a", "b"], ["a"], ["b"]], [["a"], ["a", "c"], None])
    # a: 2 of 2, 2 given: 1; b: 0 of 2: 0; c: never wanted, given once: 0
    assert metrics.parts == pytest.approx({"macro_f1": 1 / 3, "exact_match": 0})
    half_right = score([["a"], ["b"]], [["a"], ["a"]])
    assert half_right.parts == pytest.approx({"macro_f1": (2 / 3 + 0) / 2, "exact_match": 1 / 2})


def test_labels_are_shown_between_commas():
    assert show(["a", "b"]) == "a, b"
