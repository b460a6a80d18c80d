"""What we believe and why: `embeddings`, `quality` reports, `maps`, `decisions`, `gold_sets`, `snapshots`, `counts`."""

from curation.models.counts import ExampleCount
from curation.models.decisions import Decision
from curation.models.embeddings import Embedding, EmbeddingShard
from curation.models.gold_sets import GoldSet
from curation.models.maps import Map, Selection
from curation.models.quality import ExampleScore, QualityReport
from curation.models.snapshots import Approval, Snapshot, SnapshotRow

__all__ = [
    "Approval", "Decision", "Embedding", "EmbeddingShard", "ExampleCount", "ExampleScore", "GoldSet", "Map",
    "QualityReport", "Selection", "Snapshot", "SnapshotRow"]
