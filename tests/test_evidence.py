"""`make evidence`: how its page words what was measured; the measuring itself takes hours."""

import numpy as np
import pytest

from bench.evidence import Arm, _claim

GROUPS = np.arange(200)


def _arm(name: str, n_right: int) -> Arm:
    right = np.zeros((3, 200), dtype=bool)
    right[:, :n_right] = True
    return Arm(name, right, 1.0, 1.0)


@pytest.mark.parametrize(("first", "second", "said"), [
    (180, 120, "Gold wins: held here."), (120, 180, "Gold wins: the contrary held here."),
    (151, 150, "Gold wins: not proven here.")])
def test_a_claim_is_said_to_hold_only_where_its_interval_is_above_nothing(first: int, second: int, said: str) -> None:
    words = _claim(_arm("gold", first), _arm("noisy", second), GROUPS, "Gold wins")
    assert said in words
    assert f"{100 * first / 200:.1f}" in words
    assert "n = 200" in words


def test_as_good_as_means_within_two_points() -> None:
    assert "within 2 points): held here" in _claim(_arm("LoRA", 150), _arm("full", 150), GROUPS, "Same", is_equal=True)
    assert "the contrary held" in _claim(_arm("LoRA", 100), _arm("full", 160), GROUPS, "As good", is_equal=True)
