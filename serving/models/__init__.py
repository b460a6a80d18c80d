"""What serving keeps, by subject; Django finds every model here."""

from serving.models.deployments import Deployment, Replay, ServingRules
from serving.models.exchanges import Exchange, ExchangeContent, TrafficDay
from serving.models.feedback import Feedback, TakenCorrection

__all__ = [
    "Deployment", "Exchange", "ExchangeContent", "Feedback", "Replay", "ServingRules", "TakenCorrection", "TrafficDay"
]
