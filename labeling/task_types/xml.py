"""Text of strangers inside Label Studio's XML: it can neither end an attribute nor name a field of the task."""

import re
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from projects.schema import FIELD_REFERENCE

N_HOTKEYS = 9  # the digit keys
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # no XML 1.0 can hold these


def attribute(text: str) -> str:
    """Return the text on one line as a quoted XML attribute, with nothing in it that Label Studio would replace.

    A word joiner, which is not seen, keeps “$100” from being a field's name; a character that XML cannot hold
    becomes a replacement character.
    """
    line = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return quoteattr(FIELD_REFERENCE.sub("$\N{WORD JOINER}", line))


def headers(*texts: str) -> list[str]:
    """Return a header for every line of the texts that is not blank."""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return [f'  <Header size="6" value={attribute(line)}/>' for line in lines]


def option(tag: str, label: Mapping[str, str], position: int, more: str = "") -> str:
    """Return one label as a <Choice> or <Label>: its name as it is, its description as a hint, keys 1 to 9."""
    description = label.get("description", "")
    hint = f" hint={attribute(description)}" if description.strip() else ""
    hotkey = f' hotkey="{position}"' if position <= N_HOTKEYS else ""
    return f"    <{tag} value={quoteattr(label['name'])}{hint}{hotkey}{more}/>"
