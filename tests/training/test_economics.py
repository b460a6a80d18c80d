import math

import numpy as np
import pytest

from stats.intervals import Interval
from training.economics import (
    N_DRAWS,
    Economics,
    Guess,
    Projection,
    answer_cost,
    money_words,
    range_of,
    weigh,
    worth_of,
)

SURE_GAIN = Projection(None, Interval(0.10, 0.08, 0.12, 400), "if it does as run 1 did")
NO_GAIN = Projection(None, Interval(0.00, -0.05, 0.05, 400), "if it does as run 1 did")


def flat(value):
    return Guess(value, value, value)


def said(**changes):
    return Economics(**{"requests": flat(1000.0), "months": 12.0, "value": flat(0.5), **changes})


def weighed(outcome="FINE_TUNE", **changes):
    return weigh(outcome, "the gate's step", **{
        "n_right": 280, "n": 400, "target": 0.8, "economics": Economics(), "projection": None, **changes})


def test_a_value_worked_by_hand():
    prompt, gain = np.full(N_DRAWS, 0.7), np.full(N_DRAWS, 0.1)
    worth = worth_of(said(hosting=10.0, retrainings=2.0), prompt, gain, training=60.0, labour=40.0, seed=0)
    # 1,000 requests × 12 months × 0.1 × 0.5 = 600, less 10 × 12 of hosting and 60 × (1 + 2) of training
    assert worth.value.estimate == pytest.approx(300.0) and worth.p_positive == 1.0
    # 300 to be paid, 0.05 earned by a request, over 12 months
    assert worth.break_even.estimate == pytest.approx(500.0)
    # the first year earns 600 − 120 − 2 × 60 = 360 on the 60 + 40 laid out
    assert worth.roi.estimate == pytest.approx(2.6)
    assert worth.payback_months.estimate == pytest.approx(12 * 100 / 360)


def test_at_the_break_even_the_value_is_nothing():
    prompt, gain = np.full(N_DRAWS, 0.7), np.full(N_DRAWS, 0.1)
    economics = said(hosting=10.0)
    found = worth_of(economics, prompt, gain, training=60.0, labour=0.0, seed=0)
    there = worth_of(said(hosting=10.0, requests=flat(found.break_even.estimate)), prompt, gain, training=60.0,
                     labour=0.0, seed=0)
    assert there.value.estimate == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("missing", ["requests", "months", "value"])
def test_what_is_not_said_is_not_made_up(missing):
    found = weighed(economics=said(**{missing: None}), projection=SURE_GAIN)
    assert found.worth is None and found.outcome == "FINE_TUNE"
    assert "+10.0 points" in found.words[0] and "Whether that pays is not known" in found.words[1]
    assert found.words[1].endswith("not said.")


def test_training_is_advised_where_it_pays():
    found = weighed(economics=said(), projection=SURE_GAIN, training=10.0)
    assert found.outcome == "FINE_TUNE" and found.next_step == "the gate's step" and found.worth.p_positive > 0.99
    assert "+10.0 points" in found.words[0] and "it pays in over 99\u202f% of what may come" in found.words[1]


def test_what_cannot_pay_is_not_advised():
    found = weighed(economics=said(requests=flat(10.0)), projection=SURE_GAIN, training=5_000.0)
    assert found.outcome == "INCONCLUSIVE" and "Training is not shown to pay here." in found.next_step
    assert "requests a month" in found.next_step


def test_without_a_gain_more_labels_are_the_next_step():
    found = weighed(projection=NO_GAIN, labels_needed=350)
    assert found.outcome == "INCONCLUSIVE" and "Label about 350 more pool examples" in found.next_step


def test_without_a_projection_the_bounds_alone_decide_and_it_says_so():
    found = weighed(economics=said())
    assert found.outcome == "FINE_TUNE" and found.gain is None
    assert found.words == ["What an adapter would gain is not known yet: this verdict stands on the prompt's bounds "
                           "alone."]
    assert "nor what answers are worth" in weighed().words[0] and weighed("INCONCLUSIVE").words == []


def test_a_prompt_that_meets_the_target_stays_so():
    found = weighed("PROMPT_OK", economics=said(), projection=SURE_GAIN)
    assert found.outcome == "PROMPT_OK" and found.words == [] and found.next_step == "the gate's step"


def test_an_open_verdict_stays_open_however_much_it_would_pay():
    assert weighed("INCONCLUSIVE", economics=said(), projection=SURE_GAIN).outcome == "INCONCLUSIVE"


def test_a_target_above_what_people_agree_on_is_told():
    found = weighed(ceiling=Interval(0.75, 0.71, 0.79, 200))
    assert "75.0\u202f% of 200 examples" in found.words[0] and found.next_step.startswith("Mend the labels first")
    assert not weighed(ceiling=Interval(0.75, 0.69, 0.81, 200)).next_step.startswith("Mend")


def test_a_learning_curve_counts_from_the_prompts_own_uncertainty():
    curve = Projection(Interval(0.8, 0.78, 0.82, 300), None, "if it learns so")
    gain = weighed(projection=curve).gain
    assert gain.estimate == pytest.approx(0.1, abs=0.01) and gain.high - gain.low > 0.06


def test_prices_are_for_a_million_tokens_and_a_cache_makes_them_cheaper():
    assert answer_cost(1_000_000, 500_000, price_in=2.0, price_out=4.0) == pytest.approx(4.0)
    assert answer_cost(1_000_000, 0, price_in=2.0, price_out=4.0, cached_share=0.5,
                       cached_discount=0.9) == pytest.approx(1.1)


def test_cheaper_answers_count_once_it_is_said_how_the_model_is_served():
    prompt, gain = np.full(N_DRAWS, 0.7), np.zeros(N_DRAWS)
    for more, value in (({}, 0.0), ({"hosting": 0.0}, 120.0), ({"trained_cost": 0.004}, 72.0)):
        worth = worth_of(said(prompt_cost=0.01, **more), prompt, gain, training=0.0, labour=0.0, seed=0)
        assert worth.value.estimate == pytest.approx(value)


def test_a_guess_rises_and_its_draws_stay_within():
    draws = Guess(1.0, 2.0, 4.0).draws(np.random.default_rng(0))
    assert draws.min() >= 1 and draws.max() <= 4 and draws.mean() == pytest.approx(7 / 3, abs=0.02)
    with pytest.raises(ValueError, match="must rise"):
        Guess(3.0, 2.0, 4.0)


def test_what_never_pays_has_no_end():
    worth = worth_of(said(), np.full(N_DRAWS, 0.7), np.full(N_DRAWS, -0.1), training=10.0, labour=0.0, seed=0)
    assert math.isinf(worth.break_even.estimate) and math.isinf(worth.payback_months.estimate)
    stored = weighed(economics=said(), projection=Projection(None, Interval(-0.1, -0.11, -0.09, 9), "so")).to_json()
    assert stored["worth"]["break_even"]["estimate"] is None


def test_a_range_is_median_and_ninety_per_cent():
    found = range_of(np.arange(1.0, 101.0))
    assert (found.low, found.estimate, found.high) == (5.0, 50.0, 95.0)


@pytest.mark.parametrize(("amount", "words"), [
    (1240.4, "1,240 USD"), (3.4, "3.40 USD"), (-12.0, "−12.00 USD"), (0.0, "0.00 USD"), (-0.001, "0.00 USD"),
    (math.inf, "no end")])
def test_money_in_words(amount, words):
    assert money_words(amount, "USD") == words
