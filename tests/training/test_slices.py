from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.intervals import Interval
from stats.multiple import holm
from training.slices import (
    Compared,
    Slice,
    find_slices,
    length_names,
    newest_names,
    of_label,
    of_right_wrong,
    power_of_drop,
    weigh_slices,
)


def test_a_slice_has_thirty_rows_and_is_not_nearly_everything():
    values = {"label": [["refund"]] * 30 + [["delay"]] * 29 + [["other"]] * 41,
              "language": [["en"]] * 91 + [[]] * 9, "source": [["a", "b"]] * 40 + [[]] * 60}
    found = [(one.kind, one.name, len(one.rows)) for one in find_slices(values)]
    assert found == [("label", "other", 41), ("label", "refund", 30), ("source", "a", 40), ("source", "b", 40)]


def test_texts_of_one_length_are_in_one_third():
    assert length_names(["a", "bb", "ccc", "dddd", "eeeee", "ffffff"]) == [
        ["short"], ["short"], ["middle"], ["middle"], ["long"], ["long"]]
    assert {name for [name] in length_names(["same"] * 9)} == {"short"}


def test_the_newest_months_are_as_many_as_hold_thirty_rows():
    march, april, may = (datetime(2026, month, 5, tzinfo=UTC) for month in (3, 4, 5))
    found = newest_names([march] * 50 + [april] * 20 + [may] * 12 + [None] * 3)
    assert found == [[]] * 50 + [["since 2026-04"]] * 32 + [[]] * 3
    assert newest_names([may] * 29 + [None] * 40) == [[]] * 69


def test_losses_are_counted_exactly_and_to_one_side():
    first = np.array([True] * 8 + [False] * 2 + [True] * 20)
    second = np.array([False] * 8 + [True] * 2 + [True] * 20)
    found = of_right_wrong(first, second, groups=np.arange(30), seed=0)
    assert (found.n, found.n_won, found.n_lost) == (30, 2, 8)
    assert found.p_worse == pytest.approx(56 / 1024)  # 8, 9 or 10 heads of 10: 45 + 10 + 1
    back = of_right_wrong(second, first, groups=np.arange(30), seed=0)
    assert back.p_worse == pytest.approx(1 - 11 / 1024)
    assert of_right_wrong(first, first, groups=np.arange(30), seed=0).p_worse == 1


def test_rows_of_one_group_are_one_loss_not_many():
    first, second = np.array([True] * 8 + [False] * 22), np.zeros(30, dtype=bool)
    alone = of_right_wrong(first, second, groups=np.arange(30), seed=0)
    together = of_right_wrong(first, second, groups=np.array([0] * 4 + [1] * 4 + list(range(2, 24))), seed=0)
    assert alone.p_worse == pytest.approx(1 / 256) and together.p_worse == pytest.approx(0.25, abs=0.02)


def test_a_run_that_says_one_label_to_everything_does_not_win_that_label():
    gold = np.array([True] * 40 + [False] * 80)
    careful = gold.copy()
    careful[:8] = False  # finds 32 of 40 and nothing else: F1 of 64/72
    found = of_label(gold, np.ones(120, dtype=bool), careful, groups=np.arange(120), seed=0)
    assert found.n == 40 and found.difference.estimate == pytest.approx(64 / 72 - 80 / 160)
    assert found.p_worse == 1 and (found.n_won, found.n_lost) == (0, 8)
    assert of_label(gold, careful, np.ones(120, dtype=bool), groups=np.arange(120), seed=0).p_worse < 0.01
    with pytest.raises(ValueError, match="no row has the label"):
        of_label(~np.ones(9, dtype=bool), gold[:9], gold[:9], groups=np.arange(9), seed=0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.6, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_power_by_hand():
    # 1 row, always differing, always lost: seen only where one loss is enough. 5 rows, all lost: (1/2)^5 <= .05.
    assert power_of_drop(1, 1.0, 1.0, alpha=0.05) == 0
    assert power_of_drop(5, 1.0, 1.0, alpha=0.05) == 1
    # 5 rows, all differ, each lost with .8: all five lost or nothing is seen.
    assert power_of_drop(5, 0.6, 1.0, alpha=0.05) == pytest.approx(0.8 ** 5)


def test_more_rows_see_more():
    powers = [power_of_drop(n, 0.05, 0.15, alpha=0.05) for n in (30, 150, 312, 800)]
    assert powers == sorted(powers) and powers[0] < 0.2 and powers[-1] > 0.95


def test_only_declared_kinds_count_and_each_family_is_corrected_for_itself():
    slices = [Slice("length", "short", np.arange(40)), Slice("length", "long", np.arange(40)),
              Slice("source", "a", np.arange(40))]
    compared = [Compared(40, 0, 9, Interval(-0.2, -0.3, -0.1, 40), p, is_whole=True) for p in (0.02, 0.8, 0.04)]
    found = weigh_slices(slices, compared, critical=["length"], discordance=0.2)
    assert [one.p_adjusted for one in found] == pytest.approx([0.04, 0.8, 0.04])
    assert [one.blocks for one in found] == [True, False, False] and found[2].is_worse
    assert found[0].power < found[2].power, "two lengths share the five per cent"
