import math

import numpy as np
import pytest

from stats.experiment import (
    Arm,
    Plan,
    always_valid_interval,
    differences_needed,
    judge_experiment,
    size_experiment,
)
from stats.guardrails import harm_evidence

PLAN = Plan(n_max=1000)


def arm(name, n, n_good, n_exposed=None):
    return Arm(name, n_exposed or n, n, n_good, n_good)


def judge(champion, challenger, plan=PLAN, **how):
    sides = (arm("champion", *champion), arm("challenger", *challenger))
    return judge_experiment(plan, *sides, **{"days": 14, **how})


@pytest.mark.parametrize(("base", "difference", "n"), [(0.80, 0.05, 906), (0.80, 0.02, 6039), (0.90, 0.05, 435),
                                                       (0.70, 0.10, 294)])
def test_sizes_for_one_look_are_those_of_the_plan(base, difference, n):
    assert size_experiment(base=base, difference=difference, feedback_rate=1, units_a_week=1000, n_looks=1).n_rated == n


def test_the_feedback_rate_decides_how_many_requests_it_takes():
    found = size_experiment(base=0.8, difference=0.05, feedback_rate=0.03, units_a_week=20_000)
    assert found.n_rated == math.ceil(905.3 * 1.02472)  # five looks take 2.5 % more
    assert found.n_units == math.ceil(found.n_rated * 2 / 0.03)
    assert found.weeks == pytest.approx(found.n_units / 20_000) and found.fits
    assert "As 3.0% of units give one, that is 61,867 units in all, 3.1 weeks." in found.words
    slow = size_experiment(base=0.8, difference=0.05, feedback_rate=0.03, units_a_week=2000, challenger_share=0.1)
    assert not slow.fits and slow.n_units == math.ceil(found.n_rated / 0.18 / 0.03) and "8 weeks" in slow.words
    with pytest.raises(ValueError, match="feedback_rate"):
        size_experiment(base=0.8, difference=0.05, feedback_rate=0, units_a_week=2000)


@pytest.mark.parametrize("difference", [0, 1e-300, 0.2, -0.8])
def test_a_difference_that_is_none_or_leaves_the_scale_is_refused(difference):
    with pytest.raises(ValueError, match="in \\(0, 1\\) and differ"):
        size_experiment(base=0.8, difference=difference, feedback_rate=1, units_a_week=1000)


def test_the_band_is_the_formula_by_hand():
    found = always_valid_interval(arm("a", 400, 320), arm("b", 400, 340), n_max=900)
    rho2 = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 300
    variances = [(good + 1 - (good + 1) ** 2 / 402) / 401 for good in (320, 340)]
    half = math.sqrt(sum(variances)) * math.sqrt(
        2 * (400 * rho2 + 1) / (400**2 * rho2) * math.log(math.sqrt(400 * rho2 + 1) / 0.05))
    assert found is not None
    assert (found.estimate, found.high - found.estimate) == (pytest.approx(0.05), pytest.approx(half))
    assert always_valid_interval(arm("a", 49, 30), arm("b", 400, 340), n_max=900) is None


def test_between_looks_it_says_when_the_next_is_due():
    found = judge((150, 100), (150, 149))
    assert found.outcome == "CONTINUE" and found.look is None and found.band is not None
    assert found.words == ("Go on: 0 of 5 planned looks are done, the next is due at 200 outcomes per arm; "
                           "there are 150.",)


def in_student(bound, n):
    """Expanded in 1 over the degrees of freedom, of Cornish & Fisher: z + (z³ + z) / 4f + (5z⁵ + 16z³ + 3z) / 96f²."""
    f = 2 * n - 2
    return bound + (bound**3 + bound) / (4 * f) + (5 * bound**5 + 16 * bound**3 + 3 * bound) / (96 * f**2)


def test_a_clear_difference_ships_or_keeps_at_the_first_look():
    better, worse = judge((200, 120), (200, 180)), judge((200, 180), (200, 120))
    assert better.outcome == "SHIP" and better.look is not None and better.look.is_crossed
    assert better.look.interval.low > 0 and better.look.bound == pytest.approx(in_student(4.8769, 200), abs=2e-4)
    assert worse.outcome == "KEEP" and "keep the champion" in worse.words[0]


