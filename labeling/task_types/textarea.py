"""Label Studio's text box, which holds one answer."""

from collections.abc import Sequence
from typing import Any

from labeling.task_types.results import texts_of, values_of

NAME = "answer"
HINT = "Press Shift+Enter, or Add, to keep what you wrote."  # text that was only typed is not in the answer


def textarea(to_name: str, rows: int) -> str:
    """Return the XML of a box for one text that has to be filled; a prediction fills it beforehand."""
    return (f'  <TextArea name="{NAME}" toName="{to_name}" rows="{rows}" editable="true" maxSubmissions="1" '
            f'required="true" requiredMessage="Write an answer, then press Shift+Enter."/>')


def textarea_result(text: str, to_name: str) -> list[dict[str, Any]]:
    """Return the result of having written this text."""
    return [{"from_name": NAME, "to_name": to_name, "type": "textarea", "value": {"text": [text]}}]


def written(result: Sequence[Any]) -> str:
    """Return the text that a result holds. Raises ValueError unless it holds exactly one."""
    texts = [text for value in values_of(result, NAME, "textarea") for text in texts_of(value, "text", "an answer")]
    if not texts:
        raise ValueError("no answer was written")
    if len(texts) > 1:
        raise ValueError(f"{len(texts)} answers were written, expected one: {texts!r:.100}")
    return texts[0]
