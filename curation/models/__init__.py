"""What we believe, and why: `embeddings`, `quality` reports, `decisions`, the rule of the `gold_sets`, `snapshots`,
`experiments` and forecasts."""

from curation.models.decisions import Decision
from curation.models.embeddings import Embedding, EmbeddingShard
from curation.models.experiments import Experiment, ExperimentArm, LabelForecast
from curation.models.gold_sets import GoldPick, GoldSet
from curation.models.quality import ExampleScore, QualityReport
from curation.models.snapshots import Approval, Snapshot, SnapshotRow

__all__ = [
    "Approval", "Decision", "Embedding", "EmbeddingShard", "ExampleScore", "Experiment", "ExperimentArm", "GoldPick",
    "GoldSet", "LabelForecast", "QualityReport", "Snapshot", "SnapshotRow"]
