"""The log never keeps its writer waiting, and counts what it loses."""

import threading
from collections import Counter

import pytest

from serving.log_writer import BATCH, LogWriter


class Store:
    """Remembers what was written; refuses as often as it is told to."""

    def __init__(self, refuses=0):
        self.items, self.lost, self.refuses, self.batches = [], Counter(), refuses, []

    def write(self, items, lost):
        if self.refuses:
            self.refuses -= 1
            raise RuntimeError("locked")
        self.items += items
        self.lost += lost
        self.batches.append(len(items))


def writer_of(store, **options):
    pauses = []
    return LogWriter(store.write, group_of=lambda item: item % 2, sleep=pauses.append, **options), pauses


def test_a_thread_writes_what_was_put_in_batches_in_order():
    store = Store()
    writer, _ = writer_of(store)
    assert all(writer.put(n) for n in range(1000))
    writer.close()
    assert store.items == list(range(1000)) and max(store.batches) <= BATCH and not store.lost


def test_what_does_not_fit_is_counted_by_group_and_told_with_the_next():
    store = Store()
    writer, _ = writer_of(store, room=3)
    writer._thread = threading.current_thread()  # nobody empties it
    assert [writer.put(n) for n in range(6)] == [True, True, True, False, False, False]
    writer.flush()
    assert store.items == [0, 1, 2] and store.lost == {1: 2, 0: 1}
    writer.flush()
    assert store.lost == {1: 2, 0: 1}, "told once"


def test_a_store_that_is_locked_for_a_while_loses_nothing():
    store = Store(refuses=3)
    writer, pauses = writer_of(store, is_threaded=False)
    writer.put(7)
    assert store.items == [7] and pauses == [0.2, 1.0, 5.0]


def test_a_store_that_refuses_for_too_long_costs_a_batch_and_no_exception(caplog):
    store = Store(refuses=4)
    writer, _ = writer_of(store, is_threaded=False)
    assert writer.put(7)
    assert store.items == [] and "1 items of the log" in caplog.text
    writer.put(8)
    assert store.items == [8] and store.lost == {1: 1}


@pytest.mark.parametrize("n_threads", [8])
def test_many_threads_lose_nothing(n_threads):
    store = Store()
    writer, _ = writer_of(store)
    threads = [threading.Thread(target=lambda start=start: [writer.put(start * 100 + n) for n in range(100)])
               for start in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert sorted(store.items) == list(range(100 * n_threads))
