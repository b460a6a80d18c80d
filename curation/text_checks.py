"""What can be seen to be wrong with a text or an answer without any model, in words for the person who reviews it.

A check that more than half of at least 20 answers fail says how a project writes, not what is wrong with an answer:
headlines have no full stop, and a field may hold a summary. It is held against nobody, and said so.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.answers import Answers
from curation.personal_data import find_personal_data
from labeling.texts import normalise

MIN_FOR_STYLE = 20
STYLE_SHARE = 0.5
MIN_SENTENCE_CHARS = 80  # a shorter answer may be a name or a phrase, which has no full stop
MIN_PROMPT_CHARS = 20  # a shorter prompt may well stand in a good answer
MIN_REPEATED_CHARS = 20  # “Yes.” is a good answer to many texts
MIN_REPEATS = 3
SMALL_NUMBER = 12  # up to here numbers are written as words
MIN_CUT, MIN_CUT_CHARS = 5, 100  # so many texts of exactly the greatest length were cut there
VERSION = 1  # of what `outcomes_of` finds; outcomes of another version are found anew

NOT_VALID, MID_SENTENCE, PROMPT, REPEATED = "no valid answer", "ends in mid-sentence", "repeats the text", \
    "given to many texts"
REFUSES, NOTHING = "refuses to answer", "says nothing"
OVERLAP, CUT_WORD, SPACE = "spans of one label overlap", "a span cuts a word", "a span begins or ends with a space"
PERSONAL, EMPTY_TEXT, CUT_TEXT = "holds personal data (pattern check)", "the text is empty", "the text is cut off"
OF_THE_TEXT = (PERSONAL, EMPTY_TEXT, CUT_TEXT)  # not of the answer, so they do not make an answer look wrong

KIND_OF = {
    NOT_VALID: "invalid", MID_SENTENCE: "truncated", PROMPT: "copied", REPEATED: "copied", REFUSES: "refusal",
    NOTHING: "empty", OVERLAP: "span", CUT_WORD: "span", SPACE: "span", PERSONAL: "pii", EMPTY_TEXT: "empty",
    CUT_TEXT: "truncated",
}

_MAY_BE_STYLE = (MID_SENTENCE, CUT_WORD, SPACE)  # and of records, whether a field's value stands in the text

# How assistants begin when they decline; a person who answers with “Sorry, we are closed” does not begin so.
_REFUSAL = re.compile(
    r"\W*(as an? (ai|artificial|language|large)\b|i'?m (just )?an? (ai|language model)\b|als (ki|sprachmodell)\b"
    r"|((i'?m|i am) (very |so )?sorry,? (but )?|sorry,? (but )?|unfortunately,? )?i (can'?t|cannot|can not|am unable to"
    r"|am not able to|won'?t|will not|'m unable to|'m not able to) (help|assist|provide|fulfil|comply|answer|create"
    r"|generate|write|discuss|continue|do that|engage|offer)"
    r"|(es )?tut mir leid,? (aber )?(ich kann|dabei kann ich)|je suis désolée?,? (mais )?je ne peux pas"
    r"|lo siento,? (pero )?no puedo)")
_LAST_LINE_IS_A_LIST_ITEM = re.compile(r"\s*([-*•‣]|\d+[.)])\s")
_WORD = re.compile(r"\w+")
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_NUMBER = re.compile(r"\d[\d.,'’\u00a0\u202f ]*")
# Thai, Lao, Burmese, Khmer, Chinese and Japanese put no spaces between words, so a span cannot be seen to cut one.
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class Answered:
    """One example and its label, None if it has none. cluster: equal for near-duplicates.

    asked: what the answer is to, if not the text.
    """

    text: str
    label: str | None
    cluster: int
    asked: str = ""


@dataclass(frozen=True)
class Checked:
    """failures: for every row the checks that its text or answer fails, [] where nothing is seen.

    outcomes: for every row what `outcomes_of` found, to be given as `known` the next time.
    n_failed: check of answers → how many rows fail it. set_aside: check → why it is held against nobody.
    """

    failures: list[list["Failure"]]
    outcomes: list[list["Failure"]]
    n_failed: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> list[list[str]]:
        """For every row what is wrong, in words."""
        return [[reason for _, reason in found] for found in self.failures]


Failure = tuple[str, str]  # the check, and the reason in words; "" if it passed and may turn out to be style


def kind_of(check: str) -> str:
    """The kind of flag that a failed check is."""
    return KIND_OF.get(check, "not_in_source")  # these have the name of their field


def check_answers(rows: Sequence[Answered], answers: Answers, *,
                  known: Sequence[list[Failure] | None] | None = None) -> Checked:
    """Return what every text and answer of a project fails, in the order of the rows.

    known: outcomes that still hold, None where there are none; all are found anew if left out.
    """
    given = known or [None] * len(rows)
    outcomes = [list(outcomes_of(row, answers)) if old is None else old for row, old in zip(rows, given, strict=True)]
    failures = [[outcome for outcome in found if outcome[1]] for found in outcomes]
    if answers.is_free_text:
        _add_repeated(rows, failures)
    _add_cut_texts(rows, failures)
    n_tried = Counter(check for found in outcomes for check in {check for check, _ in found} if check in _MAY_BE_STYLE
                      or check not in KIND_OF)
    n_failed = Counter(check for found in failures for check in {check for check, _ in found})
    set_aside = {check: f"{n:,} of {n_tried[check]:,} answers do so, which says how they are written, not that they "
                 "are wrong" for check, n in n_failed.items()
                 if n_tried[check] >= MIN_FOR_STYLE and n > STYLE_SHARE * n_tried[check]}
    return Checked([[failure for failure in found if failure[0] not in set_aside] for found in failures], outcomes,
                   {check: n for check, n in n_failed.items() if check not in {*set_aside, *OF_THE_TEXT}}, set_aside)


def outcomes_of(row: Answered, answers: Answers) -> Iterator[Failure]:
    """What one text and its answer fail on their own, and which checks that may be style they pass."""
    yield from _text_failures(row, answers)
    if row.label is None:
        return
    try:
        value = answers.value(row.label, source=row.text)
    except ValueError as error:
        yield NOT_VALID, f"It is no answer under the schema as it is now: {error}"
        return
    failures = list(_failures(row, value, answers))
    yield from failures
    for check in set(_tried(value, answers)) - {check for check, _ in failures}:
        yield check, ""


def _text_failures(row: Answered, answers: Answers) -> Iterator[Failure]:
    if not any(letter.isalnum() for letter in row.text):
        yield EMPTY_TEXT, "The text has no letter and no digit."
    written = row.label or "" if answers.is_free_text or answers.task_type == "extraction" else ""
    for where, text in (("text", row.text), ("answer", written)):
        if found := list(dict.fromkeys(one.what for one in find_personal_data(text))):
            yield PERSONAL, f"Its {where} holds what looks like {' and '.join(found)} (pattern check)."


def _tried(value: Any, answers: Answers) -> Iterator[str]:
    """The checks that this answer could have failed and that may turn out to be a question of style."""
    if answers.is_free_text:
        yield MID_SENTENCE
    elif answers.task_type == "spans" and value:
        yield CUT_WORD
        yield SPACE
    elif answers.task_type == "extraction":
        yield from (not_said(path) for path, _ in _quotable(value, answers.schema["json_schema"]))


def _failures(row: Answered, value: Any, answers: Answers) -> Iterator[Failure]:
    if answers.is_free_text:
        yield from _writing_failures(row, value)
    elif answers.task_type == "extraction":
        yield from _record_failures(row.text, value, answers.schema["json_schema"])
    elif answers.task_type == "spans":
        yield from _span_failures(row.text, value)


# Free text

def _writing_failures(row: Answered, answer: str) -> Iterator[Failure]:
    if len(answer) >= MIN_SENTENCE_CHARS and ends_in_mid_sentence(answer):
        yield MID_SENTENCE, f"It seems to be cut off: it ends with “{answer[-30:].split(maxsplit=1)[-1]}”."
    if not any(letter.isalnum() for letter in answer):
        yield NOTHING, "It has no letter and no digit."
    said = normalise(answer)
    if _REFUSAL.match(said.replace("’", "'")):
        yield REFUSES, f"It refuses to answer: “{answer.strip()[:60]}”."
    prompt = normalise(row.asked or row.text)
    if said == prompt:
        yield PROMPT, "It is the text itself, not an answer to it."
    elif len(prompt) >= MIN_PROMPT_CHARS and prompt in said:
        yield PROMPT, "It repeats the whole text."


def ends_in_mid_sentence(answer: str) -> bool:
    """Whether the last character is a letter, a digit or a comma, and its line is no item of a list."""
    *_, last_line = answer.rstrip().splitlines() or [""]
    return bool(last_line) and (last_line[-1].isalnum() or last_line[-1] in ",;([") \
        and _LAST_LINE_IS_A_LIST_ITEM.match(last_line) is None


def _add_repeated(rows: Sequence[Answered], failures: list[list[Failure]]) -> None:
    said = [normalise(row.label or "") for row in rows]
    clusters: defaultdict[str, set[int]] = defaultdict(set)
    for answer, row in zip(said, rows, strict=True):
        if len(answer) >= MIN_REPEATED_CHARS:
            clusters[answer].add(row.cluster)
    for answer, found in zip(said, failures, strict=True):
        if (n := len(clusters.get(answer, ()))) >= MIN_REPEATS:
            found.append((REPEATED, f"The same answer was given to {n:,} different texts."))


def _add_cut_texts(rows: Sequence[Answered], failures: list[list[Failure]]) -> None:
    """Where many texts are exactly as long as the longest, whoever stored them cut the longer ones."""
    n_of = Counter(len(row.text) for row in rows)
    longest = max(n_of, default=0)
    n_just_below = sum(n_of[length] for length in range(longest - 10, longest))
    if longest < MIN_CUT_CHARS or n_of[longest] < MIN_CUT or n_of[longest] <= n_just_below:
        return
    for row, found in zip(rows, failures, strict=True):
        if len(row.text) == longest and ends_in_mid_sentence(row.text):
            found.append((CUT_TEXT, f"Its text is cut off: {n_of[longest]:,} texts have exactly {longest:,} "
                                    "characters, and none has more."))


# Records

def not_said(path: str) -> str:
    """The name of the check that a field's value occurs in the text."""
    return f"“{path}” is not in the text"


