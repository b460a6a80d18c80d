import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.shots import balanced_spread, clear_of, nearest, spread_with_new_answers


def rows(*angles: float) -> np.ndarray:
    """Rows of length 1 at these angles, in degrees."""
    turned = np.radians(angles)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1)


def test_the_most_similar_row_stands_last():
    assert nearest(rows(0, 90, 30, 10), rows(0, 85), 3).tolist() == [[2, 3, 0], [3, 2, 1]]


def test_of_equally_similar_rows_the_earlier_counts_as_nearer():
    assert nearest(rows(10, 10, 10), rows(0), 2).tolist() == [[1, 0]]


def test_fewer_rows_than_neighbours_are_all_shown():
    assert nearest(rows(0, 90), rows(0), 8).tolist() == [[1, 0]]


def test_a_row_that_nearly_is_a_held_out_one_is_not_clear():
    assert clear_of(rows(0, 20, 90), rows(1, 180), threshold=0.95).tolist() == [False, True, True]
    assert clear_of(rows(0, 20), np.zeros((0, 2)), threshold=0.95).tolist() == [True, True]


def test_labels_take_turns_and_no_round_begins_with_the_same():
    labels = ["a", "a", "a", "b", "b", "b", "c", "c", "c"]
    chosen = balanced_spread(rows(0, 5, 60, 90, 95, 150, 180, 185, 240), labels, 8)
    said = [labels[row] for row in chosen]
    assert said == ["a", "b", "c", "b", "c", "a", "c", "a"] and len(set(chosen)) == 8


def test_within_a_label_the_row_that_stands_for_most_comes_first():
    assert balanced_spread(rows(0, 10, 20, 170), ["a"] * 4, 2) == [1, 3]


def test_with_more_labels_than_places_the_frequent_ones_come():
    labels = ["rare", *["often"] * 3, *["more"] * 2]
    assert {labels[row] for row in balanced_spread(rows(0, 1, 2, 3, 4, 5), labels, 2)} == {"often", "more"}


def test_written_examples_differ_and_fit():
    vectors, answers = rows(0, 1, 90, 180), ["x", "x", "y", "z"]
    chosen = spread_with_new_answers(vectors, answers, [10, 10, 10, 500], k=8, most_characters=100)
    assert sorted(answers[row] for row in chosen) == ["x", "y"]


@given(st.lists(st.tuples(st.floats(0, 360), st.sampled_from("abcd")), min_size=1, max_size=20), st.integers(1, 12))
def test_no_label_is_more_than_one_ahead_unless_another_has_run_out(given_rows, k):
    labels = [label for _, label in given_rows]
    chosen = balanced_spread(rows(*(angle for angle, _ in given_rows)), labels, k)
    assert len(chosen) == len(set(chosen)) and len(chosen) <= k
    counts = {label: sum(labels[row] == label for row in chosen) for label in set(labels)}
    short = [label for label in counts if counts[label] < labels.count(label)]
    for label in short if len(counts) <= k else ():
        assert max(counts.values()) - counts[label] <= 1


@pytest.mark.parametrize("n", [0, 3])
def test_no_rows_are_no_trouble(n):
    assert clear_of(np.zeros((0, 2)), rows(*[0.0] * n), threshold=0.95).tolist() == []
