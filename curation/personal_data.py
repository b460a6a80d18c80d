"""Patterns of personal data that a text may hold by accident: addresses, numbers of phones, cards and accounts.

They find what has a form, nothing else: no names, no streets. Numbers that have a check digit are told from other
numbers by it: cards by Luhn's (ISO/IEC 7812-1), accounts by ISO 13616's (IBAN).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_PHONE = re.compile(r"(?<![\w.,:/-])(?:\+|00)\d{1,3}[ ./-]?(?:\(\d{1,5}\)[ ./-]?)?\d(?:[ ./-]?\d){5,12}(?!\d)"
                    r"|(?<![\w.,:/-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])")


def personal_data(text: str) -> list[str]:
    """Return what kinds of personal data the text seems to hold, each once, in a fixed order; [] if none."""
    has_digits = sum(character.isdigit() for character in text) >= 7
    return [kind for kind, find in _KINDS.items() if (has_digits or kind == EMAIL) and find(text)]


def texts_in(value: Any) -> str:
    """Return all texts of a JSON value, a line each."""
    if isinstance(value, str):
        return value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return "\n".join(filter(None, map(texts_in, parts)))


def _is_card(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0 and len(set(digits)) > 1


def _has_card(text: str) -> bool:
    return any(_is_card(re.sub(r"\D", "", found)) for found in _CARD.findall(text))


def _has_iban(text: str) -> bool:
    for found in _IBAN.findall(text):
        plain = found.replace(" ", "")
        if 15 <= len(plain) <= 34 and int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1:
            return True
    return False


EMAIL = "an e-mail address"
_KINDS: dict[str, Callable[[str], Any]] = {
    EMAIL: lambda text: "@" in text and _EMAIL.search(text), "a phone number": _PHONE.search,
    "a card number": _has_card, "an IBAN": _has_iban}
