"""The bare wording of a text: what is left without greeting, thanks, reference number, punctuation and misspellings.

1. Numbers of five digits or more name a case, a customer or a card, whichever it is: they all become "#".
2. What does no more than give such a number is left out, and so are courtesies, as long as some words remain.
3. A rare word becomes the commonest word of the corpus that one slip of the fingers makes of it.
To be of one bare wording is an equivalence, so it cannot chain as pairs above a threshold do. It catches short texts,
where one swapped pair of letters changes a fifth of the 5-grams, and the embedding more than another question does.
Source of finding words one slip away by their deletions: Garbe 2012, SymSpell; of the four slips: Damerau 1964, CACM 7.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from jobs.progress import Progress, silent
from labeling.texts import normalise

IDENTIFIER = "#"
MIN_LEFT = 3  # words that have to remain if something is left out
MAX_ASIDE = 7  # words of a sentence that does no more than give a number
RARE, RARE_SHARE = 2, 0.01  # a misspelling stands in at most so many texts, or in this share of those of the word meant
MIN_MEANT = 5  # texts of the word meant, but where letters are only swapped: few texts hold few words twice
MIN_LETTERS, MIN_LETTERS_SWAPPED = 5, 4  # of words that are taken for misspellings: shorter ones are other words
_GREETING = (r"(?:hi|hello|hey|hallo|hola|ciao|bonjour|greetings|dear|good (?:morning|afternoon|evening|day)|"
             r"guten (?:morgen|tag|abend)|buenos d[ií]as|buenas tardes)")
_THANKS = (r"(?:(?:many )?thanks|thank you|cheers|danke|merci|gracias|(?:kind |best |warm )?regards|please|bitte)"
           r"(?: (?:a lot|very much|so much|in advance|sch[oö]n|beaucoup))*")
_WHOM = r"(?: (?:there|all|everyone|folks|team|support|sir|or|madam|you|again))*"
COURTESY = re.compile(rf"{_GREETING}{_WHOM}|{_THANKS}")
OPENING = re.compile(rf"^(?:{_GREETING}{_WHOM}|please|bitte) ")
CLOSING = re.compile(rf" {_THANKS}$")
ASIDE = re.compile(r"(?:^| )(?:(?:my|our|the|your) )?(?:(?:reference|ref|case|ticket|order|booking|customer|contract)"
                   r"(?: (?:number|no|nr|id|code))? (?:is|was)|(?:reference|ref)(?: (?:number|no|nr|id|code))?) #$")
_SENTENCE = re.compile(r"(?<=[.!?;\n])\s+|,\s+")
_EMOTICON = re.compile(r"(?<=\w)(?=[:;=]['\-]?[()*|\[\]])")
_PUNCTUATION = ".,;!?…\"“”„«»()[]-–—*_~&/|'’:"  # around words; alone only what stands in no emoticon
_MARKS = re.compile(r"[.,;!?…\"“”„«»\-–—*_~&/|'’:]+|[()\[\]]")
_JOINS = re.compile(r"(?<=\w)['’\-](?=\w)|(?<=\bref)\.|(?<=\bno)\.(?= ?\d)|(?<=\bnr)\.")
_NUMBER = re.compile(r"(?<![$€£¥\d.,])\b[a-z]{0,4}-?\d{5,}\b(?![.,]?\d)")


def same_wordings(texts: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
    """Return (n,) int, for each text the first row of its bare wording, itself where there is none before.

    Texts without words, such as "?", are of one wording only if they are equal when normalised.
    """
    number_of: dict[str, int] = {}
    numbers, ends = array("i"), [0]
    for row, text in enumerate(texts):
        numbers.extend(number_of.setdefault(word, len(number_of)) for word in bare_words(text))
        ends.append(len(numbers))
        if not row % 1000:
            progress("Comparing words", row, len(texts))
    words = list(number_of)
    spelt = spellings(Counter(words[number] for start, stop in pairwise(ends) for number in set(numbers[start:stop])))
    meant = np.array([number_of[spelt.get(word, word)] for word in words], dtype=np.int32)
    first: dict[int, int] = {}  # by a hash of 64 bits, so that the words are not kept twice
    found = np.empty(len(texts), dtype=np.intp)
    for row, (start, stop) in enumerate(pairwise(ends)):
        wording = hash(meant[numbers[start:stop]].tobytes() if stop > start else normalise(texts[row]))
        found[row] = first.setdefault(wording, row)
    return found


def wording_links(wordings: np.ndarray) -> np.ndarray:
    """Return (k, 2) rows, the first of a bare wording and each later one; wordings: as `same_wordings` returns them."""
    later = np.flatnonzero(wordings != np.arange(len(wordings)))
    return np.stack([wordings[later], later], axis=1)


def bare_words(text: str) -> tuple[str, ...]:
    """The words of a text without courtesies, reference numbers and punctuation, as they are spelt."""
    masked = _NUMBER.sub(IDENTIFIER, _JOINS.sub("", normalise(text)))
    parts = [_words(part) for part in _SENTENCE.split(_EMOTICON.sub(" ", masked))]
    trimmed = " ".join(part for part in (ASIDE.sub("", part) for part in parts) if not _says_nothing(part))
    left = tuple(CLOSING.sub("", OPENING.sub("", trimmed)).split())
    return left if len(left) >= MIN_LEFT else tuple(" ".join(parts).split())


def _words(part: str) -> str:
    """The words, emoticons and other signs of a part, one space between them; punctuation says the same or nothing."""
    tokens = (token.strip(_PUNCTUATION) or token for token in part.replace("/", " ").split())
    return " ".join(token for token in tokens if not _MARKS.fullmatch(token))


def _says_nothing(part: str) -> bool:
    words = part.split()
    return COURTESY.fullmatch(part) is not None or (IDENTIFIER in words and len(words) <= MAX_ASIDE)


def spellings(n_texts: Counter[str]) -> dict[str, str]:
    """Return rare word → the word that it is taken for; words that stand for themselves are left out.

    n_texts: word → how many texts it stands in. Of several words one slip away the commonest counts, of a tie the
    first by alphabet; a rare word may lead to another rare one, and so on to the commonest.
    """
    near: dict[str, list[str]] = defaultdict(list)
    for word in n_texts:
        if len(word) >= MIN_LETTERS_SWAPPED and word.isalpha():
            for key in _deletions(word):
                near[key].append(word)
    step: dict[str, str] = {}
    for word, n in n_texts.items():
        if len(word) >= MIN_LETTERS_SWAPPED and word.isalpha():
            others = {other for key in _deletions(word) for other in near[key]
                      if n <= max(RARE, RARE_SHARE * n_texts[other]) and is_slip(word, other)
                      and (n_texts[other] >= MIN_MEANT or sorted(word) == sorted(other))}
            best = min(others | {word}, key=lambda other: (-n_texts[other], other))
            if best != word:
                step[word] = best
    found = {}
    for word in step:
        end = word
        while end in step:  # commoner with every step, or earlier by alphabet
            end = step[end]
        found[word] = end
    return found


def is_slip(a: str, b: str) -> bool:
    """Whether one slip makes b of a: two neighbours swapped, or one letter more, less or other if the longer word has
    MIN_LETTERS. The first letter is hardly ever mistyped, and makes other words (“unable”), so it has to be equal."""
    if a == b or a[:1] != b[:1] or abs(len(a) - len(b)) > 1:
        return False
    start = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a_left, b_left = a[start:], b[start:]
    while a_left and b_left and a_left[-1] == b_left[-1]:
        a_left, b_left = a_left[:-1], b_left[:-1]
    if len(a_left) == 2 and a_left == b_left[::-1]:
        return True
    return max(len(a_left), len(b_left)) <= 1 and max(len(a), len(b)) >= MIN_LETTERS


def _deletions(word: str) -> Iterator[str]:
    """The word, and each that is left if one letter is taken out; words one slip apart share one of them."""
    yield word
    for at in range(len(word)):
        if not at or word[at] != word[at - 1]:
            yield word[:at] + word[at + 1:]
