import numpy as np
import pytest

from curation.experiments import Judge, Training, difference, judged, mean_accuracy, verdict
from stats.intervals import Interval

NORTH, EAST = np.array([0.0, 1.0]), np.array([1.0, 0.0])


def rows(*directions):
    return np.array(directions)


def some(n, seed=0):
    random = np.random.default_rng(seed)
    angle = random.uniform(0, np.pi / 2, n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1), ["a" if one > np.pi / 4 else "b" for one in angle]


def test_the_recipe_learns_what_can_be_learned_and_wrong_labels_spoil_it():
    vectors, labels = some(200)
    judge = Judge(*some(100, seed=1), groups=np.arange(100))
    clean = Training(vectors, labels)
    wrong = Training(vectors, [{"a": "b", "b": "a"}[label] for label in labels])
    right = judged([clean, wrong], judge)
    assert right.shape == (2, 100)
    assert right[0].mean() > 0.95 and right[1].mean() < 0.05


def test_a_draw_with_one_label_always_says_it():
    judge = Judge(rows(NORTH, EAST, EAST), ["a", "b", "b"], groups=np.arange(3))
    assert judged([Training(rows(NORTH), ["b"])], judge).tolist() == [[False, True, True]]


def test_halves_never_part_a_group():
    judge = Judge(np.zeros((6, 2)), ["a"] * 6, groups=np.array([7, 7, 8, 8, 9, 9]))
    assert judge.halves.tolist() == [True, True, False, False, True, True]


def test_a_difference_is_the_mean_of_the_paired_gains():
    first = np.array([[True, False, False, True]])
    second = np.array([[True, True, False, True], [True, True, True, True]])
    found = difference(first, second, np.arange(4), seed=0)
    assert found.estimate == pytest.approx((1 + 2) / 8) and found.n == 4
    assert difference(second, first, np.arange(4), seed=0).estimate == -found.estimate


def test_equal_arms_are_not_certain_to_be_equal():
    right = np.ones((1, 50), dtype=bool)
    found = difference(right, right, np.arange(50), seed=0)
    assert found.low < 0 == found.estimate < found.high


def test_the_interval_of_a_difference_covers_it():
    random, covered = np.random.default_rng(0), []
    for _ in range(40):
        first = random.random((1, 200)) < 0.7
        second = np.where(random.random((1, 200)) < 0.2, random.random((1, 200)) < 0.9, first)
        truth = 0.2 * (0.9 - 0.7)
        found = difference(first, second, np.arange(200), seed=0)
        covered.append(found.low <= truth <= found.high)
    assert np.mean(covered) >= 0.9


def test_rows_of_one_group_are_one_piece_of_evidence():
    right = np.random.default_rng(0).random((1, 200)) < 0.5
    alone = mean_accuracy(right, np.arange(200), seed=0)
    together = mean_accuracy(np.repeat(right, 4, axis=1), np.repeat(np.arange(200), 4), seed=0)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.15)


def test_arms_with_unlike_numbers_of_draws_are_refused():
    with pytest.raises(ValueError, match="got 2 and 3"):
        difference(np.ones((2, 4), dtype=bool), np.ones((3, 4), dtype=bool), np.arange(4), seed=0)


def test_without_rows_nothing_is_judged():
    with pytest.raises(ValueError, match="need rows"):
        judged([Training(np.zeros((0, 2)), [])], Judge(rows(NORTH), ["a"], np.arange(1)))


def test_the_verdict_says_who_wins_who_loses_and_what_is_open():
    def share(value, spread=0.01):
        return Interval(value, value - spread, value + spread, 500)

    said = verdict(["all", "settled", "gold", "random"], [share(0.8), share(0.85), share(0.74), share(0.8)],
                   [None, share(0.05), share(-0.06), share(0.004)])
    assert said == [
        "On these data “settled” (+5.0 points, +4.0 to +6.0) beats “all” (80.0\u202f% right).",
        "“gold” (−6.0 points, −7.0 to −5.0) loses against “all” (80.0\u202f% right).",
        "No difference is shown between “all” (80.0\u202f% right) and “random” (+0.4 points, −0.6 to +1.4)."]
