import pytest

from training.rate_limit import RateLimit, Stopped


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def limited(*limits):
    clock = Clock()
    return RateLimit(*limits, clock=clock, sleep=clock.sleep), clock


def test_no_sixty_seconds_hold_more_requests_than_allowed():
    limit, clock = limited(3)
    sent = []
    for _ in range(10):
        limit.take(1)
        sent.append(clock.now)
        clock.now += 1
    assert all(sum(start <= one < start + 60 for one in sent) <= 3 for start in sent)
    assert sent[-1] - sent[0] == 180, "and no slower than that"


def test_tokens_are_limited_by_what_was_really_used():
    limit, clock = limited(0, 100)
    limit.take(10)
    limit.correct(80)
    limit.take(10)
    assert clock.now == 1000
    limit.take(10)
    assert clock.now == 1060


def test_a_request_larger_than_the_limit_goes_alone():
    limit, clock = limited(0, 100)
    limit.take(500)
    limit.take(1)
    assert clock.now == 1060


def test_everybody_waits_when_the_endpoint_says_so():
    limit, clock = limited()
    limit.hold(90)
    limit.hold(5)
    limit.take(1)
    assert clock.now == 1090


def test_without_limits_nobody_waits():
    limit, clock = limited()
    for _ in range(1000):
        limit.take(10**9)
    assert clock.now == 1000


def test_who_waits_for_a_job_that_ended_is_let_go():
    limit, _ = limited(1)
    limit.take(1)
    limit.stop()
    with pytest.raises(Stopped):
        limit.take(1)
