import pytest

from curation.answers import Answers
from curation.text_checks import (
    CUT_TEXT,
    CUT_WORD,
    EMPTY_TEXT,
    MID_SENTENCE,
    NOT_VALID,
    NOTHING,
    OVERLAP,
    PERSONAL,
    PROMPT,
    REFUSES,
    REPEATED,
    SPACE,
    Answered,
    check_answers,
    ends_in_mid_sentence,
    kind_of,
    not_said,
)

WRITING = Answers("response", {})
RECORDS = Answers("extraction", {"json_schema": {"type": "object", "properties": {
    "party": {"type": "string"}, "sum": {"type": "number"}, "signed": {"type": "string"}, "urgent": {"type": "boolean"},
    "kind": {"type": "string", "enum": ["lease", "sale"]}, "things": {"type": "array", "items": {"type": "string"}},
    "seat": {"type": "object", "properties": {"town": {"type": "string"}}}}}})
SPANS = Answers("spans", {"labels": [{"name": "PERSON"}, {"name": "PLACE"}]})
LONG = "The court has held that the notice was given in time, and that the tenant has to leave the house"


def failed(text, value, answers=RECORDS):
    label = answers.label(value, source=text)
    return set(check_answers([Answered(text, label, 0)], answers).n_failed)


@pytest.mark.parametrize(("answer", "is_cut"), [
    (LONG, True), (f"{LONG}.", False), (f"{LONG}!”", False), (f"{LONG},", True), (f"{LONG}:\n- the keys", False),
    (f"{LONG}:\n2. the keys", False), (f"{LONG} 12", True), (f"{LONG}。", False), ("", False)])
def test_an_answer_is_cut_off_if_it_ends_within_a_sentence(answer, is_cut):
    assert ends_in_mid_sentence(answer) == is_cut


def test_short_answers_need_no_full_stop():
    assert not failed("Where is it?", "In Paris", WRITING)
    assert failed("Where is it?", LONG, WRITING) == {MID_SENTENCE}


def test_an_answer_that_repeats_its_text_is_told():
    assert failed("Where is  the house?", "where is the house?", WRITING) == {PROMPT}
    assert failed("Where is the old house?", "Where is the old house? In Paris.", WRITING) == {PROMPT}
    assert not failed("Where?", "Where? In Paris.", WRITING)
    last = "Where is the old house?"
    assert check_answers([Answered(f"user: Hello\nuser: {last}", last, 0, last)], WRITING).n_failed == {PROMPT: 1}


@pytest.mark.parametrize(("answer", "refuses"), [
    ("I’m sorry, but I can’t help with that.", True), ("As an AI language model, I have no opinion.", True),
    ("I cannot provide legal advice.", True), ("Unfortunately, I am unable to assist.", True),
    ("Es tut mir leid, aber ich kann das nicht.", True), ("Lo siento, pero no puedo.", True),
    ("Sorry, we are closed on Sundays.", False), ("You cannot provide it later.", False),
    ("I cannot find my keys.", False), ("The AI cannot help.", False)])
def test_an_answer_that_declines_is_told(answer, refuses):
    assert failed("Where is it?", answer, WRITING) == ({REFUSES} if refuses else set())


def test_an_answer_of_dots_says_nothing():
    assert failed("Where is it?", "…", WRITING) == {NOTHING}


def test_texts_are_checked_with_and_without_an_answer():
    rows = [Answered("?!", None, 0), Answered("Write to ada@mail.org.", None, 1), Answered("Where?", "To a@b.org.", 2)]
    checked = check_answers(rows, WRITING)
    assert [[check for check, _ in found] for found in checked.failures] == [[EMPTY_TEXT], [PERSONAL], [PERSONAL]]
    assert checked.reasons[2] == ["Its answer holds what looks like an e-mail address (pattern check)."]
    assert not checked.n_failed  # these are no answers that fail


def test_personal_data_is_no_question_of_style():
    checked = check_answers([Answered(f"Write to ada{n}@mail.org.", "Yes.", n) for n in range(30)], WRITING)
    assert all(checked.failures) and not checked.set_aside


def test_texts_that_pile_up_at_the_greatest_length_were_cut_there():
    rows = [Answered((f"text {n} goes on and on " * 9)[:120], None, n) for n in range(8)]
    assert {check for found in check_answers(rows, WRITING).failures for check, _ in found} == {CUT_TEXT}
    assert not any(check_answers(rows[:4], WRITING).failures)  # four can be as long by chance
    assert not any(check_answers([*rows, Answered("word " * 30, None, 9)], WRITING).failures)


