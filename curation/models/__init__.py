"""What we believe, and why: a file for each subject."""

from curation.models.counts import ExampleCount
from curation.models.decisions import BulkDecision, Decision
from curation.models.duplicates import DuplicateAction, DuplicateCluster, DuplicateMember, PairJudgement, PairToJudge
from curation.models.embeddings import Embedding, EmbeddingShard
from curation.models.erasures import ERASED, Erasure, RedactedRows
from curation.models.experiments import Experiment, ExperimentArm, LabelForecast
from curation.models.flags import Flag, ScoreChange
from curation.models.gold_sets import GoldPick, GoldSet
from curation.models.maps import Map, Selection
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
from curation.models.views import Message, SavedView

__all__ = [
    "ERASED",
    "Approval",
    "ApprovalRequest",
    "BulkDecision",
    "CheckOverride",
    "Decision",
    "DuplicateAction",
    "DuplicateCluster",
    "DuplicateMember",
    "Embedding",
    "EmbeddingShard",
    "Erasure",
    "ExampleCount",
    "ExampleScore",
    "Experiment",
    "ExperimentArm",
    "Flag",
    "GoldPick",
    "GoldSet",
    "LabelForecast",
    "Map",
    "Message",
    "PairJudgement",
    "PairToJudge",
    "QualityReport",
    "RedactedRows",
    "SavedView",
    "ScoreChange",
    "Selection",
    "Snapshot",
    "SnapshotCheck",
    "SnapshotComment",
    "SnapshotRow",
]
