"""Rows of a Label Studio export: a task is an example, its annotations are labels, its predictions suggestions.

The columns are the fields of a task's `data`. A task's key is its `meta.goldpan.external_id`, else its id, unless a
field was chosen for it. Answers that were skipped there are passed over; of two by one person the later counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labeling.reading.checking import MAX_SECONDS, Checker
from labeling.reading.labels import cell
from labeling.reading.rows import MAX_KEY_CHARS, MAX_NAME_CHARS, Bad, Row
from labeling.reading.rows import Mapping as Columns
from labeling.task_types import task_type

# The control that asks a type's question: its type in a result, and the name that Goldpan gives it.
CONTROLS = {"classification": ("choices", "label"), "multilabel": ("choices", "label"), "spans": ("labels", "label"),
            "preference": ("choices", "preference"), "response": ("textarea", "answer"), "chat": ("textarea", "answer"),
            "extraction": ("textarea", "answer")}


def is_task(element: Any) -> bool:
    """Whether an object is a task as Label Studio exports it."""
    return isinstance(element, dict) and isinstance(element.get("data"), dict) and bool(
        element.keys() & {"annotations", "predictions", "inner_id", "total_annotations"})


def rows_of(task: Any, line: int, mapping: Columns, check: Checker, kind: str) -> Iterator[Row | Bad]:
    """Yield a row for each answer and suggestion of a task, one without a label if there is none; Bad for a bad one.

    kind: the name of the project's task type.
    """
    try:
        if isinstance(task, Bad):
            raise task
        whole = _whole(task, line, mapping, check)
        answers = [(answer, name == "predictions") for name in ("annotations", "predictions")
                   for answer in _listed(task, name)]
    except Bad as reason:
        yield reason
        return
    if check.is_examples and (whole.label is not None or not answers):
        yield whole
    for answer, is_suggestion in answers:
        try:
            yield _with_label(whole, answer, kind, check, is_suggestion=is_suggestion)
        except Bad as reason:
            yield reason


def _whole(task: dict[str, Any], line: int, mapping: Columns, check: Checker) -> Row:
    """The task's example."""
    values = task.get("data")
    if not isinstance(values, dict):
        raise Bad("the task has no “data”. Export it from Label Studio as JSON, not as JSON-MIN.")
    meta: Any = task
    for name in ("meta", "goldpan", "external_id"):
        meta = meta.get(name) if isinstance(meta, dict) else None
    key = cell(values, mapping.key_column, MAX_KEY_CHARS) if mapping.key_column else cell(
        {"id": task.get("id") if meta is None else meta}, "id", MAX_KEY_CHARS)
    if key is None:
        raise Bad("the task has no key. Choose the field that holds it, or export the task with its id.")
    return check.of_task(line, key, values)


def _listed(task: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The task's answers under this name that were not skipped, the latest last."""
    answers = task.get(name) or []
    if not isinstance(answers, list) or not all(
            isinstance(answer, dict) and isinstance(answer.get("result", []), list) for answer in answers):
        raise Bad(f"“{name}” of the task is no list of objects with a “result”. Export it from Label Studio as JSON.")
    given = [answer for answer in answers if not answer.get("was_cancelled")]
    return sorted(given, key=lambda answer: str(answer.get("updated_at") or ""))


def _with_label(whole: Row, answer: dict[str, Any], kind: str, check: Checker, *, is_suggestion: bool) -> Row:
    try:
        value = task_type(kind).parse(_ours(answer.get("result", []), kind))
    except ValueError as error:
        raise Bad(f"an answer of task “{whole.key}” cannot be read: {error!s:.300}. Correct it or remove it.") from None
    by = _cut(answer.get("model_version") or "Label Studio") if is_suggestion else _annotator(answer)
    return whole._replace(label=check.labels.check(value, whole.text or ""), annotator=by, is_suggestion=is_suggestion,
                          seconds=None if is_suggestion else _seconds(answer.get("lead_time")))


def _ours(result: Sequence[Any], kind: str) -> list[Any]:
    """The result with the one control that asks the type's question under the name that Goldpan gives it."""
    type_, name = CONTROLS[kind]
    items = [_chosen(item) if kind == "preference" else item for item in result]
    asked = {item.get("from_name") for item in items if isinstance(item, Mapping) and item.get("type") == type_}
    if name in asked or not asked:
        return items
    if len(asked) > 1:
        raise ValueError(f"several controls could be meant: {', '.join(map(str, asked))}; name the one “{name}”")
    return [{**item, "from_name": name} if isinstance(item, Mapping) and item.get("type") == type_ else item
            for item in items]


def _chosen(item: Any) -> Any:
    """What Label Studio's Pairwise says, as a choice."""
    if not isinstance(item, Mapping) or item.get("type") != "pairwise" or not isinstance(item.get("value"), Mapping):
        return item
    return {**item, "type": "choices", "value": {"choices": [item["value"].get("selected")]}}


def _annotator(answer: dict[str, Any]) -> str | None:
    """The email of whoever answered, else a name made of the account's number; None if the account is gone."""
    by = answer.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    if isinstance(by, int) and not isinstance(by, bool):
        return f"label-studio-{by}"
    return _cut(by) if isinstance(by, str) and by.strip() else None


def _cut(name: object) -> str:
    return str(name).strip()[:MAX_NAME_CHARS]


def _seconds(lead_time: Any) -> float | None:
    is_number = isinstance(lead_time, int | float) and not isinstance(lead_time, bool)
    return float(lead_time) if is_number and 0 <= lead_time <= MAX_SECONDS else None