def test_what_was_found_before_is_not_found_again():
    rows = [Answered(f"Text {n}", f"{LONG} {n}", n) for n in range(20)]
    first = check_answers(rows, WRITING)
    assert check_answers(rows, WRITING, known=first.outcomes) == first
    assert check_answers(rows, WRITING, known=[[(PROMPT, "Taken over.")], *[None] * 19]).reasons[0] == ["Taken over."]


def test_every_check_is_of_a_kind():
    assert kind_of(not_said("party")) == "not_in_source" and kind_of(NOT_VALID) == "invalid"
    assert kind_of(SPACE) == "span" and kind_of(REFUSES) == "refusal" and kind_of(PERSONAL) == "pii"


def test_the_same_answer_to_three_unlike_texts_is_told_and_to_copies_of_one_text_is_not():
    same = "Please write to our office."
    checked = check_answers([Answered(f"Text {n}", same, n) for n in range(3)], WRITING)
    assert checked.n_failed == {REPEATED: 3}
    assert checked.reasons[0] == ["The same answer was given to 3 different texts."]
    assert not check_answers([Answered(f"Text {n}", same, 7) for n in range(3)], WRITING).n_failed
    assert not check_answers([Answered(f"Text {n}", "Yes.", n) for n in range(3)], WRITING).n_failed


def test_what_most_answers_do_is_style_and_held_against_nobody():
    rows = [Answered(f"Text {n}", f"{LONG} {n}" + ("" if n < 11 else "."), n) for n in range(20)]
    checked = check_answers(rows, WRITING)
    assert not any(checked.reasons) and not checked.n_failed
    assert checked.set_aside[MID_SENTENCE].startswith("11 of 20 answers do so")
    assert check_answers(rows[1:], WRITING).n_failed == {MID_SENTENCE: 10}  # of 19: too few to speak of style


@pytest.mark.parametrize(("value", "wrong"), [
    ({"party": "Ada Byron"}, None), ({"party": "byron, ADA"}, None), ({"party": "Emmy Noether"}, "party"),
    ({"sum": 1200.5}, None), ({"sum": 3400}, None), ({"sum": 99}, "sum"), ({"sum": 3}, None),
    ({"signed": "2024-03-05"}, None), ({"signed": "2023-03-05"}, "signed"), ({"urgent": True}, None),
    ({"kind": "lease"}, None), ({"things": ["house", "boat"]}, "things"), ({"seat": {"town": "Rome"}}, "seat.town")])
def test_a_value_has_to_stand_in_its_text(value, wrong):
    text = "On 5 March 2024 Ada Byron bought a house in Paris for 1.200,50 and three gardens for 3,400 francs."
    assert failed(text, value) == ({not_said(wrong)} if wrong else set())


def test_the_reason_names_the_field_and_the_value():
    checked = check_answers([Answered("Ada came.", '{"party": "Kurt"}', 0)], RECORDS)
    assert checked.reasons == [["“party” is “Kurt”, which the text does not say."]]


def test_an_answer_that_the_schema_does_not_know_any_more_is_told():
    checked = check_answers([Answered("Ada came.", '{"age": 3}', 0), Answered("Ada", "{}", 1)], RECORDS)
    assert checked.n_failed == {NOT_VALID: 1} and "“age”" not in checked.reasons[1]
    assert checked.reasons[0][0].startswith("It is no answer under the schema as it is now:")


@pytest.mark.parametrize(("spans", "wrong"), [
    ([(0, 3, "PERSON")], set()), ([(0, 2, "PERSON")], {CUT_WORD}), ([(1, 3, "PERSON")], {CUT_WORD}),
    ([(0, 4, "PERSON")], {SPACE}), ([(0, 3, "PERSON"), (0, 7, "PLACE")], set()),
    ([(0, 7, "PERSON"), (4, 7, "PERSON")], {OVERLAP}), ([(12, 16, "PLACE")], set()), ([], set())])
def test_spans_are_whole_words_that_do_not_overlap(spans, wrong):
    value = [{"start": start, "end": end, "label": label} for start, end, label in spans]
    assert failed("Ada met Kurt, in Rome"[:7] + " him Rome", value, SPANS) == wrong


def test_scripts_without_spaces_have_no_words_to_cut():
    assert not failed("我住在北京市", [{"start": 3, "end": 5, "label": "PLACE"}], SPANS)
