"""What serving keeps, by subject; Django finds every model here."""

from serving.models.deployments import Deployment, Replay, ServingRules
from serving.models.exchanges import Exchange, ExchangeContent, TrafficDay
from serving.models.experiments import (
    ArmName,
    Experiment,
    ExperimentDay,
    ExperimentEnd,
    ExperimentLook,
    ExposedFeedback,
    Exposure,
)
from serving.models.feedback import Feedback, TakenCorrection
from serving.models.shadows import BlindComparison, BlindPair, Shadow, ShadowPair
from serving.models.watching import (
    Look,
    LookCount,
    LookRow,
    RowScore,
    SignalReading,
    TrainingProposal,
    WatchPlan,
)

__all__ = [
    "ArmName", "BlindComparison", "BlindPair", "Deployment", "Exchange", "ExchangeContent", "Experiment",
    "ExperimentDay", "ExperimentEnd", "ExperimentLook", "ExposedFeedback", "Exposure", "Feedback", "Look", "LookCount",
    "LookRow", "Replay", "RowScore", "ServingRules", "Shadow", "ShadowPair", "SignalReading", "TakenCorrection",
    "TrafficDay", "TrainingProposal", "WatchPlan",
]
