import random

import pytest

from curation.services.queue import Filter, Queue
from curation.services.scoring import latest_report, start_score
from tests.curation.conftest import annotate, new_example

WORDS = {"negative": ["awful", "broken", "angry", "refund", "terrible", "useless"],
         "neutral": ["monday", "parcel", "number", "address", "invoice", "order"],
         "positive": ["great", "lovely", "thanks", "wonderful", "perfect", "happy"]}
WRONG = {"p000", "p031", "p062"}


@pytest.fixture
def report(project, bob, run_jobs):
    """Ninety texts whose words tell the label, three of them labelled wrongly, and nine that are held out."""
    draw = random.Random(3)
    for number in range(99):
        label = project.labels[number % 3]
        key, split = (f"p{number:03}", "pool") if number < 90 else (f"t{number}", "test")
        example = new_example(project, key, split, text=" ".join([*draw.sample(WORDS[label], 4), str(number)]))
        said = project.labels[(number + 1) % 3] if key in WRONG else label
        for name in ("mira",) if split == "pool" else ("mira", "jon", "kim"):
            annotate(example, name, said)
    start_score(project, by=bob)
    run_jobs()
    return latest_report(project)


def test_the_queue_begins_with_what_is_most_probably_wrong(report):
    first = [score.example.key for score in Queue(report, Filter(view="all")).ordered[:3]]
    assert set(first) == WRONG
    gains = list(Queue(report, Filter(view="all")).ordered.values_list("expected_gain", flat=True))
    assert gains == sorted(gains, reverse=True) and gains[2] > 0.5 > gains[3] > 0


def test_there_is_nothing_to_gain_from_held_out_examples(report):
    assert set(report.scores.exclude(example__split="pool").values_list("expected_gain", flat=True)) == {0}
