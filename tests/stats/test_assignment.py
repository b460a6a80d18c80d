import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from stats.assignment import arm_of, sample_ratio

EQUAL = {"champion": 0.5, "challenger": 0.5}


@given(*[st.text(max_size=20)] * 3)
@settings(max_examples=50, deadline=None)
def test_a_unit_always_gets_the_arm_that_its_hash_says(unit, experiment, salt):
    parts = f"{len(salt)}:{salt}{len(experiment)}:{experiment}{len(unit)}:{unit}"
    place = int.from_bytes(hashlib.sha256(parts.encode()).digest()[:8]) / 2**64
    found = arm_of(unit, experiment=experiment, salt=salt, shares={"a": 0.2, "b": 0.3, "c": 0.5})
    assert found == ("a" if place < 0.2 else "b" if place < 0.5 else "c")


def test_shares_are_met_and_another_salt_is_another_split():
    arms = {salt: np.array([arm_of(f"u{unit}", experiment="e", salt=salt, shares={"a": 0.9, "b": 0.1}) == "b"
                            for unit in range(5000)]) for salt in ("x", "y")}
    assert arms["x"].mean() == pytest.approx(0.1, abs=0.015)
    assert np.mean(arms["x"] & arms["y"]) == pytest.approx(0.01, abs=0.005)


def test_enlarging_the_challengers_share_moves_nobody_back():
    small, large = ([arm_of(f"u{unit}", experiment="e", salt="s", shares={"b": share, "a": 1 - share}) == "b"
                     for unit in range(500)] for share in (0.1, 0.5))
    assert all(after for before, after in zip(small, large, strict=True) if before)


def test_the_evidence_on_two_units_is_that_worked_by_hand():
    found = sample_ratio({"champion": 2, "challenger": 0}, EQUAL)
    assert found.e_value == pytest.approx((500 * 501 / (1000 * 1001)) / 0.25)
    assert found.p_value == pytest.approx(chisquare([2, 0], [1, 1]).pvalue)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_evidence_is_not_expected_to_grow_while_the_plan_is_true(share):
    shares = {"a": share, "b": 1 - share}
    e_values = [sample_ratio({"a": k, "b": 12 - k}, shares).e_value for k in range(13)]
    expected = sum(math.comb(12, k) * share**k * (1 - share)**(12 - k) * e for k, e in enumerate(e_values))
    assert expected == pytest.approx(1)


def test_a_lost_twentieth_is_found_and_said():
    found = sample_ratio({"champion": 5250, "challenger": 4750}, EQUAL)
    assert found.is_wrong and "champion 5250 (planned 50%)" in found.words and "new salt" in found.words
    assert not sample_ratio({"champion": 5080, "challenger": 4920}, EQUAL).is_wrong
    assert sample_ratio({"champion": 0, "challenger": 0}, EQUAL).words == "Nobody has been exposed yet."


def test_shares_that_are_none_are_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        arm_of("u", experiment="e", salt="s", shares={"a": 0.5, "b": 0.6})
    with pytest.raises(ValueError, match="champion"):
        sample_ratio({"champion": 1}, EQUAL)
