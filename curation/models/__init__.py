"""What we believe, and why: `embeddings`, `quality` reports, `maps`, `decisions`, the `gold_sets`' rule, `snapshots`."""

from curation.models.decisions import Decision
from curation.models.embeddings import Embedding, EmbeddingShard
from curation.models.gold_sets import GoldSet
from curation.models.maps import Map, Selection
from curation.models.quality import ExampleScore, QualityReport
from curation.models.snapshots import Approval, Snapshot, SnapshotRow

__all__ = [
    "Approval", "Decision", "Embedding", "EmbeddingShard", "ExampleScore", "GoldSet", "Map",
    "QualityReport", "Selection", "Snapshot", "SnapshotRow"]
