from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.wordings import bare_words, is_slip, same_wordings, spellings, wording_links

QUESTION = "Why was my card declined?"


@pytest.mark.parametrize("text", [
    "why was my  CARD declined", "Hi, why was my card declined?", "Good morning! Why was my card declined?",
    "Please why was my card declined? Thanks a lot.", "Hello there, why was my card declined? Thank you in advance!",
    "Why was my card declined? My reference is 48213.", "Why was my card declined? Ticket number: AB48213",
    "Dear support team, why was my card declined? (Ref. 4821377)", "why was my card declined My reference is 77123."])
def test_greetings_thanks_and_reference_numbers_say_nothing(text):
    assert bare_words(text) == bare_words(QUESTION) == ("why", "was", "my", "card", "declined")


@pytest.mark.parametrize(("text", "other"), [
    ("Why was I charged $1 for this?", "Why was I charged €1 for this?"),
    ("Can I top up 100 by card?", "Can I top up 200 by card?"),
    ("I paid $48213 for my car", "I paid $48214 for my car"),
    ("My card is broken", "Is my card broken?"), ("Please help", "Please help me with my card"),
    ("Where is my order 48213?", "Where is my refund 48213?"), ("Hello", "Thanks"),
    ("I passed the exam :)", "I passed the exam :("), ("I passed the exam:)", "I passed the exam"),
    ("I passed the exam \N{GRINNING FACE}", "I passed the exam \N{POUTING FACE}")])
def test_amounts_order_and_other_words_stay_different(text, other):
    assert bare_words(text) != bare_words(other)


def test_where_little_would_be_left_everything_is_kept():
    assert bare_words("Hi there, thanks") == ("hi", "there", "thanks") and bare_words("?!") == ()
    assert bare_words("Hello, 48213") == ("hello", "#")


@pytest.mark.parametrize(("a", "b", "expected"), [
    ("account", "acocunt", True), ("card", "crad", True), ("charged", "chaged", True), ("verify", "verrify", True),
    ("transfer", "transger", True), ("card", "cord", False), ("send", "spend", True), ("sent", "send", False),
    ("upload", "unload", True),
    ("enable", "unable", False), ("money", "money", False), ("increase", "decrease", False), ("form", "from", True),
    ("activate", "reactivate", False), ("account", "acocnt", False)])
def test_one_slip_of_the_fingers(a, b, expected):
    assert is_slip(a, b) is is_slip(b, a) is expected


def test_a_rare_word_is_taken_for_the_commonest_one_a_slip_away():
    counts = Counter({"account": 900, "acocunt": 8, "accounts": 40, "accoount": 2, "verify": 1, "verfiy": 1, "mony": 1})
    assert spellings(counts) == {"acocunt": "account", "accoount": "account", "verify": "verfiy"}
    assert spellings(Counter({"send": 2, "spend": 4})) == {}
    assert spellings(Counter({"sned": 2, "send": 3, "spennd": 1, "spend": 5})) == {"sned": "send", "spennd": "spend"}


def test_rows_of_one_bare_wording_are_linked_to_its_first():
    texts = [QUESTION, "Where is my money?", "Why was my card delcined?", "?", "Hi, where is my moeny?", "!",
             "Where is your money?"]
    found = same_wordings(texts)
    assert found.tolist() == [0, 1, 0, 3, 1, 5, 6]
    assert wording_links(found).tolist() == [[0, 2], [1, 4]]
    assert wording_links(same_wordings([])).shape == (0, 2)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.lists(st.text(alphabet="abd #1,.é", max_size=20), max_size=8))
def test_the_first_of_a_wording_is_its_own(texts):
    found = same_wordings(texts)
    assert (found[found] == found).all() and (found <= np.arange(len(texts))).all()
    assert len(texts) == len(found)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.lists(st.sampled_from(["hi", "my", "card", "crad", "ref", "48213", "$5", "please,", "lost."]), max_size=9))
def test_case_and_space_change_nothing(words):
    assert bare_words(" ".join(words)) == bare_words("  ".join(words).upper())
