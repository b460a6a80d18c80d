import random

import pytest

from curation.lexical import jaccard, lexical_links, shingles

WORDS = ["please", "tell", "me", "why", "the", "card", "that", "came", "with", "my", "new", "account", "does", "not",
         "work", "in", "any", "shop", "of", "this", "town"]


def sentence(seed, n=14):
    return " ".join(random.Random(seed).sample(WORDS, n))


def test_shingles_are_of_the_normalised_text():
    assert shingles("ABC  def") == {b"abc d", b"bc de", b"c def"}
    assert shingles("Hi") == {b"hi"} and shingles(" ") == set()


def test_jaccard_by_hand():
    assert jaccard("abcdef", "abcdeg") == pytest.approx(1 / 3)
    assert jaccard("Same  text", "same text") == 1.0 and jaccard("", "") == 1.0 and jaccard("", "x") == 0.0


def test_links_connect_what_shares_nearly_all_its_words():
    texts = [sentence(0), sentence(1), sentence(0) + " now", sentence(2), sentence(0) + "!", sentence(1) + "?"]
    links = lexical_links(texts).tolist()
    assert all(a < b and jaccard(texts[a], texts[b]) >= 0.8 for a, b in links)
    assert {frozenset(pair) for pair in links} <= {frozenset(pair) for pair in ((0, 2), (0, 4), (2, 4), (1, 5))}
    assert len(links) == 3  # two for the three like the first, one for the other two


def test_many_copies_need_few_links():
    assert len(lexical_links([f"{sentence(0)} {number % 10}" for number in range(300)])) == 299


def test_nothing_links_nothing():
    assert lexical_links([]).shape == (0, 2) and lexical_links(["one", "two"]).shape == (0, 2)
