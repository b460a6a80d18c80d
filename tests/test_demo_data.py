from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from goldpan.demo_data import SDIST, labels_of, read_tweets, truth_of

DOWNLOADED = Path(__file__).resolve().parent.parent / "var" / "downloads" / SDIST


@pytest.fixture(scope="module")
def tweets():
    if not DOWNLOADED.exists():
        pytest.skip(f"{SDIST} is not in var/downloads; make setup brings it")
    return read_tweets(DOWNLOADED)


def test_half_a_point_makes_a_rating_positive_or_negative():
    assert labels_of(np.array([[-4, -1, 0], [1, 4, 0]], np.int8)).tolist() == [
        ["negative", "negative", "neutral"], ["positive", "positive", "neutral"]]
    assert labels_of(np.array([-0.5, -0.49, 0.49, 0.5])).tolist() == ["negative", "neutral", "neutral", "positive"]


def test_the_truth_is_the_most_frequent_of_the_last_ten_labels_and_a_tie_their_mean():
    ratings = np.zeros((3, 20), np.int8)
    ratings[:, :10] = -4  # the first ten have no say
    ratings[0, 10:] = [1, 1, 1, 1, 0, 0, 0, -4, -4, -4]
    ratings[1, 10:] = [4, 4, 4, 4, 4, -1, -1, -1, -1, -1]
    ratings[2, 10:] = [1, 1, 1, 1, 1, -1, -1, -1, -1, -1]
    assert truth_of(ratings).tolist() == ["positive", "positive", "neutral"]


def test_another_file_is_refused(tmp_path):
    (tmp_path / SDIST).write_bytes(b"something else")
    with pytest.raises(ValueError, match="Download it again"):
        read_tweets(tmp_path / SDIST)


def test_every_tweet_has_its_twenty_ratings(tweets):
    assert len(tweets.keys) == len(set(tweets.keys)) == len(tweets.texts) == 4200
    assert (tweets.keys[0], tweets.keys[-1]) == ("tweet-0001", "tweet-4200")
    assert tweets.ratings.shape == (4200, 20) and np.abs(tweets.ratings).max() == 4
    assert tweets.texts[1] == "Yay. Another good phone interview."
    assert tweets.ratings[1, :5].tolist() == [3, 3, 3, 3, 2]
    assert not any("\t" in text or "\n" in text for text in tweets.texts)


def test_the_noisy_labels_and_the_truth_are_those_that_were_measured(tweets):
    noisy, truth = labels_of(tweets.ratings[:, 0]), truth_of(tweets.ratings)
    assert Counter(noisy.tolist()) == {"positive": 2137, "negative": 1092, "neutral": 971}
    assert Counter(truth.tolist()) == {"positive": 2372, "negative": 1128, "neutral": 700}
    assert (noisy == truth).mean() == pytest.approx(0.7945, abs=1e-4)
