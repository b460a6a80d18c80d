import pytest

from curation.answers import NOTHING_MARKED, Answers, rarest_names

LABELS = {"labels": [{"name": "billing"}, {"name": "bug"}, {"name": "praise"}]}
SETS = Answers("multilabel", LABELS)
SPANS = Answers("spans", {"labels": [{"name": "PERSON"}, {"name": "PLACE"}]})
RECORDS = Answers("extraction", {"json_schema": {"type": "object", "required": ["party"], "properties": {
    "party": {"type": "string"}, "sum": {"type": "number"}}}})
TEXT = "Ada met Ada in Rome."


def marked(*spans):
    return [{"start": start, "end": end, "label": label} for start, end, label in spans]


def test_the_label_of_a_class_is_the_class():
    answers = Answers("classification", LABELS)
    assert (answers.label("bug"), answers.value("bug"), answers.show("bug"), answers.names_in("bug")) == (
        "bug", "bug", "bug", ["bug"])
    with pytest.raises(ValueError, match="none of the labels"):
        answers.value("furious")


def test_a_set_is_one_label_whatever_its_order():
    assert SETS.label(["bug", "billing"]) == SETS.label(["billing", "bug"]) == "billing\nbug"
    assert SETS.names_in("billing\nbug") == ["billing", "bug"] and SETS.show("billing\nbug") == "billing, bug"


def test_spans_are_found_again_in_their_text():
    value = marked((8, 11, "PERSON"), (15, 19, "PLACE"))
    label = SPANS.label(value, source=TEXT)
    assert SPANS.value(label, source=TEXT) == value
    assert SPANS.names_in(label) == ["PERSON", "PLACE"] and SPANS.names_in("[]") == []
    assert SPANS.value(SPANS.draft(label), source=TEXT) == value
    assert SPANS.show(label, source=TEXT) == "Ada (PERSON), Rome (PLACE)"


def test_a_text_that_looks_like_a_label_is_none():
    answers = Answers("spans", {"labels": [{"name": 'say "so"'}]})
    text = 'x "label": "PERSON" y'
    label = answers.label(marked((0, len(text), 'say "so"')), source=text)
    assert answers.names_in(label) == ['say "so"']


def test_the_text_is_cut_where_spans_begin_and_end():
    label = SPANS.label(marked((0, 3, "PERSON"), (2, 7, "PLACE")), source=TEXT)
    assert SPANS.pieces(label, source=TEXT) == [
        ("Ad", "PERSON"), ("a", "PERSON, PLACE"), (" met", "PLACE"), (" Ada in Rome.", "")]
    assert SPANS.pieces("[]", source=TEXT) == [(TEXT, "")] and SETS.pieces("bug", source=TEXT) == []
    assert SPANS.pieces(label, source="Other") == []


def test_a_label_that_the_schema_does_not_know_any_more_is_shown_as_it_is():
    assert SETS.show("angry") == "angry" and RECORDS.show("{") == "{" and RECORDS.show("") == ""


def test_the_consensus_of_records_must_be_a_record():
    said = [{"party": "Ada", "sum": 20}, {"party": "ada", "sum": 20}, {"party": "Ada", "sum": 30}]
    assert RECORDS.consensus(said) == '{"party": "Ada", "sum": 20}'
    assert RECORDS.consensus([{"sum": 20}] * 3) is None  # all agree, and the party that is required is not there
    assert RECORDS.consensus([]) is None


def test_records_and_texts_are_read_whole_by_whoever_decides():
    assert RECORDS.full('{"party": "Ada"}') == '{\n  "party": "Ada"\n}' == RECORDS.draft('{"party": "Ada"}')
    assert Answers("response", {}).full("One.\nTwo.") == "One.\nTwo." and SETS.draft("bug") == ""


def test_a_set_counts_for_its_rarest_name():
    labels = ["bug", "billing\nbug", None, "bug\npraise", "billing\npraise"]
    # bug 3, billing 2, praise 2
    assert rarest_names(SETS, labels) == ["bug", "billing", None, "praise", "billing"]
    assert rarest_names(SPANS, ["[]", None]) == [NOTHING_MARKED, None]


@pytest.mark.parametrize(("task_type", "joint", "has_model"), [
    ("classification", "majority", True), ("multilabel", "consensus", True), ("preference", "majority", False),
    ("spans", "consensus", False), ("extraction", "consensus", False), ("response", "consensus", False),
    ("chat", "consensus", False)])
def test_every_type_says_how_its_answers_settle_and_why_no_model_doubts_them(task_type, joint, has_model):
    answers = Answers(task_type, {})
    assert answers.joint == joint and (answers.no_model == "") == has_model
