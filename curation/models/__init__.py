"""What we believe, and why: a file for each subject."""

from curation.models.counts import ExampleCount
from curation.models.decisions import BulkDecision, Decision
from curation.models.duplicates import DuplicateAction, DuplicateCluster, DuplicateMember, PairJudgement, PairToJudge
from curation.models.embeddings import Embedding, EmbeddingShard
from curation.models.flags import Flag, ScoreChange
from curation.models.gold_sets import GoldSet
from curation.models.maps import Map, Selection
from curation.models.quality import ExampleScore, QualityReport
from curation.models.snapshots import Approval, Snapshot, SnapshotRow
from curation.models.views import Message, SavedView

__all__ = [
    "Approval", "BulkDecision", "Decision", "DuplicateAction", "DuplicateCluster", "DuplicateMember", "Embedding",
    "EmbeddingShard", "ExampleCount", "ExampleScore", "Flag", "GoldSet", "Map", "Message", "PairJudgement",
    "PairToJudge", "QualityReport", "SavedView", "ScoreChange", "Selection", "Snapshot", "SnapshotRow"]
