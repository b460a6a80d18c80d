import numpy as np
import pytest

from stats.votes import ordered_votes


def test_votes_are_ordered_by_example_then_annotator():
    votes = ordered_votes(np.array([1, 0, 1]), np.array([70, 9, 9]), np.array([2, 0, 1]), n_examples=2, n_labels=3)
    assert votes.example.tolist() == [0, 1, 1]
    assert votes.annotators.tolist() == [9, 70]
    assert votes.annotator.tolist() == [0, 0, 1]
    assert votes.label.tolist() == [0, 1, 2]
    assert votes.n_of_example.tolist() == [1, 2]
    assert votes.counts().tolist() == [[1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(("votes", "message"), [
    ([(0, 0, 1), (0, 1, 1)], "example 1 has none"),
    ([(0, 0, 1), (0, 0, 0), (1, 0, 0)], "example 0 one has 2 votes"),
    ([(1, 3, 1), (0, 0, 0), (1, 3, 0), (1, 3, 1)], "example 1 one has 3 votes"),
    ([(0, 0, 1), (0, 1, 2), (1, 0, 0)], "number 1 is 2"),
    ([(0, 0, -1), (1, 0, 0)], "number 0 is -1"),
    ([(0, 0, 1), (0, 1, 1), (2, 0, 0)], "0 to 2"),
])
def test_votes_that_cannot_be_are_refused(votes, message):
    with pytest.raises(ValueError, match=message):
        ordered_votes(*np.array(votes).T, n_examples=2, n_labels=2)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="got 2, 1 and 2"):
        ordered_votes(np.array([0, 1]), np.array([0]), np.array([0, 1]), n_examples=2, n_labels=2)
