import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.texts import content_sha256, normalise, split_of


@pytest.mark.parametrize(("text", "same"), [
    ("  Hello,\tWORLD \r\n", "hello, world"),
    ("Straße", "strasse"),
    ("ﬁne\u00a0print", "fine print"),
    ("cafe\u0301", "caf\u00e9"),
    ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
    ("\x1fa\x1cb", "a b"),
    ("", ""),
])
def test_texts_are_compared_without_case_width_and_spacing(text, same):
    assert normalise(text) == same
    assert content_sha256(text) == hashlib.sha256(same.encode()).hexdigest()


def test_punctuation_and_accents_tell_texts_apart():
    assert len({content_sha256(text) for text in ("refund", "refund!", "réfund", "re fund")}) == 4


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(st.characters(codec="ascii")))
def test_the_fast_path_for_ascii_gives_what_the_long_way_gives(text):
    assert normalise(text) == normalise(text + "é").removesuffix("é").strip()


def test_half_a_surrogate_pair_has_no_hash():
    with pytest.raises(ValueError, match="surrogates"):
        content_sha256("\ud800")


# Never to change: examples would move between the splits of every project.
SPLITS = ["pool", "pool", "test", "pool", "pool", "pool", "pool", "pool"]


def test_a_split_depends_on_salt_and_group_alone():
    assert [split_of(f"customer {i}", "salt") for i in range(8)] == SPLITS
    assert [split_of(f"customer {i}", "other salt") for i in range(8)] != SPLITS


def test_splits_have_their_shares():
    counts = Counter(split_of(str(i), "salt") for i in range(20_000))
    assert counts["pool"] == pytest.approx(12_800, rel=0.02)
    assert counts["dev"] == pytest.approx(1_600, rel=0.06)
    assert counts["test"] == pytest.approx(5_600, rel=0.04)


def test_shares_are_checked_and_may_be_nothing():
    assert {split_of(str(i), "salt", (0, 0, 1)) for i in range(50)} == {"test"}
    assert {split_of(str(i), "salt", (1, 0, 0)) for i in range(50)} == {"pool"}
    for shares in ((0.5, 0.5, 0.5), (1.5, -0.5, 0.0), (0.1, 0.1, 0.1)):
        with pytest.raises(ValueError, match="add up to 1"):
            split_of("group", "salt", shares)
