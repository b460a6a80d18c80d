"""What can happen in a project that people and programs are told about: the catalogue of notices.

docs/notifications.md shows it; a test holds the two against each other.
"""

from dataclasses import dataclass
from typing import Any

ADMINS = ("admin",)
CURATORS = ("curator", "admin")
TEST = "webhook.test"


@dataclass(frozen=True)
class Event:
    """words: what happened, for people who choose. roles: who is told, beside those whom the occasion names.

    data: an example of what a webhook gets; every notice of the event has exactly these keys. No text of an example is
    ever in it.
    """

    words: str
    roles: tuple[str, ...]
    data: dict[str, Any]


EVENTS: dict[str, Event] = {
    "job.failed": Event("A job failed", ADMINS, {"job": 31, "kind": "train"}),
    "batch.done": Event("A batch of labelling is done", CURATORS, {"batch": 3, "n_examples": 200}),
    "report.scored": Event("Label quality was scored", CURATORS, {"report": 7, "n_scored": 4200, "n_issues": 64}),
    "snapshot.approval_requested": Event("A snapshot waits for approval", ADMINS, {
        "snapshot": 5, "sha256": "9f86d081…"}),
    "snapshot.approved": Event("A snapshot was approved", CURATORS, {"snapshot": 5, "sha256": "9f86d081…"}),
    "snapshot.refused": Event("A snapshot was refused", CURATORS, {"snapshot": 5, "sha256": "9f86d081…"}),
    "verdict.reached": Event("It is decided whether a prompt is enough", CURATORS, {
        "snapshot": 5, "outcome": "FINE_TUNE", "run": 12}),
    "quote.ready": Event("A quote for a training is ready", ADMINS, {
        "snapshot": 5, "quote": 4, "seconds": 389.0, "money": None, "currency": "EUR"}),
    "run.finished": Event("A run was trained", CURATORS, {"run": 13, "adapter": 2}),
    "run.stopped_at_cap": Event("A run stopped at its cap", ADMINS, {"run": 13, "seconds": 600.4}),
    "run.evaluated": Event("A run was evaluated", CURATORS, {
        "run": 13, "metric": "accuracy", "value": 0.802, "n": 1000}),
    "adapter.promoted": Event("An adapter became the champion", CURATORS, {"adapter": 2, "overridden": False}),
    "adapter.rolled_back": Event("An earlier champion came back", CURATORS, {"adapter": 1, "instead_of": 2}),
    "prompt.promoted": Event("A prompt became the champion, in place of an adapter or another prompt", CURATORS, {
        "run": 12, "overridden": True}),
    "prompt.rolled_back": Event("An earlier prompt came back as the champion", CURATORS, {
        "run": 12, "instead_of": 13}),
    "experiment.ended": Event("An A/B test on live traffic ended", CURATORS, {"experiment": 3, "outcome": "SHIP"}),
    "look.drawn": Event("Requests wait to be labelled, to see whether accuracy holds", CURATORS, {
        "look": 12, "n_rows": 50, "due_on": "2026-11-30"}),
    "look.late": Event("Labels of a look at the traffic are late", CURATORS, {"look": 12, "waits_until": "2026-12-07"}),
    "drift.signal": Event("Requests have changed", CURATORS, {"look": 12, "signals": ["meaning", "labels"]}),
    "drift.warning": Event("Accuracy may be falling", CURATORS, {
        "look": 12, "floor": 0.9, "evidence": 61.2, "threshold": 251.7}),
    "drift.alarm": Event("Accuracy is below the floor", CURATORS, {
        "look": 12, "floor": 0.9, "evidence": 413.0, "threshold": 251.7}),
    "training.proposed": Event("A training is proposed", ADMINS, {"proposal": 3, "is_alarm": True}),
    "webhook.paused": Event("A webhook was paused, since its receiver takes nothing", ADMINS, {"webhook": 1}),
}
TEST_EVENT = Event("Somebody tries a webhook", (), {"webhook": 1})  # sent to that webhook only, whatever it has chosen


def event_of(name: str) -> Event:
    """The event of this name. Raises ValueError for one that the catalogue does not have."""
    if name == TEST:
        return TEST_EVENT
    if name not in EVENTS:
        raise ValueError(f"unknown event {name!r}, known are {', '.join(EVENTS)}")
    return EVENTS[name]
