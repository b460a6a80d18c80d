"""What each column probably is, by its name."""

from collections.abc import Sequence
from typing import Any

from labeling.reading.rows import FIELDS, Mapping

_NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "content", "body", "message", "tweet", "sentence", "query", "question", "prompt", "comment",
             "review", "description", "utterance"),
    "key": ("key", "id", "external_id", "uid", "uuid", "example_id", "ticket_id", "text_id"),
    "label": ("label", "labels", "category", "class", "intent", "sentiment", "target", "answer"),
    "annotator": ("annotator", "annotated_by", "labeler", "labeller", "rater", "worker", "annotator_id"),
    "group": ("group", "customer", "customer_id", "thread", "thread_id", "conversation_id", "document", "document_id",
              "doc_id"),
    "observed_at": ("observed_at", "created_at", "timestamp", "date", "datetime", "time"),
    "left": ("left", "answer_a", "response_a", "completion_a", "a"),
    "right": ("right", "answer_b", "response_b", "completion_b", "b"),
    "messages": ("messages", "conversation", "turns"),
    "seconds": ("seconds", "lead_time", "duration", "duration_seconds", "time_seconds"),
    "cost": ("cost", "price", "cost_per_label"),
}
_LABELS: dict[str, tuple[str, ...]] = {  # more names of a label, by type of task
    "response": ("response", "completion", "output", "summary"), "chat": ("response", "completion", "output"),
    "extraction": ("json", "fields", "record", "completion", "output"), "spans": ("spans", "entities"),
    "preference": ("preference", "better", "winner", "choice")}
_OF_EXAMPLES = ("text", "key", "label", "annotator", "group", "observed_at")
_OF_LABELS = ("key", "label", "annotator", "seconds", "cost")


def roles(kind: str, task_type: str, format: str) -> tuple[str, ...]:
    """What a column of such a file can be; the labels of a Label Studio export stand in no column."""
    if format == "ls-json":
        return ("text", "key", "group", "observed_at", *FIELDS.get(task_type, ())) if kind == "examples" else ("key",)
    return (*_OF_EXAMPLES, *FIELDS.get(task_type, ())) if kind == "examples" else _OF_LABELS


def guess(columns: list[str], rows: Sequence[dict[str, Any]], *, kind: str, task_type: str, format: str) -> Mapping:
    """What each column is, by its name; the text falls back to the column with the longest cells.

    Label Studio's tasks have a key of their own, so none of their fields is taken for it.
    """
    by_name = {column.casefold().replace(" ", "_").replace("-", "_"): column for column in reversed(columns)}
    guessed: dict[str, str | None] = {}
    for role in roles(kind, task_type, format):
        names = _NAMES[role] if role != "label" else (*_LABELS.get(task_type, ()), *_NAMES["label"])
        guessed[role] = next((by_name[name] for name in names if name in by_name), None)
    if format == "ls-json":
        guessed["key"] = None
    if kind == "examples" and guessed["text"] is None and guessed.get("messages") is None:
        free = [column for column in columns if column not in guessed.values()]
        guessed["text"] = max(free, key=lambda column: sum(len(str(row.get(column, ""))) for row in rows), default=None)
    return Mapping(**{f"{role}_column": column for role, column in guessed.items()})
