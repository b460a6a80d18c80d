"""What a run leaves behind while it goes on: its curve, what it has spent, and why it has to stop."""

import json
import math
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import checkpoints, distributed

METRICS = "metrics.jsonl"
KEPT = "checkpoints"  # below the run's folder: what a resumed run needs, and the adapter of every scored epoch
SPENT = "spent.json"  # in KEPT: what all attempts of the run have taken
# The first of these that is measured chooses the epoch.
CHOSEN_BY = ("dev_calibrated", "dev_score", "dev_preferred", "dev_loss")


class Diverged(ValueError):
    """The loss is no finite number any more."""


class CapReached(Exception):
    """The run has used up its seconds; the newest checkpoint holds what it has learned."""


class Spent:
    """Seconds on the clock and of the processor that all attempts of a run have taken, kept beside its checkpoints.

    started_at: when this process was asked for, so that its own start counts; now, if left out.
    Of several processes that train together it is the first one's.
    """

    def __init__(self, path: Path, started_at: float | None = None) -> None:
        self.path = path
        earlier = (_parsed(path.read_text()) if path.exists() else None) or {"seconds": 0.0, "cpu_seconds": 0.0}
        self.earlier, self.earlier_cpu = float(earlier["seconds"]), float(earlier["cpu_seconds"])
        self.before = max(0.0, time.time() - started_at) if started_at else 0.0
        self.clock = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.earlier + self.before + time.perf_counter() - self.clock

    def to_json(self) -> dict[str, float]:
        return {"spent_seconds": self.seconds, "cpu_seconds": self.earlier_cpu + time.process_time()}

    def write(self) -> None:
        if distributed.rank():
            return
        now = self.to_json()
        temporary = self.path.with_suffix(".tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"seconds": now["spent_seconds"], "cpu_seconds": now["cpu_seconds"]}))
        temporary.rename(self.path)


class MetricsLog:
    """metrics.jsonl: one line per optimiser step and one per scored epoch, appended and flushed.

    On opening, lines beyond `keep_steps` are dropped: a resumed run writes them again.
    """

    def __init__(self, path: Path, *, keep_steps: int) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [row for row in map(_parsed, lines) if row and row["step"] <= keep_steps]
        if distributed.rank() == 0:
            checkpoints.write_whole(path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if distributed.rank():
            return
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if "loss" in row]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if "loss" not in row]


def best_epoch(epochs: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return the log's best epoch, of equal ones the latest, and by which of CHOSEN_BY it is best.

    Without dev rows nothing was judged: it is the last, by its step.
    """
    chosen_by = next((name for name in CHOSEN_BY if name in epochs[0]), "step")
    sign = -1 if chosen_by == "dev_loss" else 1
    return max(epochs, key=lambda row: (sign * row[chosen_by], row["step"])), chosen_by


class StopRequest:
    """Remembers a SIGTERM, so that the step in hand ends with a checkpoint; a SIGKILL follows if that takes long.

    is_over: the run has used up its cap, which ends the step in hand likewise.
    """

    def __init__(self, spent: Spent, cap_seconds: float | None) -> None:
        self.asked, self.is_over = False, False
        self.spent, self.cap_seconds = spent, cap_seconds or math.inf
        signal.signal(signal.SIGTERM, self._ask)

    def look(self) -> None:
        """Keep what has been spent, and see whether that is the cap."""
        self.spent.write()
        self.is_over = self.is_over or self.spent.seconds >= self.cap_seconds

    def _ask(self, *_: Any) -> None:
        self.asked = True


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:  # a kill can tear the last line
        return None
