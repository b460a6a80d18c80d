from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from projects.word_diff import MAX_WORDS, Piece, word_diff


def shown(before: str, after: str) -> str:
    marks = {"same": "{}", "gone": "[-{}-]", "new": "{{+{}+}}"}
    return "".join(marks[piece.kind].format(piece.text) for piece in word_diff(before, after))


def test_what_went_stands_before_what_came() -> None:
    assert shown("the cat sat down", "the dog ran down") == "the [-cat sat-]{+dog ran+} down"


def test_a_sentence_that_is_added_leaves_the_others_alone() -> None:
    assert shown("Say refund.", "Say refund. Or money back.") == "Say refund.{+ Or money back.+}"


def test_a_line_that_moved_away_is_one_change() -> None:
    assert shown("one\ntwo\nthree\n", "one\nthree\n") == "one\n[-two\n-]three\n"


def test_punctuation_is_a_word_of_its_own() -> None:
    assert shown("refund, please", "refund; please") == "refund[-,-]{+;+} please"


def test_chinese_is_compared_character_by_character() -> None:
    assert shown("退款申请", "退货申请") == "退[-款-]{+货+}申请"


def test_equal_texts_are_one_piece_and_empty_ones_none() -> None:
    assert word_diff("a b\n c", "a b\n c") == [Piece("a b\n c", "same")]
    assert word_diff("", "") == []
    assert word_diff("", "new") == [Piece("new", "new")]


def test_a_change_of_too_many_words_is_shown_whole() -> None:
    before, after = "a " * MAX_WORDS + "a", "b b b"
    assert word_diff(before, after) == [Piece(before, "gone"), Piece(after, "new")]


texts = st.text(alphabet="ab .,\n\t退款é\u200b", max_size=40)


@given(texts, texts)
def test_both_texts_can_be_read_out_of_the_pieces(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after
    assert all(piece.text for piece in pieces)
    assert all(a.kind != b.kind for a, b in pairwise(pieces))
