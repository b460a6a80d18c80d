"""The language of texts, and which of them are in another one than the rest. The only module that imports py3langid."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from jobs.progress import Progress, silent

MIN_LETTERS = 20  # shorter texts share their few words with several languages
MIN_PROBABILITY = 0.9  # at both, 2 of 13,536 English tweets and questions are taken for another language
MIN_TOLD = 20  # texts whose language can be told, below which no language is the project's
DOMINANT_SHARE = 0.6  # a project in two languages has none that others depart from
MAX_CHARS = 2000  # the beginning of a long text tells enough


def languages_of(texts: Sequence[str], *, progress: Progress = silent) -> list[str]:
    """Return the language of each text as ISO 639 ("en"), "" where it cannot be told.

    Source: Lui & Baldwin 2012, langid.py, ACL; the model of the package py3langid, which knows 139 languages.
    """
    found = []
    for number, text in enumerate(texts):
        if number % 1000 == 0:
            progress("Telling languages", number, len(texts))
        found.append(_language(text[:MAX_CHARS]))
    return found


def dominant_language(languages: Sequence[str]) -> str:
    """Return the language that most texts are in, "" if too few can be told or none has most of them."""
    told = Counter(language for language in languages if language)
    language, n = max(told.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    return language if told.total() >= MIN_TOLD and n >= DOMINANT_SHARE * told.total() else ""


def _language(text: str) -> str:
    if sum(letter.isalpha() for letter in text) < MIN_LETTERS:
        return ""
    language, probability = _identifier().classify(text)
    return str(language) if probability >= MIN_PROBABILITY else ""


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
