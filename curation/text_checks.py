"""What can be seen to be wrong with an answer without any model, in words for the person who reviews it.

A check that more than half of at least 20 answers fail says how a project writes, not what is wrong with an answer:
headlines have no full stop, and a field may hold a summary. It is held against nobody, and said so.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.answers import Answers
from labeling.texts import normalise

MIN_FOR_STYLE = 20
STYLE_SHARE = 0.5
MIN_SENTENCE_CHARS = 80  # a shorter answer may be a name or a phrase, which has no full stop
MIN_PROMPT_CHARS = 20  # a shorter prompt may well stand in a good answer
MIN_REPEATED_CHARS = 20  # “Yes.” is a good answer to many texts
MIN_REPEATS = 3
SMALL_NUMBER = 12  # up to here numbers are written as words

NOT_VALID, MID_SENTENCE, PROMPT, REPEATED = "no valid answer", "ends in mid-sentence", "repeats the text", \
    "given to many texts"
OVERLAP, CUT_WORD, SPACE = "spans of one label overlap", "a span cuts a word", "a span begins or ends with a space"

_LAST_LINE_IS_A_LIST_ITEM = re.compile(r"\s*([-*•‣]|\d+[.)])\s")
_WORD = re.compile(r"\w+")
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_NUMBER = re.compile(r"\d[\d.,'’\u00a0\u202f ]*")
# Thai, Lao, Burmese, Khmer, Chinese and Japanese put no spaces between words, so a span cannot be seen to cut one.
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class Answered:
    """One example and its label. cluster: equal for near-duplicates. asked: what the answer is to, if not the text."""

    text: str
    label: str
    cluster: int
    asked: str = ""


@dataclass(frozen=True)
class Checked:
    """reasons: for every row what is wrong with its answer, in words, [] where nothing is seen.

    n_failed: check → how many rows fail it. set_aside: check → why it is held against nobody.
    """

    reasons: list[list[str]]
    n_failed: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)


Failure = tuple[str, str]  # the check, and the reason in words


def check_answers(rows: Sequence[Answered], answers: Answers) -> Checked:
    """Return what every answer of a project fails, in the order of the rows."""
    n_tried: Counter[str] = Counter()
    failures: list[list[Failure]] = []
    for row in rows:
        try:
            value = answers.value(row.label, source=row.text)
        except ValueError as error:
            failures.append([(NOT_VALID, f"It is no answer under the schema as it is now: {error}")])
            continue
        found = list(_failures(row, value, answers))
        n_tried.update(dict.fromkeys(_tried(value, answers), 1))
        failures.append(found)
    if answers.is_free_text:
        _add_repeated(rows, failures)
    n_failed = Counter(check for found in failures for check in {check for check, _ in found})
    set_aside = {check: f"{n:,} of {n_tried[check]:,} answers do so, which says how they are written, not that they "
                 "are wrong" for check, n in n_failed.items()
                 if n_tried[check] >= MIN_FOR_STYLE and n > STYLE_SHARE * n_tried[check]}
    return Checked([[reason for check, reason in found if check not in set_aside] for found in failures],
                   {check: n for check, n in n_failed.items() if check not in set_aside}, set_aside)


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
    said = normalise(answer)
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
    said = [normalise(row.label) for row in rows]
    clusters: defaultdict[str, set[int]] = defaultdict(set)
    for answer, row in zip(said, rows, strict=True):
        if len(answer) >= MIN_REPEATED_CHARS:
            clusters[answer].add(row.cluster)
    for answer, found in zip(said, failures, strict=True):
        if (n := len(clusters.get(answer, ()))) >= MIN_REPEATS:
            found.append((REPEATED, f"The same answer was given to {n:,} different texts."))


# Records

def not_said(path: str) -> str:
    """The name of the check that a field's value occurs in the text."""
    return f"“{path}” is not in the text"


def _record_failures(text: str, value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Failure]:
    plain, words = normalise(text), set(_WORD.findall(normalise(text)))
    numbers: set[float] | None = None
    for path, leaf in _quotable(value, schema):
        if isinstance(leaf, str):
            is_said = _is_said(normalise(leaf), plain, words)
        else:
            numbers = _numbers(text) if numbers is None else numbers
            is_said = float(leaf) in numbers
        if not is_said:
            yield not_said(path), f"“{path}” is “{leaf!s:.80}”, which the text does not say."


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
