"""What we believe, and why: `embeddings`, `quality` reports, `decisions`, the rule of the `gold_sets`, `snapshots`."""

from curation.models.decisions import Decision
from curation.models.embeddings import Embedding, EmbeddingShard
from curation.models.erasures import ERASED, Erasure, RedactedRows
from curation.models.gold_sets import GoldSet
from curation.models.quality import ExampleScore, QualityReport
from curation.models.snapshots import (
    Approval,
    ApprovalRequest,
    CheckOverride,
    Snapshot,
    SnapshotCheck,
    SnapshotComment,
    SnapshotRow,
)

__all__ = [
    "ERASED", "Approval", "ApprovalRequest", "CheckOverride", "Decision", "Embedding", "EmbeddingShard", "Erasure",
    "ExampleScore", "GoldSet", "QualityReport", "RedactedRows", "Snapshot", "SnapshotCheck", "SnapshotComment",
    "SnapshotRow"]
