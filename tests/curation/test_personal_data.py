import pytest

from curation.personal_data import personal_data, texts_in


@pytest.mark.parametrize(("text", "found"), [
    ("Write to Jane.Doe+x@mail.example.co.uk!", ["an e-mail address"]),
    ("Call +49 170 1234567 or 0049 (89) 123 456", ["a phone number"]),
    ("(415) 555-2671", ["a phone number"]),
    ("4111 1111 1111 1111", ["a card number"]),  # a test number whose check digit is right
    ("4111 1111 1111 1112", []),
    ("GB82 WEST 1234 5698 7654 32", ["an IBAN"]),
    ("GB82 WEST 1234 5698 7654 33", []),
    ("a@b.de, +1 212 555 0100", ["an e-mail address", "a phone number"]),
    ("@jane see you at 12:30:15 on 2024-01-05, order 1234567890, version 1.2.3.4567890, $ 1,234,567.89", []),
    ("", [])])
def test_what_has_a_form_is_found_and_other_numbers_are_not(text, found):
    assert personal_data(text) == found


def test_texts_are_found_wherever_they_are():
    assert texts_in({"a": "x", "b": [{"c": "y"}, 3, None]}) == "x\ny"
