"""What looks like personal data, covered: e-mail addresses, phone numbers, IBANs, payment cards.

A pattern check, no anonymisation (`curation.personal_data`): names and addresses have no pattern and stay.
"""

from collections.abc import Mapping
from typing import Any

from curation.personal_data import find_personal_data

COVER = "•"


def mask(text: str) -> str:
    """Return the text with every character of what is found covered but spaces, as long as before: spans stay right."""
    for found in find_personal_data(text):
        covered = "".join(letter if letter.isspace() else COVER for letter in text[found.start:found.end])
        text = text[:found.start] + covered + text[found.end:]
    return text


def mask_all(value: Any) -> Any:
    """Return a JSON value with every text in it masked; names of fields stay."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {name: mask_all(part) for name, part in value.items()}
    return [mask_all(part) for part in value] if isinstance(value, list) else value
