import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects.backoff import LONGEST_SECONDS, MAX_TRIES, wait_seconds

DRAWS = st.floats(0, 1, exclude_max=True)


def test_the_pauses_without_jitter() -> None:
    pauses = [wait_seconds(n, 0.5) for n in range(1, MAX_TRIES + 1)]
    assert pauses[:4] == [30, 60, 120, 240] and pauses[8:11] == [7680, 14400, 14400] and pauses[-1] is None
    assert sum(pause or 0 for pause in pauses) == 87_330, "24 h 15 min from the first try to the last"


@given(st.integers(1, 40), DRAWS)
def test_a_pause_moves_by_a_fifth_at_most_and_never_beyond_the_longest(n: int, draw: float) -> None:
    pause, middle = wait_seconds(n, draw), wait_seconds(n, 0.5)
    if n >= MAX_TRIES:
        assert pause is None
    else:
        assert pause and middle and 0.8 * middle <= pause <= 1.2 * middle <= 1.2 * LONGEST_SECONDS


def test_tries_count_from_one() -> None:
    with pytest.raises(ValueError, match="from 1, got 0"):
        wait_seconds(0, 0.5)
