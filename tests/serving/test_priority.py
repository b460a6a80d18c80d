import numpy as np
import pytest

from serving.priority import border_of, nearest, priority_of


def test_priority_is_uncertainty_and_one_for_every_other_reason():
    found = priority_of([0.9, 0.4, None, 0.95], is_readable=[True, True, True, False],
                        is_disliked=[False, True, False, False], is_new=[True, False, False, False], warned=[0])
    assert found.value == pytest.approx([2.1, 1.6, 0.5, 1.0])
    assert found.why == [["new", "signal"], ["unsure", "thumbs down"], [], ["unsure"]]


def test_the_nearest_is_told_by_its_cosine():
    rows = np.eye(3)
    assert nearest(rows, rows[:2], block=2) == pytest.approx([1, 1, 0])
    assert nearest(rows, rows[:0]).tolist() == [-1, -1, -1]


def test_nothing_is_new_beside_few_texts_and_what_is_far_off_beside_many():
    assert border_of(np.eye(5)) == -1.0
    angles = np.linspace(0, 0.3, 100)
    reference = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    border = border_of(reference)
    assert 0.999 < border < 1 and nearest(np.array([[0.0, 1.0]]), reference)[0] < border
