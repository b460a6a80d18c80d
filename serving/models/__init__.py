"""What serving keeps, by subject; Django finds every model here."""

from serving.models.deployments import Deployment, Replay, ServingRules
from serving.models.exchanges import Exchange, ExchangeContent, TrafficDay
from serving.models.feedback import Feedback, TakenCorrection
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
    "Deployment", "Exchange", "ExchangeContent", "Feedback", "Look", "LookCount", "LookRow", "Replay", "RowScore",
    "ServingRules", "SignalReading", "TakenCorrection", "TrafficDay", "TrainingProposal", "WatchPlan"
]
