"""The demo's data: 4,200 tweets, each rated by at least 20 people from -4 (negative) to 4 (positive).

Source: Hutto & Gilbert 2014, VADER, ICWSM, as the MIT-licensed source package vaderSentiment 3.3.2 ships it. Which
column is which person is not documented, so a column is no annotator: it is one more rating of the same text.
"""

import ast
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SDIST = "vaderSentiment-3.3.2.tar.gz"
SDIST_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
N_RATINGS = 20  # the fewest that a tweet has
LABELS = ("negative", "neutral", "positive")
INSTRUCTIONS = "What is the sentiment of this tweet?"
DESCRIPTIONS = {"negative": "the writer is unhappy, angry, sad or complains",
                "neutral": "no feeling, or good and bad feelings in balance",
                "positive": "the writer is happy, pleased, grateful or hopeful"}
TRUTH_COLUMNS = slice(10, 20)
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"


@dataclass(frozen=True)
class Tweets:
    """n tweets in the file's order: keys "tweet-0001" …, texts as they are, ratings (n, 20) of int8 in [-4, 4]."""

    keys: tuple[str, ...]
    texts: tuple[str, ...]
    ratings: np.ndarray


def read_tweets(sdist: Path) -> Tweets:
    """Return the tweets in the source package at `sdist`; nothing is unpacked to disk.

    Raises ValueError if the file is not exactly that package, FileNotFoundError if it is not there.
    """
    data = sdist.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != SDIST_SHA256:
        raise ValueError(f"{sdist.name} has the sha256 {sha256}, expected {SDIST_SHA256}. Download it again.")
    with tarfile.open(fileobj=io.BytesIO(data)) as outer, \
            tarfile.open(fileobj=io.BytesIO(_member(outer, _INNER))) as inner:
        texts = _by_id(_member(inner, "hutto_ICWSM_2014/tweets_GroundTruth.txt"))
        ratings = _by_id(_member(inner, "hutto_ICWSM_2014/tweets_anonDataRatings.txt"))
    if texts.keys() != ratings.keys():
        raise ValueError("the tweets and their ratings have different ids")
    return Tweets(
        keys=tuple(f"tweet-{int(number):04d}" for number in texts),
        texts=tuple(fields[-1] for fields in texts.values()),
        ratings=np.array([ast.literal_eval(ratings[number][-1])[:N_RATINGS] for number in texts], np.int8))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file in the package")
    return file.read()


def _by_id(data: bytes) -> dict[str, list[str]]:
    """The other tab-separated fields of each line by its id, in the file's order."""
    lines = (line.split("\t") for line in data.decode("utf-8-sig").split("\r\n") if line)
    return {fields[0].strip(): fields[1:] for fields in lines}


def labels_of(ratings: np.ndarray) -> np.ndarray:
    """Return "negative" for ratings up to -0.5, "positive" from 0.5, "neutral" between; same shape, dtype str."""
    return np.select([ratings <= -0.5, ratings >= 0.5], ["negative", "positive"], "neutral")


def truth_of(ratings: np.ndarray) -> np.ndarray:
    """Return the label that most of columns 10 to 19 gave each tweet; of a tie the label of their mean.

    ratings: (n, 20), as in Tweets. Returns (n,) str.
    """
    columns = ratings[:, TRUTH_COLUMNS]
    labels = labels_of(columns)
    counts = np.stack([(labels == label).sum(axis=1) for label in LABELS], axis=1)
    is_tie = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return np.where(is_tie, labels_of(columns.mean(axis=1)), np.array(LABELS)[counts.argmax(axis=1)])
