"""So many requests and tokens a minute, shared by the threads of one job."""

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0
STEP_SECONDS = 1.0  # a thread that waits looks so often whether it should stop


class Stopped(BaseException):  # the endpoint's client catches every Exception and tries again
    """The job has ended: who waits need not ask any more."""


class RateLimit:
    """Lets requests through so that no 60 seconds hold more than the limits; 0 is no limit.

    A request with more tokens than a minute may have goes alone. `hold` keeps all back for a while, because the
    endpoint has said so.
    """

    def __init__(self, requests_per_minute: int = 0, tokens_per_minute: int = 0, *,
                 clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._most_requests, self._most_tokens = requests_per_minute, tokens_per_minute
        self._clock, self._sleep = clock, sleep
        self._lock, self._held_until, self._is_stopped = threading.Lock(), 0.0, False
        self._sent: deque[tuple[float, int]] = deque()  # when, tokens
        self._corrections: deque[tuple[float, int]] = deque()

    def take(self, tokens: int) -> None:
        """Wait until a request of about so many tokens may be sent. Raises Stopped if the job ends meanwhile."""
        while (wait := self.attempt(tokens)) > 0:
            self._sleep(min(wait, STEP_SECONDS))

    def correct(self, tokens: int) -> None:
        """A request took so many tokens more, or with a minus fewer, than it was let through for."""
        with self._lock:
            self._corrections.append((self._clock(), tokens))

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)

    def stop(self) -> None:
        self._is_stopped = True

    def attempt(self, tokens: int = 0) -> float:
        """Seconds until it is worth trying again; 0 where the request may go now, and then it counts."""
        with self._lock:
            if self._is_stopped:
                raise Stopped
            now = self._clock()
            for queue in (self._sent, self._corrections):
                while queue and queue[0][0] <= now - WINDOW_SECONDS:
                    queue.popleft()
            if now < self._held_until:
                return self._held_until - now
            spent = sum(n for _, n in self._sent) + sum(n for _, n in self._corrections)
            is_full = bool(self._most_requests) and len(self._sent) >= self._most_requests
            if self._sent and (is_full or (self._most_tokens and spent + tokens > self._most_tokens)):
                return self._sent[0][0] + WINDOW_SECONDS - now
            self._sent.append((now, tokens))
            return 0.0
