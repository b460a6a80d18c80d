import numpy as np
import pytest

from stats.paired import compare_right_wrong
from stats.shadow import Preferences, shadow_size, shadow_words, to_judge, weigh_preferences


@pytest.mark.parametrize(("discordance", "n"), [(0.10, 312), (0.15, 469), (0.20, 626), (0.25, 783)])
def test_sizes_for_five_points_are_those_of_the_plan(discordance, n):
    assert shadow_size(difference=0.05, discordance=discordance) == n


def test_the_sign_test_is_that_worked_by_hand():
    found = weigh_preferences(Preferences(champion=2, challenger=10, ties=3, left=6))
    assert found.p_value == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert found.win_rate.estimate == pytest.approx(10 / 12) and found.win_rate.n == 12
    assert found.words == ("The challenger's answer was preferred in 83% of 12 cases (55% to 95%); 3 were ties. "
                           "It is better.")


def test_what_is_not_proven_says_what_would_have_been_seen():
    found = weigh_preferences(Preferences(champion=45, challenger=55, ties=0, left=50))
    assert "Not proven better or worse: a rate of 64% would have been seen" in found.words
    assert weigh_preferences(Preferences(0, 0, 4, 0)).words == "Nobody has preferred one of the answers yet."


def test_people_who_always_choose_the_left_are_noticed():
    found = weigh_preferences(Preferences(champion=50, challenger=50, ties=0, left=80))
    assert found.is_side_biased and "left side in 80%" in found.words
    with pytest.raises(ValueError, match="left=9"):
        weigh_preferences(Preferences(1, 1, 0, 9))


def test_a_shadow_is_told_in_words():
    def said(both, first, second, neither):
        counts = [both, first, second, neither]
        return shadow_words(compare_right_wrong(
            np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts),
            groups=np.arange(sum(counts)), seed=0, n_resamples=500))

    assert said(400, 10, 60, 30).endswith("it won 60 and lost 10. It is better.")
    assert said(400, 60, 10, 30).endswith("It is worse.")
    assert "would be seen with a chance of 80 % on 469 requests" in said(80, 8, 7, 5)
    assert "hardly ever differ" in said(90, 2, 1, 7)
    with pytest.raises(ValueError, match=r"got 0\.2 and 0\.1"):
        shadow_size(difference=0.2, discordance=0.1)


def test_only_answers_that_differ_have_to_be_judged():
    found = to_judge(400, 60)
    assert found.differing.estimate == 0.15 and found.n_requests == 469
    assert found.n_judged == 71 and "about 71" in found.words
    alike = to_judge(400, 4)
    assert alike.n_requests is None and "neither can be better by 5%" in alike.words
    assert to_judge(0, 0).words == "No request was asked."
