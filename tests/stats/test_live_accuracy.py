import numpy as np
import pytest

from stats.intervals import wilson
from stats.live_accuracy import estimate_accuracy, why_no_judge


def draw(n, *, accuracy=0.85, sensitivity=0.95, specificity=0.8, seed=0):
    random = np.random.default_rng(seed)
    right = random.random(n) < accuracy
    return right, random.random(n) < np.where(right, sensitivity, 1 - specificity)


def test_the_estimate_is_that_of_the_formula_by_hand():
    right = np.repeat([1.0, 1, 0, 0], [150, 10, 10, 30])
    judged = np.repeat([1.0, 0, 1, 0], [150, 10, 10, 30])
    rest = np.repeat([1.0, 0], [700, 300])
    found = estimate_accuracy(right, judged, rest)
    covariance = 150 / 200 - 0.8 * 0.8
    variance = np.concatenate([judged, rest]).var()
    tuning = covariance / (variance * 1.2)
    assert found.uses_judge
    assert found.interval.estimate == pytest.approx(0.8 + tuning * (0.7 - 0.8))
    squared = (right - tuning * judged).var(ddof=1) / 200 + tuning**2 * rest.var(ddof=1) / 1000
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.96 * np.sqrt(squared), rel=0.02)
    assert found.worth == pytest.approx(right.var(ddof=1) / 200 / squared)


def test_a_good_judge_makes_the_interval_narrower_and_its_bias_cancels():
    right, judged = draw(4300, sensitivity=0.9, specificity=0.7, seed=1)
    found = estimate_accuracy(right[:300], judged[:300], judged[300:])
    plain = wilson(int(right[:300].sum()), 300)
    assert found.uses_judge and found.worth > 1.1
    assert found.interval.high - found.interval.low < plain.high - plain.low
    assert abs(found.judge_alone - 0.85) > 0.03  # alone it would be wrong
    assert found.interval.low <= 0.85 <= found.interval.high


def test_a_useless_judge_is_not_listened_to():
    right, _ = draw(300)
    judged = np.random.default_rng(5).random(3300) < 0.5
    assert estimate_accuracy(right, judged[:300], judged[300:]).worth == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("change", "reason"), [
    ({"n": 50}, "needs at least 200 labels to be measured, there are 50: label 150 more"),
    ({"sensitivity": 1.0, "specificity": 1.0}, "erred on 0 labelled rows"),
    ({"accuracy": 0.99, "sensitivity": 0.9}, "are of the rarer kind"),
    ({"sensitivity": 1.0, "specificity": 0.0}, "tells nothing"),
])
def test_where_a_condition_does_not_hold_it_is_wilson_and_says_why(change, reason):
    settings = {"n": 200, **change}
    right, judged = draw(**settings)
    found = estimate_accuracy(right, judged, np.tile(judged, 10))
    assert not found.uses_judge and found.worth == 1
    assert found.interval == wilson(int(right.sum()), len(right))
    assert reason in " ".join(found.why_not) and reason in found.words


def test_rows_that_were_picked_or_too_little_traffic_do_not_do():
    right, judged = draw(400)
    assert "not drawn uniformly" in why_no_judge(right, judged, 1000, is_uniform=False)[0]
    assert "let it read more" in why_no_judge(right, judged, 399)[0]
    assert why_no_judge(right, judged, 400) == ()
    assert estimate_accuracy(np.empty(0), np.empty(0), np.ones(3)).words.startswith("The accuracy is not known")


def test_other_shapes_and_values_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\), \(3,\)"):
        estimate_accuracy(np.ones(2), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        estimate_accuracy(np.ones(2), np.full(2, 2.0), np.ones(3))
