"""What one report says otherwise than the one before it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MOVED = 0.25  # of label quality, which is in [0, 1]; less is within what another draw of the folds does


@dataclass(frozen=True)
class Judged:
    """What a report says of one example; label "" and quality None where it says nothing. flags: kind → reason."""

    label: str
    quality: float | None
    flags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """what: flagged, cleared, relabelled, better or worse. kind: of the flag, else "". before, after: in words."""

    what: str
    kind: str
    before: str
    after: str


def changes(before: Judged | None, after: Judged) -> Iterator[Change]:
    """Yield what changed about one example. before: None for an example that the earlier report did not know."""
    old = before or Judged("", None)
    for kind, reason in after.flags.items():
        if kind not in old.flags:
            yield Change("flagged", kind, "", reason)
    for kind, reason in old.flags.items():
        if kind not in after.flags:
            yield Change("cleared", kind, reason, "")
    if before and old.label and after.label and old.label != after.label:
        yield Change("relabelled", "", old.label, after.label)
    if old.quality is not None and after.quality is not None and abs(after.quality - old.quality) >= MOVED:
        yield Change("better" if after.quality > old.quality else "worse", "", f"{old.quality:.2f}",
                     f"{after.quality:.2f}")
