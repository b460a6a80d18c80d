import pytest

from curation.personal_data import CARD, EMAIL, IBAN, PHONE, find_personal_data, is_card, is_iban, texts_in


@pytest.mark.parametrize(("text", "what"), [
    ("Write to ada.byron+bank@mail.example.org, please.", [EMAIL]),
    ("Grüße an jürgen@münchen.de!", [EMAIL]),
    ("@mention is no address, and neither is a@b", []),
    ("My IBAN is DE89 3704 0044 0532 0130 00.", [IBAN]),
    ("GB82WEST12345698765432 is mine", [IBAN]),
    ("DE89370400440532013001 has a wrong digit", []),
    ("Card 4111 1111 1111 1111 was declined", [CARD]),
    ("Card 4111-1111-1111-1112 was declined", []),
    ("Order 1234567890123456 is late", []),
    ("Call +49 (0)30 123456-78 or (212) 555-0123", [PHONE, PHONE]),
    ("Call 212-555-0123 or 030/1234567", [PHONE, PHONE]),
    ("On 2024-03-05 at 10:30 I paid 1,200.50 for 3 of 1200", []),
    ("Order 0012345 of 05.03.2024, version 1.2.3.4", []),
    ("0101 1110 0001 1010 is no number", []),
    ("", [])])
def test_what_has_the_pattern_and_the_check_digits_is_found(text, what):
    assert [found.what for found in find_personal_data(text)] == what


def test_it_says_where():
    text = "Ask ada@mail.org or call +1 212 555 0123."
    assert [text[found.start:found.end] for found in find_personal_data(text)] == ["ada@mail.org", "+1 212 555 0123"]


def test_check_digits_are_those_of_the_standards():
    assert is_iban("FR14 2004 1010 0505 0001 3M02 606") and not is_iban("FR14 2004 1010 0505 0001 3M02 607")
    assert is_card("5500 0000 0000 0004") and is_card("378282246310005") and not is_card("0000000000000000")


@pytest.mark.parametrize("text", ["a" * 200_000, "1 " * 100_000, "AB12 " * 40_000, "a.b@" * 50_000, "+1 (" * 50_000])
def test_a_hostile_text_ends_soon(text):
    assert not find_personal_data(text)  # what grows with the square takes minutes here


def test_many_addresses_are_all_found():
    assert len(find_personal_data("a@b.org " * 20_000)) == 20_000


def test_texts_are_found_wherever_they_are():
    assert texts_in({"a": "x", "b": [{"c": "y"}, 3, None]}) == "x\ny"
