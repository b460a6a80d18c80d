import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.exchange_id import Named, new_id, read_id

NAMED = Named(project=7, deployment=3, milliseconds=1_795_000_000_123)


def test_an_id_says_what_went_in_and_is_new_every_time():
    one, other = new_id(NAMED, secret="s"), new_id(NAMED, secret="s")
    assert one != other and read_id(one, secret="s") == read_id(other, secret="s") == NAMED
    assert len(one) <= 60, "the column's length"


@given(st.integers(3, 50), st.characters(codec="ascii"))
def test_an_id_with_another_character_is_none(place, character):
    name = new_id(NAMED, secret="s")
    changed = name[:place] + character + name[place + 1:]
    if changed != name:
        with pytest.raises(ValueError, match="no id"):
            read_id(changed, secret="s")


@given(st.text(max_size=80))
def test_nothing_else_is_an_id(said):
    with pytest.raises(ValueError, match="no id"):
        read_id(said, secret="s")
    with pytest.raises(ValueError, match="no id"):
        read_id(f"ex-{said}", secret="s")


def test_only_its_own_key_reads_it():
    with pytest.raises(ValueError, match="no id"):
        read_id(new_id(NAMED, secret="s"), secret="t")
