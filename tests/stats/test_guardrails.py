import numpy as np
import pytest

from stats.betting import bets_against
from stats.guardrails import harm_evidence


def test_the_evidence_of_one_pair_is_that_worked_by_hand():
    found = harm_evidence("errors", np.array([0.0, 1.0]), np.array([1.0]))
    assert found.e_value == pytest.approx(np.mean(1 + 0.5 * bets_against(0.5)))
    assert (found.n, found.worse_by, found.is_harm) == (1, 1.0, False)


def test_a_broken_challenger_is_stopped_within_a_few_dozen_units():
    random = np.random.default_rng(0)
    found = harm_evidence("errors", random.random(80) < 0.03, random.random(80) < 0.4)
    assert found.is_harm and "The challenger is worse: stop it." in found.words


def test_what_is_as_good_or_within_the_margin_is_not_called_harm():
    random = np.random.default_rng(1)
    same = [harm_evidence("cost", random.random(400), random.random(400)).is_harm for _ in range(200)]
    slight = [harm_evidence("cost", random.random(400) < 0.05, random.random(400) < 0.1, margin=0.05).is_harm
              for _ in range(200)]
    assert np.mean(same) <= 0.03 and np.mean(slight) <= 0.03


def test_once_called_harm_later_units_do_not_take_it_back():
    bad = np.concatenate([np.ones(40), np.zeros(2000)])
    assert harm_evidence("errors", np.zeros(2040), bad).is_harm


def test_without_pairs_nothing_is_known_and_bad_values_are_refused():
    assert harm_evidence("errors", np.empty(0), np.ones(3)).words == "errors: no pair of units yet."
    with pytest.raises(ValueError, match="latency must be in"):
        harm_evidence("latency", np.array([3.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="got 1 and"):
        harm_evidence("errors", np.ones(1), np.ones(1), margin=1)
