"""A log that never keeps its writer waiting: a bounded queue, and one thread that writes what is in it.

What is put in here may get lost: when the queue is full, when the store refuses it for too long, and when the process
is killed, then at most the last FLUSH_SECONDS. What was lost otherwise is counted. What must not get lost does not go
here.
"""

import atexit
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.5
BATCH = 200  # written at once
PATIENCE = (0.2, 1.0, 5.0)  # pauses between the tries to write a batch


class LogWriter(Generic[T]):
    """write: stores items and how many were lost by group since it last succeeded; raises what it likes.

    group_of: what lost items are counted by. room: items that may wait.
    is_threaded: without a thread of its own `put` writes at once, which is for tests.
    """

    def __init__(self, write: Callable[[Sequence[T], Counter[Hashable]], None], *, group_of: Callable[[T], Hashable],
                 room: int = 10_000, is_threaded: bool = True, sleep: Callable[[float], None] = time.sleep) -> None:
        self._write, self._group_of, self._room, self._sleep = write, group_of, room, sleep
        self._waiting: deque[T] = deque()
        self._lost: Counter[Hashable] = Counter()
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_threaded, self._is_closed = is_threaded, False

    def put(self, item: T) -> bool:
        """Leave an item to be written; return whether there was room. Never waits and never raises."""
        with self._lock:
            if len(self._waiting) >= self._room:
                self._lost[self._group_of(item)] += 1
                return False
            self._waiting.append(item)
            n_waiting = len(self._waiting)
            if self._is_threaded and self._thread is None:  # started here: a server forks after the import
                self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
                self._thread.start()
                atexit.register(self.close)
        if not self._is_threaded:
            self.flush()
        elif n_waiting >= BATCH:
            self._wake.set()
        return True

    def flush(self) -> None:
        """Write everything that waits, now and in this thread."""
        with self._writing:
            while True:
                with self._lock:
                    batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                    lost, self._lost = self._lost, Counter()
                if not batch and not lost:
                    return
                if not self._stored(batch, lost):
                    with self._lock:
                        self._lost.update(lost)
                        self._lost.update(self._group_of(item) for item in batch)
                    return

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._is_closed = True
        self._wake.set()
        self.flush()

    def _stored(self, batch: Sequence[T], lost: Counter[Hashable]) -> bool:
        for pause in (*PATIENCE, None):
            try:
                self._write(batch, lost)
                return True
            except Exception:
                if pause is None or self._is_closed:
                    log.exception("%d items of the log could not be written and are lost", len(batch))
                    return False
                self._sleep(pause)
        return False

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self.flush()
