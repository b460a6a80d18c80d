import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.betting import bets_against, log_growth, log_mean_exp
from stats.drop_alarm import (
    THRESHOLDS,
    AlarmRule,
    alarm_rule,
    calibrated_thresholds,
    delay_of,
    floor_for,
    floor_from,
    labels_for_proof,
    labels_needed,
    log_evidence,
    watch,
)
from stats.intervals import Interval

RULE = AlarmRule(floor=0.9, n_per_look=50, looks_a_year=52, threshold=270.0)


def answers(n_right, n):
    return np.arange(n) < n_right


def test_the_evidence_of_two_looks_is_that_worked_by_hand():
    bets = bets_against(0.5)
    first = (1 + bets * 0.5) * (1 - bets * 0.5)  # one wrong, one right
    second = (1 + first) * (1 + bets * 0.5)  # one wrong
    found = watch([answers(1, 2), answers(0, 1)], AlarmRule(0.5, 2, 52, 270.0))
    assert found.evidence == pytest.approx([first.mean(), second.mean()])


@given(st.floats(0.02, 0.98), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_no_bet_is_expected_to_win_at_or_above_the_floor(floor, above):
    accuracy = floor + above * (1 - floor)
    right, wrong = np.exp(log_growth(np.array([1.0, 0.0]), floor))
    assert np.all(accuracy * right + (1 - accuracy) * wrong <= 1 + 1e-9)
    assert np.all(right > 0)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12), st.floats(0.1, 0.95))
@settings(max_examples=25, deadline=None)
def test_counts_and_single_scores_give_the_same_evidence(counts, floor):
    n_right = np.array([min(pair) for pair in counts])
    n = np.array([max(pair) for pair in counts])
    found = watch([answers(k, m) for k, m in zip(n_right, n, strict=True)], AlarmRule(floor, 20, 52, 270.0))
    with np.errstate(divide="ignore"):
        assert np.log(found.evidence) == pytest.approx(log_evidence(n_right, n, floor))


def test_a_look_without_labels_changes_nothing():
    with_gap = watch([answers(40, 50), np.empty(0, bool), answers(41, 50)], RULE)
    without = watch([answers(40, 50), answers(41, 50)], RULE)
    assert with_gap.evidence[[0, 2]] == pytest.approx(without.evidence)
    assert with_gap.evidence[1] == with_gap.evidence[0]
    assert watch([np.empty(0, bool)], RULE).evidence == pytest.approx([0.0])


def test_a_drop_rings_and_says_when_it_began():
    found = watch([answers(46, 50)] * 8 + [answers(38, 50)] * 4, RULE)
    assert found.alarm_at in (9, 10)
    assert found.warning_at is not None and found.warning_at <= found.alarm_at
    assert found.likely_since == 8
    assert found.accuracy[0].estimate == pytest.approx(0.92)
    assert "Alarm in week" in found.words and "since week 9" in found.words and "76.0%" in found.words


def test_good_weeks_do_not_ring_and_say_so():
    found = watch([answers(46, 50)] * 52, RULE)
    assert found.alarm_at is None and found.likely_since is None
    assert found.words.startswith("No sign that accuracy is below the floor (2600 labels of 52 weeks, floor 90.0%")
    assert watch([], RULE).words == "Nothing has been labelled since the deployment."


def test_a_warning_comes_at_a_fifth_of_the_evidence():
    found = watch([answers(36, 50)], RULE)
    assert RULE.warning <= found.evidence[0] < RULE.threshold
    assert (found.warning_at, found.alarm_at) == (0, None)
    assert found.words.startswith("Warning:")


def test_scores_between_right_and_wrong_are_weighed_too():
    found = watch([np.full(200, 0.6)], alarm_rule(floor=0.8, n_per_look=200, is_binary=False))
    assert found.alarm_at == 0
    assert found.accuracy[0].estimate == pytest.approx(0.6) and np.isnan(found.accuracy[0].low)
    with pytest.raises(ValueError, match=r"0\.0 to 1\.5"):
        watch([np.array([0.0, 1.5])], RULE)


def test_the_stored_thresholds_are_those_of_the_plan_and_of_a_new_simulation():
    stored = json.loads(THRESHOLDS.read_text())
    assert stored["false_alarms_a_year"] == 0.05 and stored["n_paths"] == 40_000
    assert 230 <= alarm_rule(floor=0.9, n_per_look=50).threshold <= 300  # 250 to 280 in the plan
    again = calibrated_thresholds(floor=0.9, n_per_look=50, n_paths=4000, seed=1)
    for looks in (52, 12, 4):
        rule = alarm_rule(floor=0.9, n_per_look=50, looks_a_year=looks)
        assert rule.threshold == pytest.approx(again[looks], rel=0.25)


