import random

import pytest
from hypothesis import given, settings

from labeling.task_types.free_text import agreement, counts, medoid, rouge_l, similarity
from labeling.texts import normalise
from tests.labeling.task_types.strategies import TEXTS


def test_similarity_is_the_f1_of_shared_runs_of_characters():
    # n=1: 3 of 4 shared (a b c); n=2: 2 of 3 (ab bc); n=3: 1 of 2 (abc); n=4: none
    assert similarity("abcd", "abce") == pytest.approx((3 / 4 + 2 / 3 + 1 / 2 + 0) / 4)
    assert similarity("abc", "xyz") == 0
    assert similarity("a", "") == 0


def test_similarity_looks_past_case_width_and_spaces():
    assert similarity("Three  months.", "three months.\n") == 1
    assert similarity("", " ") == 1


def test_unrelated_sentences_are_little_alike_and_rewordings_more():
    notice = "The tenant must give three months notice before the end of the lease."
    reworded = "A tenant has to give notice three months before the lease ends."
    bananas = "Bananas ripen faster in a paper bag because ethylene gas is kept inside it."
    assert similarity(notice, bananas) < 0.2 < 0.5 < similarity(notice, reworded)


def test_scripts_without_spaces_are_compared_too():
    assert 0.3 < similarity("東京は日本の首都です", "日本の首都は東京です") < 1


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_similarity_is_a_share_and_the_same_both_ways(a, b):
    assert 0 <= similarity(a, b) <= 1
    assert similarity(a, b) == pytest.approx(similarity(b, a))
    assert similarity(a, a) == 1


def test_agreement_is_the_mean_over_pairs():
    assert agreement(["abcd", "abce", "abcd"]) == pytest.approx((2 * similarity("abcd", "abce") + 1) / 3)


def test_the_medoid_is_most_like_all_and_two_that_differ_are_a_tie():
    assert medoid(["abce", "abcd", "abcde"]) == "abcd"
    assert medoid(["abcd", " abcd "]) == "abcd"
    assert medoid(["abcd", "wxyz"]) is None
    assert medoid([" only one "]) == "only one"
    assert medoid([]) is None
    assert medoid(["abcd", "abce"], [1, 2]) == "abce"  # of two, the one that is trusted more


def longest_common_subsequence(a, b):
    rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            rows[i][j] = rows[i - 1][j - 1] + 1 if x == y else max(rows[i - 1][j], rows[i][j - 1])
    return rows[-1][-1]


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
    assert rouge_l("police killed the gunman", "Police kill the gunman!") == pytest.approx(3 / 4)  # Lin's example
    assert rouge_l("police killed the gunman", "the gunman kill police") == pytest.approx(2 / 4)
    assert rouge_l("a b", "c") == 0
    draw = random.Random(0)
    for _ in range(200):
        a, b = (draw.choices("abcd", k=draw.randint(1, 100)) for _ in range(2))
        expected = 2 * longest_common_subsequence(a, b) / (len(a) + len(b))
        assert rouge_l(" ".join(a), " ".join(b)) == pytest.approx(expected)


def test_rouge_l_counts_chinese_characters_and_answers_without_words():
    assert rouge_l("东京", "东海") == pytest.approx(1 / 2)
    assert (rouge_l("👍", "👍"), rouge_l("👍", "👎"), rouge_l("yes", "👍")) == (1, 0, 0)


@given(TEXTS)
def test_rouge_l_of_a_text_with_itself_is_1(text):
    assert rouge_l(text, normalise(text)) == 1


def test_the_score_is_the_mean_rouge_l_and_an_unreadable_answer_is_0():
    assert counts(["a b", "c"], ["a", None]).metrics.value == pytest.approx((2 / 3 + 0) / 2)
