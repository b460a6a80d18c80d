"""Celery's file broker, mended: a message is there whole or not at all, and of two readers one gets it.

kombu writes into a file that readers see already. One that is quick takes half a message, and its worker ends. Here a
message is written beside and renamed, and taken by renaming; one that cannot be read is passed over: it is only a
wake-up, and the tick finds the job.
"""

import logging
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.encoding import bytes_to_str, str_to_bytes
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)

BIND_TRIES, BIND_PAUSE_SECONDS = 20, 0.05  # while another process writes the table of queues for the first time


class Channel(filesystem.Channel):
    """Messages as files in one folder; names sort by age."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # type: ignore[override]  # kombu names it twice
        path = Path(self.data_folder_out) / f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(str_to_bytes(dumps(message)))
        part.rename(path)

    def _get(self, queue: str) -> Any:  # type: ignore[override]  # it has no timeout, whatever the base class says
        for path in sorted(Path(self.data_folder_in).glob(f"*.{queue}.msg")):
            taken = path.with_name(f"{path.name}.taken")
            try:
                path.rename(taken)
                content = taken.read_bytes()
                taken.unlink()
                return loads(bytes_to_str(content))
            except FileNotFoundError:  # another reader was first
                continue
            except ValueError:
                log.warning("a wake-up cannot be read and is passed over: %s", path.name)
        raise Empty

    def get_table(self, exchange: str) -> list[Any]:
        try:
            return list(super().get_table(exchange))
        except ValueError:  # half of it is written; the message gets lost, and the tick finds the job
            return []

    def _queue_bind(self, *args: Any) -> None:
        for _ in range(BIND_TRIES):
            try:
                super()._queue_bind(*args)
                return
            except ValueError:
                time.sleep(BIND_PAUSE_SECONDS)
        super()._queue_bind(*args)


class Transport(filesystem.Transport):
    Channel = Channel
