"""People who differ in how reliable they are, and no classifier to ask."""

import numpy as np
import pytest

from curation.people import people_say


def crowd(n: int, accuracies: list[float], *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(truth, example, annotator, label): three of the people, drawn anew, say one of two labels on each example."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 2, n)
    example = np.repeat(np.arange(n), 3)
    annotator = np.concatenate([draw.choice(len(accuracies), 3, replace=False) for _ in range(n)])
    is_right = draw.random(3 * n) < np.array(accuracies)[annotator]
    return truth, example, annotator, np.where(is_right, truth[example], 1 - truth[example])


def test_reliable_people_outweigh_careless_ones() -> None:
    truth, example, annotator, label = crowd(400, [0.95, 0.95, 0.55, 0.55, 0.55])
    said = people_say(example, annotator + 7, label, n_examples=400, n_labels=2)
    assert said is not None
    majority = (np.bincount(example, weights=label, minlength=400) > 1.5).astype(int)
    assert (said.label == truth).mean() > (majority == truth).mean() + 0.05
    assert said.reliability[7] > 0.85 > 0.7 > said.reliability[9]
    assert ((said.probability >= 0.5) & (said.probability <= 1)).all()


@pytest.mark.parametrize(("n", "people"), [(8, 5), (400, 2)])
def test_too_few_votes_or_people_say_nothing(n: int, people: int) -> None:
    _, example, annotator, label = crowd(n, [0.9] * 5)
    keep = annotator < people
    assert people_say(example[keep], annotator[keep], label[keep], n_examples=n, n_labels=2) is None


def test_an_example_with_two_votes_is_not_taken() -> None:
    _, example, annotator, label = crowd(400, [0.9] * 5)
    assert people_say(example[1:], annotator[1:], label[1:], n_examples=400, n_labels=2) is None
