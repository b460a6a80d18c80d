"""Two versions of a text, word by word: what stayed, what went, what came."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "gone", "new"]

MAX_WORDS = 1500  # a change of more words on either side is shown whole: comparing costs their product
_CJK = "\u3040-\u30ff\u3400-\u9fff"  # written without spaces: a character is a word
_WORD = re.compile(rf"([{_CJK}]|[^\W{_CJK}]+|[^\w\s]|\A(?=\s))(\s*)")


@dataclass(frozen=True)
class Piece:
    """A run of words that is in both texts, or only in the earlier one, or only in the later one."""

    text: str
    kind: Kind


def word_diff(before: str, after: str) -> list[Piece]:
    """Return both texts as one list of pieces in reading order, no two neighbours of one kind.

    The pieces that are not new are `before`, those that are not gone are `after`, character by character; of a change
    what went comes first. Lines are compared first, then the words of the lines that changed; white space at the end
    of both sides of a change stayed.
    """
    found: list[tuple[str, Kind]] = []
    for is_same, old, new in _blocks(before.splitlines(keepends=True), after.splitlines(keepends=True)):
        found += [("".join(old), "same")] if is_same else _words("".join(old), "".join(new))
    return _joined(found)


def _words(before: str, after: str) -> Iterator[tuple[str, Kind]]:
    old_words, new_words = _WORD.findall(before), _WORD.findall(after)
    if max(len(old_words), len(new_words)) > MAX_WORDS:
        yield from ((before, "gone"), (after, "new"))
        return
    matcher = SequenceMatcher(None, [word for word, _ in old_words], [word for word, _ in new_words], autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            yield _text(old_words[start:end]), "gone"
            yield _text(new_words[new_start:new_end]), "new"
            continue
        for (word, old_space), (_, new_space) in zip(old_words[start:end], new_words[new_start:new_end], strict=True):
            if old_space == new_space:
                yield word + old_space, "same"
            else:
                yield from ((word, "same"), (old_space, "gone"), (new_space, "new"))


def _blocks(before: list[str], after: list[str]) -> Iterator[tuple[bool, list[str], list[str]]]:
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        yield tag == "equal", before[start:end], after[new_start:new_end]


def _text(words: list[tuple[str, str]]) -> str:
    return "".join(word + space for word, space in words)


def _joined(pieces: list[tuple[str, Kind]]) -> list[Piece]:
    """Neighbours as one piece; between two same ones all that went stands before all that came."""
    found: list[Piece] = []
    texts: dict[Kind, str] = {"same": "", "gone": "", "new": ""}

    def flush(*kinds: Kind) -> None:
        for kind in kinds:
            if texts[kind]:
                found.append(Piece(texts[kind], kind))
                texts[kind] = ""

    def flush_change() -> None:
        space = _common_space(texts["gone"], texts["new"])
        for kind in ("gone", "new"):
            texts[kind] = texts[kind].removesuffix(space)
        flush("gone", "new")
        texts["same"] = space

    for text, kind in pieces:
        if not text:
            continue
        if kind == "same" and not texts["same"]:
            flush_change()
        elif kind != "same":
            flush("same")
        texts[kind] += text
    flush("same")
    flush_change()
    flush("same")
    return found


def _common_space(a: str, b: str) -> str:
    """The white space that both texts end with."""
    n = 0
    while n < min(len(a), len(b)) and a[-1 - n] == b[-1 - n] and a[-1 - n].isspace():
        n += 1
    return a[len(a) - n:]
