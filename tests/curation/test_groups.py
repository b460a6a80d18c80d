import numpy as np
import pytest

from curation.groups import MAX_GROUPS, group_texts


def around(*angles, per=10, seed=0):
    random = np.random.default_rng(seed)
    turned = np.concatenate([angle + random.normal(0, 0.01, per) for angle in angles])
    return np.stack([np.cos(turned), np.sin(turned)], axis=1)


def test_like_texts_are_together_and_the_largest_group_comes_first():
    vectors = np.concatenate([around(0, per=4), around(2, per=10), around(4, per=4)])
    found = group_texts(vectors, seed=0)  # √(18 / 2) = 3 groups
    assert found.group[4:14].tolist() == [0] * 10
    assert len(set(found.group[:4])) == len(set(found.group[14:])) == 1 and len(set(found.group)) == 3
    assert [int(found.group[row]) for row in found.central] == [0, 1, 2]


def test_equal_texts_give_equal_groups_every_time():
    vectors = around(0, 1, 2, 3, per=25)
    assert (group_texts(vectors, seed=3).group == group_texts(vectors, seed=3).group).all()


def test_there_are_never_more_groups_than_texts_that_differ():
    assert set(group_texts(np.tile([[1.0, 0.0]], (50, 1)), seed=0).group) == {0}
    assert group_texts(np.array([[1.0, 0.0]]), seed=0).central.tolist() == [0]
    random = np.random.default_rng(0).normal(size=(6000, 4))
    found = group_texts(random / np.linalg.norm(random, axis=1, keepdims=True), seed=0)
    assert len(found.central) == MAX_GROUPS


def test_groups_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least 1 text, got 0"):
        group_texts(np.zeros((0, 4)), seed=0)
