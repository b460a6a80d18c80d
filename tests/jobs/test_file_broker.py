"""The file broker: a wake-up is there whole or not at all, and none of them can end a worker."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu.connection import Connection

from jobs.file_broker import Channel, Transport


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Any]:
    with connected(tmp_path) as connection:
        yield connection.channel()


def connected(folder: Path) -> Connection:
    return Connection(transport=Transport, transport_options={
        "data_folder_in": str(folder), "data_folder_out": str(folder), "control_folder": str(folder / "control")})


def taken(channel: Channel) -> list[Any]:
    found = []
    while True:
        try:
            found.append(channel._get("celery"))
        except Empty:
            return found


def test_messages_come_out_in_order_and_leave_nothing_behind(channel: Channel, tmp_path: Path) -> None:
    for number in range(5):
        channel._put("celery", {"job": number})
    assert sorted(message["job"] for message in taken(channel)) == [0, 1, 2, 3, 4]
    assert not list(tmp_path.glob("*msg*"))


@pytest.mark.parametrize("content", [b"", b'{"job": ', b"\xff\xfe", b"no JSON"])
def test_half_a_message_is_passed_over(content: bytes, channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "0_half.celery.msg").write_bytes(content)
    channel._put("celery", {"job": 1})
    assert taken(channel) == [{"job": 1}]


def test_a_message_that_is_being_written_is_not_seen(channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "0_new.celery.msg.part").write_bytes(b'{"job": 1}')
    assert taken(channel) == []


def test_of_many_readers_and_writers_each_message_reaches_one(tmp_path: Path) -> None:
    def work(number: int) -> list[Any]:
        with connected(tmp_path) as connection:
            channel = connection.channel()
            for message in range(50):
                channel._put("celery", {"job": number * 50 + message})
            return taken(channel)

    with ThreadPoolExecutor(4) as people:
        found = [message["job"] for part in people.map(work, range(4)) for message in part]
    assert sorted(found) == list(range(200))


def test_a_half_written_table_of_queues_costs_a_wake_up_not_the_worker(channel: Channel, tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "celery.exchange").write_bytes(b"")
    assert channel.get_table("celery") == []


def test_celery_uses_it() -> None:
    from goldpan import celery_app

    assert isinstance(celery_app.connection_for_write("filesystem://").transport, Transport)
