"""What operations of several subjects answer, row by row."""

from datetime import datetime
from typing import Any, Literal

from ninja import Schema
from pydantic import Field


class JobShape(Schema):
    """Background work. It has ended once `state` is succeeded, failed or cancelled."""

    id: int
    project_id: int
    kind: str
    title: str
    state: Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
    stage: str
    done: int = Field(description="Of the stage, in units of its own.")
    total: int = Field(description="0 while unknown.")
    result: dict[str, Any] = Field(description="What it made, by kind: ids of what it wrote, counts.")
    error: str = Field(description="Why it failed, in words.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class BatchShape(Schema):
    """Examples that people are asked about."""

    id: int
    number: int
    title: str
    state: Literal["open", "paused", "closed"]
    vendor: str
    n_labels: int
    overlap_share: float
    overlap_labels: int
    max_labels: int
    skips: Literal["next_person", "set_aside"]
    created_at: datetime


class BadRowShape(Schema):
    line: int
    reason: str


class UploadShape(Schema):
    """A file that was checked line by line; nothing of it is imported before somebody says so."""

    id: int
    project_id: int
    name: str
    kind: Literal["examples", "annotations"]
    format: str
    mapping: dict[str, str | None] = Field(description="Which column is what.")
    n_good: int
    n_bad: int
    bad_rows: list[BadRowShape] = Field(description="The first 50 with their reasons.")
    imported_at: datetime | None
    n_imported: int
    created_at: datetime

    @staticmethod
    def resolve_bad_rows(upload: Any) -> list[dict[str, Any]]:
        return [{"line": line, "reason": reason} for line, reason in upload.bad_rows]


class DecisionShape(Schema):
    id: int
    example_id: int
    verdict: str
    value: str
    reason: str
    cause: str
    undoes_id: int | None
    decided_by: str
    created_at: datetime

    @staticmethod
    def resolve_decided_by(decision: Any) -> str:
        return str(decision.decided_by)


class IntervalShape(Schema):
    """An estimate, its two-sided 95 % interval, and the rows behind it."""

    estimate: float
    low: float
    high: float
    n: int


class AdapterShape(Schema):
    id: int
    project_id: int
    run_id: int
    stage: Literal["candidate", "champion", "retired"]
    files: dict[str, str] = Field(description="File name → sha256.")
    receipt: dict[str, Any]
    created_at: datetime


class PromotionShape(Schema):
    """What became the champion: a run's adapter, or its prompt alone. The newest of a project counts."""

    id: int
    project_id: int
    run_id: int
    adapter_id: int | None = Field(description="Null: a prompt without an adapter.")
    instead_of_id: int | None = Field(description="The run that served until then.")
    way: Literal["proven", "overridden", "rolled_back"]
    reason: str
    created_at: datetime

    @staticmethod
    def resolve_adapter_id(promotion: Any) -> int | None:
        adapter = getattr(promotion.run, "adapter", None)
        return adapter.pk if adapter else None
