import numpy as np
import pytest

from stats.honeypots import honeypot_evidence


def flagged_after(accuracy, *, n_annotators, n_answers, floor=0.85, seed=0):
    """Return after how many answers each simulated annotator was flagged, inf if never."""
    answers = np.random.default_rng(seed).random((n_annotators, n_answers)) < accuracy
    found = [honeypot_evidence(one, floor=floor).flagged_at for one in answers]
    return np.array([np.inf if at is None else at for at in found])


def test_evidence_of_two_answers_worked_by_hand():
    evidence = honeypot_evidence(np.array([False, True]), floor=0.5)
    accuracy = 0.5 - np.geomspace(0.01, 0.48, 24)
    bets = (0.5 - accuracy) / 0.25
    assert evidence.e_values == pytest.approx([np.mean(1 + bets * 0.5), np.mean((1 + bets * 0.5) * (1 - bets * 0.5))])
    assert evidence.flagged_at is None
    assert evidence.n_right == 1


@pytest.mark.parametrize("floor", [0.02, 0.3, 0.85, 0.99])
def test_each_bet_is_fair_at_the_floor(floor):
    right, wrong = (honeypot_evidence(np.array([answer]), floor=floor).e_values[0] for answer in (True, False))
    assert floor * right + (1 - floor) * wrong == pytest.approx(1)
    assert 0 < right < 1 < wrong


def test_annotators_below_the_floor_are_flagged_soon():
    half = flagged_after(0.50, n_annotators=400, n_answers=300)
    two_thirds = flagged_after(0.65, n_annotators=400, n_answers=300)
    assert 8 <= np.median(half) <= 14  # 11 in the plan
    assert np.quantile(half, 0.9) <= 32  # 25
    assert 22 <= np.median(two_thirds) <= 37  # 29
    assert np.quantile(two_thirds, 0.9) <= 90  # 68


def test_annotators_at_or_above_the_floor_are_hardly_ever_flagged():
    assert np.mean(flagged_after(0.85, n_annotators=1000, n_answers=100) <= 100) <= 0.05
    assert not (flagged_after(0.95, n_annotators=500, n_answers=300) <= 300).any()


def test_a_flag_stays_where_it_was_first_reached():
    evidence = honeypot_evidence(np.repeat([False, True], [8, 200]), floor=0.85)
    assert evidence.flagged_at is not None
    assert evidence.flagged_at <= 8
    assert evidence.e_values[evidence.flagged_at - 1] >= 20
    assert evidence.e_values[-1] < 20


def test_no_answers_are_no_evidence_and_a_long_record_does_not_overflow():
    assert honeypot_evidence(np.empty(0, dtype=bool), floor=0.85).flagged_at is None
    assert np.isfinite(honeypot_evidence(np.zeros(5000, dtype=bool), floor=0.85).e_values).all()


def test_a_smaller_alpha_asks_for_more():
    answers = np.zeros(10, dtype=bool)
    assert honeypot_evidence(answers, floor=0.85, alpha=0.001).flagged_at > honeypot_evidence(answers,
                                                                                              floor=0.85).flagged_at


@pytest.mark.parametrize(("floor", "alpha"), [(0, 0.05), (1, 0.05), (0.85, 0), (0.85, 1)])
def test_a_floor_or_alpha_outside_0_and_1_is_refused(floor, alpha):
    with pytest.raises(ValueError, match="must be in"):
        honeypot_evidence(np.array([True]), floor=floor, alpha=alpha)
