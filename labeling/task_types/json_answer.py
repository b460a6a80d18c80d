"""A model's answer that is one JSON value, alone or in a code fence."""

import re
from typing import Any

from projects.strict_json import parse_strict

_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


def read_json(text: str) -> Any:
    """Return the JSON value that the text is; words before or after it are none of it, so they are refused.

    Raises ValueError, with the reason in words.
    """
    fenced = _FENCED.fullmatch(text)
    return parse_strict((fenced.group(1) if fenced else text).strip())