def test_looks_go_on_to_the_end_and_then_it_is_not_proven():
    past = []
    for n in (200, 400, 600, 800):
        found = judge((n, n * 8 // 10), (n, n * 8 // 10 + 2), past=past)
        assert found.outcome == "CONTINUE" and found.look is not None and found.look.number == len(past) + 1
        past.append(found.look)
    end = judge((1000, 800), (1000, 802), past=past)
    assert end.outcome == "NOT_PROVEN" and end.look is not None
    assert end.look.bound == pytest.approx(in_student(2.0310, 1000), abs=2e-4)
    with pytest.raises(ValueError, match="ended at look 5"):
        judge((1100, 800), (1100, 802), past=[*past, end.look])


def test_as_good_and_cheaper_ships_only_at_the_end():
    cheap = Plan(n_max=8000, n_looks=1, is_cheaper=True, margin=0.02)
    assert judge((8000, 6400), (8000, 6400), cheap).outcome == "SHIP_AS_GOOD"
    assert judge((4000, 3200), (4000, 3200), cheap).outcome == "CONTINUE"
    assert judge((8000, 6400), (8000, 6400), Plan(n_max=8000, n_looks=1)).outcome == "NOT_PROVEN"


def test_a_missed_look_is_made_up_by_one_and_eight_weeks_are_the_end():
    late = judge((500, 400), (500, 405))
    assert late.look is not None and late.look.number == 1 and late.look.fraction == pytest.approx(0.5)
    then = judge((590, 470), (590, 480), past=[late.look])
    assert then.look is None and "due at 600" in then.words[0]
    over = judge((590, 470), (590, 480), past=[late.look], days=56)
    assert over.outcome == "NOT_PROVEN" and over.look is not None
    assert over.look.bound < 2.1  # all that is left of alpha


def test_the_end_comes_even_if_nothing_new_came():
    late = judge((500, 400), (500, 405))
    found = judge((501, 400), (501, 405), past=[late.look], days=60)
    assert (found.outcome, found.look) == ("NOT_PROVEN", None)
    assert found.words[0].startswith("Ended after 60 days")


def test_nothing_is_decided_in_the_first_week_or_on_few_outcomes():
    assert judge((200, 100), (200, 199), days=6.9).words[0].startswith("Go on: nothing is decided before day 7")
    assert "at least 50 in each arm" in judge((40, 10), (40, 39)).words[0]
    assert judge((40, 10), (40, 39), days=56).outcome == "NOT_PROVEN"


def test_a_wrong_ratio_or_harm_comes_before_any_result():
    assert judge((200, 120, 5000), (200, 180, 4000)).outcome == "INVALID"
    harm = harm_evidence("errors", np.zeros(60), np.ones(60))
    found = judge((60, 50), (60, 50), harms=[harm], days=1)
    assert found.outcome == "HARM" and found.words == (harm.words,)


def test_the_always_valid_engine_decides_by_the_band_at_any_look():
    plan = Plan(n_max=1000, engine="always valid")
    assert judge((110, 60), (110, 100), plan).outcome == "SHIP"
    assert judge((110, 88), (110, 89), plan).outcome == "CONTINUE"
    assert judge((1000, 800), (1000, 801), plan).outcome == "NOT_PROVEN"


def test_two_equal_arms_try_the_machinery():
    plan = Plan(n_max=1000, n_looks=1, is_aa=True)
    assert judge((1000, 800), (1000, 805), plan).outcome == "AA_PASSED"
    assert judge((1000, 800), (1000, 870), plan).outcome == "AA_FAILED"
    assert judge((500, 400), (500, 405), plan).outcome == "CONTINUE"


def test_unequal_willingness_to_answer_is_said():
    found = judge((200, 160, 5000), (400, 320, 5000), days=1)
    assert "People answer more often in one arm (4.0% of the champion's units, 8.0%" in found.words[1]


def test_an_arm_that_was_never_wrong_is_not_certain():
    assert arm("a", 60, 60).variance > 0
    found = always_valid_interval(arm("a", 60, 60), arm("b", 60, 60), n_max=900)
    assert found is not None and found.low < 0 < found.high


def test_impossible_arms_and_plans_are_refused():
    with pytest.raises(ValueError, match="outcomes in"):
        arm("a", 10, 11)
    with pytest.raises(ValueError, match="got 99 and 5"):
        Plan(n_max=99)
    with pytest.raises(ValueError, match="both are a"):
        judge_experiment(PLAN, arm("a", 60, 40), arm("a", 60, 40), days=14)


def test_the_difference_that_a_look_needs_is_its_bound_times_the_error_there():
    champion, challenger = arm("champion", 200, 160), arm("challenger", 200, 150)
    needs = differences_needed(PLAN, champion, challenger)
    error = math.sqrt((champion.variance + challenger.variance) / 200)
    assert [round(need.n) for need in needs] == [200, 400, 600, 800, 1000]
    assert needs[0].difference == pytest.approx(in_student(4.8769, 200) * error, abs=1e-4)
    assert needs[4].difference == pytest.approx(in_student(2.0310, 1000) * error * math.sqrt(200 / 1000), abs=1e-4)
    assert differences_needed(PLAN, arm("a", 49, 30), challenger) == ()


def test_a_look_that_was_taken_stays_where_it_was_and_later_ones_follow_from_it():
    first = judge((230, 184), (230, 180))
    needs = differences_needed(PLAN, arm("champion", 300, 240), arm("challenger", 300, 234), past=[first.look])
    assert [round(need.n) for need in needs] == [230, 400, 600, 800, 1000]
    assert needs[0].difference == pytest.approx(first.look.interval.high - first.look.interval.estimate)
    late = judge((995, 796), (995, 790))
    assert [round(need.n) for need in differences_needed(
        PLAN, arm("champion", 995, 796), arm("challenger", 995, 790), past=[late.look])] == [995, 1005]


def test_the_difference_that_the_band_needs_is_its_half_width():
    plan, sides = Plan(n_max=1000, engine="always valid"), (arm("a", 400, 320), arm("b", 400, 330))
    needs = differences_needed(plan, *sides)
    band = always_valid_interval(*sides, n_max=1000)
    near = min(needs, key=lambda need: abs(need.n - 400))
    assert needs[0].n == 50 and needs[-1].n == pytest.approx(1000) and len(needs) == 41
    assert near.difference == pytest.approx(band.high - band.estimate, rel=0.05)
