"""How plain code says how far it is, and how it learns that it should stop."""

from typing import Protocol


class Progress(Protocol):
    """Called as `progress("Embedding", 300, 4200)`; cheap enough to be called in every loop turn.

    stage: what is being done now, in words for the job's page.
    done, total: units of that stage, 0 <= done <= total.
    Raises Cancelled if somebody asked the job to stop, LeaseLost if another worker has it now.
    """

    def __call__(self, stage: str, done: int, total: int) -> None: ...


class Cancelled(Exception):
    """Somebody cancelled the job; the work in hand should end and leave nothing half-written."""


class LeaseLost(Exception):
    """This worker was silent for longer than its lease, so the job belongs to another attempt."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress of nobody: for tests, notebooks and short work."""