def count_unsaid(text: str, value: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many values of a record its text does not say, and how many it would have to say.

    schema: the record's JSON schema. Yes and no, choices of a list and small numbers need not be said.
    """
    each = [is_said for _, _, is_said in _checked_values(text, value, schema)]
    return each.count(False), len(each)


def _record_failures(text: str, value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Failure]:
    for path, leaf, is_said in _checked_values(text, value, schema):
        if not is_said:
            yield not_said(path), f"“{path}” is “{leaf!s:.80}”, which the text does not say."


def _checked_values(text: str, value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Each value that the text would have to say, with its field's path and whether it does."""
    plain, words = normalise(text), set(_WORD.findall(normalise(text)))
    numbers: set[float] | None = None
    for path, leaf in _quotable(value, schema):
        if isinstance(leaf, str):
            is_said = _is_said(normalise(leaf), plain, words)
        else:
            numbers = _numbers(text) if numbers is None else numbers
            is_said = float(leaf) in numbers
        yield path, leaf, is_said


def _quotable(value: Mapping[str, Any], schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values that a text would have to say, with the paths of their fields: no yes and no, no choice of a list."""
    for name, leaf in value.items():
        part, here = schema["properties"][name], f"{path}{name}"
        if isinstance(leaf, Mapping):
            yield from _quotable(leaf, part, f"{here}.")
            continue
        items = leaf if isinstance(leaf, list) else [leaf]
        kind = part["items"] if isinstance(leaf, list) else part
        for item in items:
            is_small = isinstance(item, int | float) and abs(item) <= SMALL_NUMBER
            if "enum" not in kind and not isinstance(item, bool) and not is_small:
                yield here, item


def _is_said(wanted: str, plain: str, words: set[str]) -> bool:
    """Whether the text has the value, or all of its words; of a date in ISO form its year and its day are enough."""
    if wanted in plain:
        return True
    if date := _ISO_DATE.fullmatch(wanted):
        year, _, day = date.groups()
        return year in words and bool({day, day.lstrip("0")} & words)
    parts = _WORD.findall(wanted)
    return bool(parts) and all(part in words for part in parts)


def _numbers(text: str) -> set[float]:
    """The numbers of a text, read with either the point or the comma before the fraction."""
    found = set()
    for match in _NUMBER.findall(text):
        digits = re.sub("['’\u00a0\u202f ]", "", match).rstrip(".,")
        for reading in (digits.replace(",", ""), digits.replace(".", "").replace(",", ".")):
            if reading.count(".") <= 1:
                found.add(float(reading))
        found.update(float(part) for part in re.findall(r"\d+", match))
    return found


# Spans

def _span_failures(text: str, spans: Sequence[Mapping[str, Any]]) -> Iterator[Failure]:
    ends: dict[str, int] = {}
    for span in sorted(spans, key=lambda span: (span["start"], span["end"])):
        start, end, label = span["start"], span["end"], span["label"]
        words = " ".join(text[start:end].split())[:60]
        if start < ends.get(label, 0):
            yield OVERLAP, f"“{words}” overlaps another span of “{label}”."
        ends[label] = max(end, ends.get(label, 0))
        if text[start].isspace() or text[end - 1].isspace():
            yield SPACE, f"“{words}” ({label}) begins or ends with a space."
        elif _cuts(text, start) or _cuts(text, end):
            yield CUT_WORD, f"“{words}” ({label}) begins or ends within a word."


def _cuts(text: str, place: int) -> bool:
    """Whether a word goes on over this place."""
    around = text[max(place - 1, 0):place + 1]
    return 0 < place < len(text) and around.isalnum() and _SPACELESS.search(around) is None