def test_between_the_stored_floors_the_threshold_lies_between_and_beyond_them_it_holds_for_anything():
    low, mid, high = (alarm_rule(floor=floor, n_per_look=60).threshold for floor in (0.90, 0.91, 0.92))
    assert min(low, high) <= mid <= max(low, high)
    assert alarm_rule(floor=0.1, n_per_look=60).threshold == 52 / 0.05
    assert alarm_rule(floor=0.9, n_per_look=2000, looks_a_year=4).threshold == 4 / 0.05
    assert alarm_rule(floor=0.9, n_per_look=50, is_binary=False).threshold == 1040
    with pytest.raises(ValueError, match=r"got 0\.9, 50 and 26"):
        alarm_rule(floor=0.9, n_per_look=50, looks_a_year=26)


def test_at_the_floor_about_one_year_in_twenty_rings():
    n_right = np.random.default_rng(3).binomial(50, 0.9, (1000, 52))
    highest = log_evidence(n_right, np.array(50), 0.9).max(axis=1)
    assert 0.03 <= np.mean(highest >= np.log(alarm_rule(floor=0.9, n_per_look=50).threshold)) <= 0.07


def test_a_fall_from_92_to_78_is_seen_in_weeks():
    rule = alarm_rule(floor=0.9, n_per_look=50)
    sudden = delay_of(rule, before=0.92, after=0.78, n_paths=500)
    slow = delay_of(rule, before=0.92, after=0.78, gradual_looks=26, n_paths=500)
    assert sudden.median is not None and sudden.median <= 4
    assert slow.median is not None and 14 <= slow.median <= 18
    assert 0.80 <= slow.accuracy_at_alarm <= 0.86 and sudden.accuracy_at_alarm == pytest.approx(0.78)
    assert np.all(np.diff(sudden.seen) >= 0) and sudden.false_before <= 0.02


def test_what_is_never_seen_has_no_delay():
    found = delay_of(alarm_rule(floor=0.5, n_per_look=10), before=0.92, after=0.90, n_paths=50, horizon=5)
    assert (found.median, found.p90) == (None, None) and np.isnan(found.accuracy_at_alarm)
    with pytest.raises(ValueError, match=r"got 0\.7, 0\.8"):
        delay_of(RULE, before=0.7, after=0.8)


def test_more_haste_takes_more_labels():
    soon, later = (labels_needed(floor=0.9, before=0.92, after=0.78, within=weeks) for weeks in (3, 8))
    assert soon.n_per_look is not None and later.n_per_look is not None
    assert later.n_per_look < soon.n_per_look <= 150
    assert soon.words == (f"To see a drop from 92% to 78% at once within 3 weeks with a chance of 80%, label "
                          f"{soon.n_per_look} a week at random.")
    never = labels_needed(floor=0.9, before=0.92, after=0.895, within=1)
    assert never.n_per_look is None and "even 500 labels a week are not enough" in never.words


def test_labels_for_a_proof_are_those_of_the_plan():
    found = [labels_for_proof(floor=0.90, true=true) for true in (0.95, 0.93, 0.92)]
    assert found == pytest.approx([183, 557, 1302], abs=1)
    with pytest.raises(ValueError, match="differ"):
        labels_for_proof(floor=0.9, true=0.9)


def test_the_floor_is_the_target_or_what_is_sure():
    assert floor_for(0.90, 460, 500).value == 0.90
    sure = floor_for(0.80, 460, 500)
    assert sure.value == pytest.approx(0.8929, abs=5e-4) and "92.0% of 500" in sure.words
    assert "already below" in floor_for(0.95, 460, 500).words


def test_the_mean_of_huge_growth_does_not_overflow():
    assert log_mean_exp(np.array([1000.0, 1000.0])) == pytest.approx(1000.0)


def test_a_target_of_another_metric_is_no_floor():
    measured = Interval(0.7, 0.62, 0.78, 100)
    found = floor_from(measured, target=None, name="the mean span F1")
    assert found.value == 0.62 and "the mean span F1" in found.words
    assert floor_from(measured, target=0.75).value == 0.75
    assert floor_from(Interval(0.0, 0.0, 0.01, 100), target=None).value == 0.05
    with pytest.raises(ValueError, match="target"):
        floor_from(measured, target=1.0)
