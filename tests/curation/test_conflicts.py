from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.answers import Answers
from curation.conflicts import Conflict, conflict_groups, find_conflicts


def test_each_row_of_a_group_says_what_the_others_carry():
    found = find_conflicts([7, 7, 7, 8, 8, 9], ["card", "card", "refund", "card", "card", "refund"])
    assert found == [Conflict(0, "refund", 1, 2), Conflict(1, "refund", 1, 2), Conflict(2, "card", 2, 2)]


@pytest.mark.parametrize(("task_type", "goes_by"), [
    ("classification", [1]), ("multilabel", [1]), ("preference", [1]), ("extraction", ["a"]), ("spans", ["a"]),
    ("response", None), ("chat", None)])
def test_what_can_contradict_depends_on_what_answers_are_made_of(task_type, goes_by):
    assert conflict_groups(Answers(task_type, {}), near=[1], equal=["a"]) == goes_by


def test_rows_without_a_label_contradict_nobody():
    assert find_conflicts(["a", "a", "a"], ["card", None, "card"]) == []
    assert find_conflicts([], []) == []


def test_of_equally_frequent_labels_the_first_by_name_is_named():
    assert find_conflicts([1, 1, 1], ["c", "b", "a"])[0].other == "a"


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", None])), max_size=30))
def test_a_row_is_in_conflict_iff_its_group_has_another_label(rows):
    found = {conflict.row for conflict in find_conflicts([group for group, _ in rows], [label for _, label in rows])}
    n_labels = Counter(group for group, label in {(group, label) for group, label in rows if label})
    assert found == {row for row, (group, label) in enumerate(rows) if label and n_labels[group] > 1}
