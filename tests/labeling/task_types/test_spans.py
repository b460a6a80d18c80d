import json
import xml.etree.ElementTree as ET

import pytest

from labeling.task_types.spans import (
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

SCHEMA = {"labels": [{"name": "PLACE", "description": "a town"}, {"name": "date_of"}]}
TEXT = "😀 Rome, Rome and  New Rome in May"


def spans(*triples):
    return [{"start": start, "end": end, "label": label} for start, end, label in triples]


def test_labels_have_keys_and_colours_that_can_be_told_apart():
    config = ET.fromstring(label_config(SCHEMA, "Mark."))
    assert [(label.get("value"), label.get("hotkey"), label.get("hint")) for label in config.iter("Label")] == [
        ("PLACE", "1", "a town"), ("date_of", "2", None)]
    assert len({label.get("background") for label in config.iter("Label")}) == 2
    many = ET.fromstring(label_config({"labels": [{"name": name} for name in "abcdefghij"]}))
    assert many.find("Filter").get("toName") == "label"


def test_spans_are_read_sorted_and_each_once():
    value = spans((8, 12, "PLACE"), (2, 6, "PLACE"), (2, 6, "PLACE"))
    assert canonical(value) == parse(to_result(value)) == spans((2, 6, "PLACE"), (8, 12, "PLACE"))
    assert parse([]) == []


def test_the_copy_of_the_text_in_label_studio_is_ignored():
    marked = {"start": 8, "end": 16, "text": "Rome and", "labels": ["PLACE"]}
    assert parse([{"from_name": "label", "type": "labels", "value": marked}]) == spans((8, 16, "PLACE"))


@pytest.mark.parametrize(("marked", "words"), [
    ({"start": 1, "end": 2}, "one label, got \\[\\]"),
    ({"start": 1, "end": 2, "labels": []}, "one label"),
    ({"start": 1, "end": 2, "labels": ["a", "b"]}, "one label"),
    ({"start": 1, "end": 2, "labels": [3]}, "must be text, got 3"),
    ({"labels": ["a"]}, "whole numbers, got None"),
    ({"start": "1", "end": "2", "labels": ["a"]}, "whole numbers"),
    ({"start": 1.0, "end": 2, "labels": ["a"]}, "whole numbers"),
    ({"start": False, "end": 2, "labels": ["a"]}, "whole numbers"),
    ({"start": 2, "end": 2, "labels": ["a"]}, "end after its start, got 2–2"),
    ({"start": -1, "end": 2, "labels": ["a"]}, "start at 0"),
])
def test_a_mark_that_is_no_span_is_named(marked, words):
    with pytest.raises(ValueError, match=words):
        parse([{"from_name": "label", "type": "labels", "value": marked}])


def test_spans_lie_in_the_text_and_hold_something():
    validate_value(spans((2, 6, "PLACE"), (2, 6, "date_of"), (3, 12, "PLACE")), SCHEMA, text=TEXT)
    validate_value([], SCHEMA, text=TEXT)
    for wrong, words in ((spans((0, 1, "X")), "“X” is none"), (spans((30, 99, "PLACE")), "ends after the text"),
                         (spans((16, 17, "PLACE")), "only white space"), (spans((2, 6, "PLACE")) * 2, "marked twice"),
                         ([{"start": 1, "end": 2}], "start, end and label"), ("Rome", "list of objects"),
                         ([[1, 2, "PLACE"]], "list of objects"), (spans((4, 2, "PLACE")), "end after its start")):
        with pytest.raises(ValueError, match=words):
            validate_value(wrong, SCHEMA, text=TEXT)
    validate_value(spans((30, 99, "PLACE")), SCHEMA)  # without the text nobody can tell


def test_agreement_is_the_f1_of_spans_that_are_the_same():
    a, b = spans((0, 4, "A"), (5, 9, "A")), spans((0, 4, "A"), (5, 8, "A"), (5, 9, "B"))
    assert agreement([a, b]) == pytest.approx(2 * 1 / (2 + 3))
    assert agreement([[], []]) == 1
    assert agreement([[], a]) == 0
    assert agreement([a, a, []]) == pytest.approx(1 / 3)


def test_consensus_keeps_what_more_than_half_marked_alike():
    rome, other = (2, 6, "A"), (8, 12, "A")
    assert consensus([spans(rome, other), spans(rome), spans(rome)]) == spans(rome)
    assert consensus([spans((0, 6, "A")), spans(rome), spans(rome)]) == spans(rome)  # a version of it
    assert consensus([spans((2, 6, "B")), spans(rome), spans(rome)]) == spans(rome)
    assert consensus([spans(rome), [], []]) == consensus([[], []]) == []


def test_consensus_takes_medians_where_spans_overlap_but_differ():
    assert consensus([spans((0, 6, "A")), spans((2, 8, "A")), spans((1, 9, "A"))]) == spans((1, 8, "A"))
    assert consensus([spans((0, 6, "A")), spans((2, 8, "A"))]) == spans((0, 6, "A"))  # the lower of two medians
    assert consensus([spans((0, 6, "A")), spans((2, 8, "A"))], [1, 2]) == spans((2, 8, "A"))
    assert consensus([spans((0, 6, "A")), spans((2, 8, "B")), []]) == []  # labels differ: two spans, a third each
    assert consensus([spans((0, 4, "A")), spans((4, 8, "A")), []]) == []  # touching is not overlapping


def test_a_span_that_half_have_marked_is_a_tie():
    assert consensus([spans((2, 6, "A")), []]) is None
    assert consensus([spans((2, 6, "A")), spans((2, 6, "B"))]) is None
    assert consensus([spans((2, 6, "A")), []], [3, 2]) == spans((2, 6, "A"))
    assert consensus([spans((2, 6, "A")), []], [2, 3]) == []


def test_a_completion_names_words_and_counts_only_where_it_must():
    value = spans((2, 6, "PLACE"), (22, 26, "PLACE"), (18, 26, "date_of"))
    written = json.loads(to_completion(value, source=TEXT))
    assert written == [{"text": "Rome", "label": "PLACE"}, {"text": "New Rome", "label": "date_of"},
                       {"text": "Rome", "label": "PLACE", "occurrence": 3}]
    assert parse_completion(json.dumps(written), SCHEMA, source=TEXT) == canonical(value)


def test_the_same_words_named_twice_are_the_first_two_places():
    twice = '[{"text": "Rome", "label": "Place"}, {"text": "Rome", "label": "place"}]'
    assert parse_completion(twice, SCHEMA, source=TEXT) == spans((2, 6, "PLACE"), (8, 12, "PLACE"))
    assert parse_completion('```json\n[{"text": "May", "label": "date of"}]\n```', SCHEMA, source=TEXT) == \
        spans((30, 33, "date_of"))


@pytest.mark.parametrize(("text", "words"), [
    ("Rome", "not JSON"),
    ('{"text": "Rome", "label": "PLACE"}', "must be a JSON list"),
    ('["Rome"]', "“text” and “label”"),
    ('[{"text": "", "label": "PLACE"}]', "“text” and “label”"),
    ('[{"text": "Rome", "label": "TOWN"}]', "'TOWN' is none of the labels"),
    ('[{"text": "rome", "label": "PLACE"}]', "holds 'rome' 0 times"),
    ('[{"text": "Rome", "label": "PLACE", "occurrence": 4}]', "holds 'Rome' 3 times, not an occurrence 4"),
    ('[{"text": "Rome", "label": "PLACE", "occurrence": 0}]', "not an occurrence 0"),
    ('[{"text": "Rome", "label": "PLACE", "occurrence": true}]', "not an occurrence True"),
    ('[{"text": "Rome", "label": "PLACE", "occurrence": "2"}]', "not an occurrence '2'"),
])
def test_a_completion_that_names_no_place_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_completion(text, SCHEMA, source=TEXT)


def test_a_span_without_its_source_cannot_be_written():
    assert to_completion([]) == "[]"
    with pytest.raises(ValueError, match="must lie in the source, which has 0 characters"):
        to_completion(spans((2, 6, "PLACE")))


def test_the_prompt_names_the_labels():
    [system, user] = render(TEXT, {}, SCHEMA, "Mark.")
    assert system["content"].startswith("Mark.\nPLACE: a town\n")
    assert "one of: PLACE, date_of" in system["content"]
    assert user["content"] == TEXT


def test_the_score_is_strict_and_partial_f1():
    gold = [spans((0, 4, "A"), (6, 9, "A"), (20, 24, "B")), spans((0, 4, "A")), []]
    predicted = [spans((0, 4, "A"), (5, 9, "A"), (20, 24, "A")), None, spans((1, 2, "A"))]
    # 4 gold, 3 + 1 + 1 predicted; 1 right, 1 overlaps with the right label
    assert score(gold, predicted).parts == pytest.approx({"strict_f1": 2 / 9, "partial_f1": 2 * 1.5 / 9})


def test_a_gold_span_is_found_in_part_only_once():
    halves = score([spans((0, 8, "A"))], [spans((0, 3, "A"), (4, 8, "A"))])
    assert halves.parts == pytest.approx({"strict_f1": 0, "partial_f1": 2 * 0.5 / 3})
    assert score([[], []], [[], None]).value == 0
    assert score([[]], [[]]).value == 1


def test_spans_are_shown_by_their_words_or_their_places():
    assert show(spans((8, 12, "PLACE"), (18, 26, "PLACE")), source=TEXT) == "Rome (PLACE), New Rome (PLACE)"
    assert show(spans((8, 12, "PLACE"))) == "8–12 (PLACE)"
    assert show([]) == "nothing marked"
