"""What we believe, and why: `embeddings`, `quality` reports, their `flags`, `decisions`, `gold_sets`, `snapshots`."""

from curation.models.decisions import BulkDecision, Decision
from curation.models.embeddings import Embedding, EmbeddingShard
from curation.models.flags import Flag, ScoreChange
from curation.models.gold_sets import GoldSet
from curation.models.quality import ExampleScore, QualityReport
from curation.models.snapshots import Approval, Snapshot, SnapshotRow
from curation.models.views import Message, SavedView

__all__ = [
    "Approval", "BulkDecision", "Decision", "Embedding", "EmbeddingShard", "ExampleScore", "Flag", "GoldSet", "Message",
    "QualityReport", "SavedView", "ScoreChange", "Snapshot", "SnapshotRow"]
