import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.expected_gain import LEAST, MOST, expected_gain, label_weights


def gain(p_wrong, cluster_size=None, label=None, predicted=None):
    n = len(p_wrong)
    return expected_gain(np.array(p_wrong), np.array(cluster_size or [1] * n), np.array(label or [0] * n),
                         np.array(predicted or [-1] * n)).round(6).tolist()


def test_with_equal_labels_and_no_copies_the_gain_is_the_probability_of_an_error():
    assert gain([0.9, 0.1], label=[0, 1], predicted=[1, 0]) == [0.9, 0.1]


def test_near_duplicates_count_with_their_logarithm():
    assert gain([0.5, 0.5, 0.5], cluster_size=[1, 2, 8]) == [0.5, 1.0, 2.0]


def test_a_rare_label_weighs_more_whether_it_is_left_or_entered():
    label, n = [0] * 8 + [1] * 2, 10  # an equal share is 5: weights √(5/8) and √(5/2)
    rare, common = round(np.sqrt(5 / 2), 6), round(np.sqrt(5 / 8), 6)
    assert gain([1.0] * n, label=label)[0] == common and gain([1.0] * n, label=label)[9] == rare
    assert gain([1.0] * n, label=label, predicted=[1] + [-1] * 9)[0] == rare


def test_weights_stay_within_their_bounds_and_end_with_one_for_no_label():
    weights = label_weights(np.array([0] * 999 + [1, -1]))
    assert weights.tolist() == [max(np.sqrt(500 / 999), LEAST), MOST, 1.0]


def test_without_a_label_or_a_probability_there_is_nothing_to_gain():
    assert gain([0.9, np.nan], label=[-1, 0]) == [0.0, 0.0]
    assert expected_gain(*np.zeros((4, 0), dtype=int)).tolist() == []


def test_a_cluster_without_itself_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        gain([0.5], cluster_size=[0])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50), st.integers(-1, 4), st.integers(-1, 6)), min_size=1,
                max_size=30))
def test_more_doubt_and_more_copies_never_mean_less_gain(rows):
    p_wrong, size, label, predicted = (np.array(column) for column in zip(*rows, strict=True))
    found = expected_gain(p_wrong, size, label, predicted)
    assert (found >= 0).all() and (found[label < 0] == 0).all()
    assert (expected_gain(np.minimum(p_wrong + 0.1, 1), size, label, predicted) >= found).all()
    assert (expected_gain(p_wrong, size + 1, label, predicted) >= found).all()
