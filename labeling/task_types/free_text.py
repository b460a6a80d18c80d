"""Answers in people's own words: whether one can be stored, how alike two are, which of several stands for all."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labeling.task_types.metrics import Counts, Parts, check_rows
from labeling.task_types.voting import checked, mean_over_pairs
from labeling.texts import normalise

MAX_SHOWN_CHARS = 200
MAX_ORDER = 6  # the longest n-gram of chrF
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # no spaces in Chinese, Japanese


def validate_writing(value: object, schema: Mapping[str, Any]) -> None:
    """Raises ValueError unless the value is a text that is not blank and, stripped, within the schema's max_chars."""
    if not isinstance(value, str):
        raise ValueError(f"an answer must be text, got {value!r:.100}")
    check_storable(value)
    answer = tidy(value)
    if not answer:
        raise ValueError("The answer is empty.")
    if len(answer) > schema.get("max_chars", math.inf):
        raise ValueError(f"The answer has {len(answer)} characters; at most {schema['max_chars']} are allowed.")


def rules(schema: Mapping[str, Any]) -> str:
    """What the schema asks of an answer, in words for people and models: guidance and length."""
    limit = f"Write at most {schema['max_chars']} characters." if "max_chars" in schema else ""
    return "\n".join(part for part in (schema.get("guidance", "").strip(), limit) if part)


def check_storable(text: str) -> None:
    """Raises ValueError for what no database takes: half of a surrogate pair, or U+0000."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"a text has half of a surrogate pair or U+0000: {text!a:.100}")


def tidy(text: str) -> str:
    """Return the text with line feeds as its line breaks and no white space at its ends; tidy(tidy(text)) is it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def one_line(text: str) -> str:
    """Return the text on one line, cut to MAX_SHOWN_CHARS characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN_CHARS else f"{line[:MAX_SHOWN_CHARS - 1]}…"


def similarity(a: str, b: str) -> float:
    """Return how alike two texts are written, in [0, 1], the same both ways; 1 for texts that normalise alike.

    chrF with beta 1: precision and recall of the character n-grams without spaces, averaged over n = 1 to 6 as far as
    the texts reach, and their harmonic mean. Characters need no word list, so it serves every script, and a word in
    another inflection counts in part. It compares wording, not meaning: unrelated English sentences are at 0.1 to 0.2.
    Source: Popović 2015, chrF: character n-gram F-score for automatic MT evaluation, WMT.
    """
    first, second = normalise(a).replace(" ", ""), normalise(b).replace(" ", "")
    if first == second:
        return 1.0
    precisions, recalls = [], []
    for n in range(1, min(MAX_ORDER, max(len(first), len(second))) + 1):
        ours, theirs = _ngrams(first, n), _ngrams(second, n)
        n_shared = (ours & theirs).total()
        precisions.append(n_shared / max(ours.total(), 1))
        recalls.append(n_shared / max(theirs.total(), 1))
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def agreement(values: Sequence[str]) -> float:
    """Return the mean similarity of all pairs of answers. Raises ValueError if there are fewer than two."""
    return mean_over_pairs(values, similarity)


def medoid(values: Sequence[str], weights: Sequence[float] | None = None) -> str | None:
    """Return the answer that is most like all of them, tidied: the largest weighted sum of similarities, its own
    included.

    One answer stands for itself. None without an answer, or if two different ones are equally like all, which two
    answers of equal weight always are.
    """
    each = checked(weights, len(values))
    answers: dict[str, float] = {}
    for value, weight in zip(values, each, strict=True):
        answers[tidy(value)] = answers.get(tidy(value), 0.0) + weight
    sums = {a: math.fsum(weight * similarity(a, b) for b, weight in answers.items()) for a in answers}
    ranked = sorted(sums, key=lambda answer: -sums[answer])
    if not ranked or (len(ranked) > 1 and math.isclose(sums[ranked[0]], sums[ranked[1]])):
        return None
    return ranked[0]


def rouge_l(gold: str, predicted: str) -> float:
    """Return the F1 of the longest common subsequence of words, in [0, 1].

    Words are runs of letters and digits of the normalised texts; a Chinese or Japanese character is a word.
    Source: Lin 2004, ROUGE: a package for automatic evaluation of summaries; the length bit by bit as in Hyyrö 2004,
    Bit-parallel LCS-length computation revisited.
    """
    wanted, given = _WORD.findall(normalise(gold)), _WORD.findall(normalise(predicted))
    if not wanted or not given:
        return float(normalise(gold) == normalise(predicted))
    places: dict[str, int] = {}
    for place, word in enumerate(wanted):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(wanted)) - 1
    row = everything  # a bit that is 0 is a step of the subsequence
    for word in given:
        matches = row & places.get(word, 0)
        row = (row + matches | row - matches) & everything
    return 2 * (len(wanted) - row.bit_count()) / (len(wanted) + len(given))


def metrics_of(sums: np.ndarray) -> Parts:
    return {"rouge_l": sums[..., 0] / sums[..., 1]}


def counts(gold: Sequence[str], predicted: Sequence[str | None]) -> Counts:
    """Return what the mean ROUGE-L F1 is made of.

    It is a trend between runs of one project, no measure of whether an answer is right.
    """
    check_rows(gold, predicted)
    each = [(0.0 if b is None else rouge_l(a, b), 1.0) for a, b in zip(gold, predicted, strict=True)]
    return Counts(np.array(each), metrics_of)


def _ngrams(text: str, n: int) -> Counter[str]:
    return Counter(text[start:start + n] for start in range(len(text) - n + 1))
