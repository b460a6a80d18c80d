"""Patterns of personal data in a text: e-mail addresses, phone numbers, IBANs, payment cards.

A pattern check, no anonymisation: names, addresses and most identifiers have no pattern, so a text in which nothing is
found may still be about somebody. IBANs and cards must have their right check digits; phone numbers have none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EMAIL, PHONE, IBAN, CARD = "an e-mail address", "a phone number", "an IBAN", "a payment card number"

_DIGIT = re.compile(r"\d")
# Every repetition is bounded, so that no text takes longer than in proportion to its length.
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\.[^\W\d_]{2,24}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z\d]{4}){2,7}(?: ?[A-Z\d]{1,3})?\b")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?<!\d )(?:"
    r"(?:\+|00)\d(?:[ ().\-/]{0,2}\d){7,14}"  # +49 (0)30 123456
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4}"  # (212) 555-0123, 212-555-0123
    r"|\(?0\d{2,4}\)?[ /-]\d{3,4}[ -]?\d{3,5}"  # 030/1234567, (020) 7946 0958
    r")(?![\w-])(?! \d)")

_CARD_LENGTHS = {2: (16,), 4: (13, 16, 19), 5: (16,), 6: (16, 17, 18, 19), 30: (14,), 34: (15,), 36: (14,), 37: (15,),
                 38: (14,)}  # first digits → digits in all


@dataclass(frozen=True)
class Found:
    """What is found, as in “an e-mail address”, at text[start:end]."""

    what: str
    start: int
    end: int


def find_personal_data(text: str) -> list[Found]:
    """Return what looks like personal data, in the order of the text, nothing twice."""
    found: list[Found] = []
    is_taken = bytearray(len(text))  # the digits of a card are no phone number
    n_digits = len(_DIGIT.findall(text))
    # Most texts lack what a pattern cannot do without, and looking for that is far quicker.
    for what, pattern, is_right, is_possible in (
            (EMAIL, _EMAIL, None, "@" in text), (IBAN, _IBAN, is_iban, n_digits >= 2),
            (CARD, _CARD, is_card, n_digits >= 13), (PHONE, _PHONE, None, n_digits >= 8)):
        for match in pattern.finditer(text) if is_possible else ():
            start, end = match.span()
            if not any(is_taken[start:end]) and (is_right is None or is_right(match.group())):
                found.append(Found(what, start, end))
                is_taken[start:end] = b"\1" * (end - start)
    return sorted(found, key=lambda one: one.start)


def texts_in(value: Any) -> str:
    """Return all texts of a JSON value, a line each."""
    if isinstance(value, str):
        return value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return "\n".join(filter(None, map(texts_in, parts)))


def is_iban(written: str) -> bool:
    """Whether the check digits are right. Source: ISO 13616 with the remainder of ISO 7064, MOD 97-10."""
    plain = written.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def is_card(written: str) -> bool:
    """Whether it is as long as the network of its first digits gives out, and passes Luhn's test.

    Source: ISO/IEC 7812-1.
    """
    digits = [int(letter) for letter in written if letter.isdigit()]
    lengths = _CARD_LENGTHS.get(digits[0]) if digits[0] != 3 else _CARD_LENGTHS.get(10 * digits[0] + digits[1])
    if lengths is None or len(digits) not in lengths or len(set(digits)) == 1:
        return False
    doubled = [digit * 2 for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(digit - 9 if digit > 9 else digit for digit in doubled)) % 10 == 0
