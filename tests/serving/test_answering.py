import math
from dataclasses import replace

import pytest

from serving.answering import Question, Reply, Served, read
from tests.training.kinds import RECORD
from training.prompts import short

LABELS = {"labels": [{"name": "refund_asked"}, {"name": "praise"}]}
SERVED = Served("shop/champion", 1, short(LABELS), bias=(0.0, 0.0))
QUESTION = Question("My parcel 17 to Lima is late.")


def test_the_likeliest_label_answers_with_its_probability():
    answer = read(SERVED, QUESTION, Reply(scores=(math.log(0.2), math.log(0.1)), label_tokens=(4, 2)))
    assert (answer.value, answer.frozen, answer.text) == ("refund_asked", "refund_asked", "refund asked")
    assert answer.probabilities == pytest.approx({"refund_asked": 2 / 3, "praise": 1 / 3}) and answer.answer_tokens == 4


def test_the_balance_of_the_evaluation_counts():
    tipped = replace(SERVED, bias=(0.0, math.log(4)))
    answer = read(tipped, QUESTION, Reply(scores=(math.log(0.2), math.log(0.1))))
    assert answer.value == "praise" and answer.probabilities["praise"] == pytest.approx(2 / 3)


def test_a_label_that_was_written_is_found_among_words():
    assert read(SERVED, QUESTION, Reply(text="I think: Praise.")).value == "praise"
    unclear = read(SERVED, QUESTION, Reply(text="praise or refund asked"))
    assert (unclear.value, unclear.frozen) == (None, None) and "several" in unclear.problem


def test_a_refusal_is_no_answer_whatever_its_words_name():
    refused = read(SERVED, QUESTION, Reply(text="praise", refusal="I cannot praise anybody."))
    assert (refused.value, refused.frozen) == (None, None) and "refused to answer: I cannot praise" in refused.problem


def test_a_record_is_read_or_says_why_not():
    served = Served("shop/champion", 1, short(RECORD, "extraction"))
    good = read(served, QUESTION, Reply(text='{"parcel": 17, "city": "Lima"}'))
    assert good.value == {"city": "Lima", "parcel": 17} and good.frozen == '{"city": "Lima", "parcel": 17}'
    bad = read(served, QUESTION, Reply(text='{"city": "Lima"}'))
    assert bad.value is None and "parcel" in bad.problem and bad.text == '{"city": "Lima"}'
