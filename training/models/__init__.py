"""What training keeps, by subject; Django finds every model here."""

from training.models.adapters import Adapter, AdapterQuerySet, GeneralCheck, MergedExport
from training.models.arms import ArmResult, ArmTraining, ArmVerdict
from training.models.evaluations import CriticalSlices, Evaluation, RedactedPredictions, TestLook
from training.models.judging import (
    AnswerPair,
    HumanPreference,
    HumanPreferenceQuerySet,
    JudgePreference,
    JudgeRun,
    PairwiseEvaluation,
    PairwiseQuerySet,
)
from training.models.money import Cap, Price, ProjectEconomics, Quote, Receipt
from training.models.promotions import Promotion
from training.models.prompts import CachedAnswer, PromptVersion
from training.models.runs import Run, RunQuerySet, Submission
from training.models.verdicts import Verdict, Weighing

__all__ = [
    "Adapter", "AdapterQuerySet", "AnswerPair", "ArmResult", "ArmTraining", "ArmVerdict", "CachedAnswer", "Cap",
    "CriticalSlices", "Evaluation", "GeneralCheck", "HumanPreference", "HumanPreferenceQuerySet", "JudgePreference",
    "JudgeRun", "MergedExport", "PairwiseEvaluation", "PairwiseQuerySet", "Price", "ProjectEconomics", "Promotion",
    "PromptVersion", "Quote", "Receipt", "RedactedPredictions", "Run", "RunQuerySet", "Submission", "TestLook",
    "Verdict", "Weighing"
]
