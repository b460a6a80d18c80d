import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.vendor_files import AskedRow, Question, drawn, in_drawn_order, n_honeypots, to_csv, to_jsonl

QUESTION = Question("preference", ["left", "right"], {"allow_tie": False}, "Choose the better one.", 3)
ROW = AskedRow("a", "=1+1", {"left": "a|b", "right": "-c|d"}, 2)


def test_a_line_of_jsonl_holds_all_that_is_needed_to_answer_it_and_changes_nothing():
    [line] = to_jsonl([ROW], QUESTION).splitlines()
    assert json.loads(line) == {
        "key": "a", "text": "=1+1", "left": "a|b", "right": "-c|d", "task_type": "preference",
        "allowed_labels": ["left", "right"], "schema": {"allow_tie": False}, "guideline": "Choose the better one.",
        "guideline_version": 3, "n_annotators": 2}


def test_no_cell_of_the_csv_runs_as_a_formula():
    [row] = csv.DictReader(io.StringIO(to_csv([ROW], QUESTION).decode()))
    assert (row["text"], row["left"], row["right"]) == ("'=1+1", "a|b", "'-c\\|d")
    assert (row["allowed_labels"], row["n_annotators"]) == ('["left", "right"]', "2")


@given(st.lists(st.text(min_size=1, max_size=6), unique=True), st.randoms())
def test_the_order_follows_from_the_keys_alone(keys, random):
    shuffled = list(keys)
    random.shuffle(shuffled)
    assert in_drawn_order(keys, keys, "seed") == in_drawn_order(shuffled, shuffled, "seed")
    assert sorted(in_drawn_order(keys, keys, "seed")) == sorted(keys)
    assert drawn(keys, 2, "seed") == in_drawn_order(keys, keys, "seed")[:2]


def test_another_seed_is_another_order():
    keys = [f"k{n}" for n in range(20)]
    assert in_drawn_order(keys, keys, "one") != in_drawn_order(keys, keys, "two")


@pytest.mark.parametrize(("n_rows", "share", "n"), [
    (100, 0.05, 5), (10, 0.05, 1), (1, 0.5, 1), (0, 0.5, 0), (100, 0, 0), (30, 0.1, 3)])
def test_a_share_of_the_rows_is_known_and_one_at_least(n_rows, share, n):
    assert n_honeypots(n_rows, share) == n
