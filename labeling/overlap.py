"""When the answers to one example are enough, and when somebody else should be asked."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from labeling.task_types import task_type

ENOUGH = 0.7  # agreement of answers that have parts, in [0, 1], from which they tell the same
ALIKE_ENOUGH = 0.25  # free texts by two people that say the same share about so much of their wording
FREE_TEXT = ("response", "chat")  # two good answers may share no word, and one always stands for all


def needs_another(values: Sequence[Any], kind: str) -> bool:
    """Whether one more answer would help: the answers have no consensus; in free text, no two of them tell the same.

    values: the current answers of different people, as the task type gives them. kind: a task type's name.
    A single answer, or none, is never in need: overlap is for examples that several were asked about.
    """
    if len(values) < 2:
        return False
    answers = task_type(kind)
    if kind in FREE_TEXT:
        return all(answers.agreement(pair) < ALIKE_ENOUGH for pair in combinations(values, 2))
    return answers.consensus(values) is None
