import numpy as np
import pytest

from labeling.automation_bias import effect_of


def answers(n_equal, n):
    return np.arange(n) < n_equal


def effect(shown, hidden, shown_seconds=(), hidden_seconds=()):
    return effect_of(answers(*shown), np.array(shown_seconds, dtype=float), answers(*hidden),
                     np.array(hidden_seconds, dtype=float))


def test_a_proven_pull_is_said_with_its_interval_and_what_to_do():
    found = effect((920, 1000), (243, 300))
    assert found.pull.estimate == pytest.approx(0.11)
    assert found.bias_words == (
        "People agree with shown suggestions 92\u202f% of the time, with hidden ones 81\u202f%: shown suggestions pull "
        "answers by 11 points (7 to 16). Consider hiding more, or reviewing accepted ones.")


def test_where_no_pull_is_proven_it_says_how_few_were_hidden():
    said = effect((90, 100), (29, 34)).bias_words
    assert said.startswith("No pull can be shown yet (n = 34 hidden).")
    assert "between −6 and 21 points" in said


def test_contradicting_what_is_shown_is_no_pull():
    assert "contradicts it more often" in effect((100, 200), (180, 200)).bias_words


def test_without_hidden_ones_nobody_can_tell():
    assert "keep a share hidden" in effect((9, 10), (0, 0)).bias_words
    assert effect((0, 0), (3, 4)).bias_words == "No answer to a shown suggestion has come back yet."


@pytest.mark.parametrize(("shown", "hidden", "words"), [
    ([4.0] * 20, [7.5] * 20, "A shown suggestion saves 3.5\u202fs an answer (3.5 to 3.5)."),
    ([9.0] * 20, [7.5] * 20, "A shown suggestion costs 1.5\u202fs an answer (1.5 to 1.5)."),
    ([5.0, 9.0], [6.0, 7.0], "No time saved can be shown yet: between −3.0 and 2.0\u202fs an answer."),
    ([np.nan, 4.0], [np.nan], ""),
])
def test_time_saved_is_a_difference_of_medians(shown, hidden, words):
    found = effect((1, len(shown)), (1, len(hidden)), shown, hidden)
    assert found.time_words == words
