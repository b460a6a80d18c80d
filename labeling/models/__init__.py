"""What people said (`ledger`), whom we ask for what (`batches`), and where they answer: Label Studio (`desks`)."""

from labeling.models.batches import Assignment, Batch, BatchItem, KnownAnswer, LabelingRules, Suggestion
from labeling.models.desks import Delivery, Desk, LabelStudioToken
from labeling.models.ledger import Annotation, Annotator, Example, Upload

__all__ = [
    "Annotation", "Annotator", "Assignment", "Batch", "BatchItem", "Delivery", "Desk", "Example", "KnownAnswer",
    "LabelStudioToken", "LabelingRules", "Suggestion", "Upload"]
