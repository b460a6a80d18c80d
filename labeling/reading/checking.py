"""Rows that can be used, from the values of a file's rows."""

import math
from collections.abc import Mapping as Values
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from labeling.reading.content import Contents
from labeling.reading.labels import Labels, cell
from labeling.reading.rows import KINDS, MAX_KEY_CHARS, MAX_NAME_CHARS, Bad, FileRefused, Mapping, Row, needed

MAX_SECONDS = 7 * 24 * 3600
MAX_COST = 1_000_000  # the ledger keeps six digits before the point
_WORDS = {"left": "the left answer", "right": "the right answer", "messages": "the messages"}


class Checker:
    """Turns the values of one row after the other into Rows; remembers the keys it has seen."""

    def __init__(self, mapping: Mapping, kind: str, task_type: str, schema: Values[str, Any]) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be {' or '.join(KINDS)}, got {kind!r}")
        self._mapping, self._task_type = mapping, task_type
        self.is_examples = kind == "examples"
        self.contents, self.labels = Contents(mapping, task_type, schema), Labels(task_type, schema)
        self._is_timed = not (mapping.seconds_column is None and mapping.cost_column is None)
        self._seen: dict[int, int] = {}  # hash of a key, of a key and annotator: the line

    def columns(self, columns: list[str], format: str) -> None:
        """Raises FileRefused if a column that the rows cannot do without is not chosen or not there."""
        kind = "examples" if self.is_examples else "annotations"
        missing = [role for role in needed(kind, self._task_type, format) if self._mapping.column(role) is None]
        if missing and not self.is_examples:
            raise FileRefused("A file of labels needs two columns: the example's key and the label. Choose both.")
        if missing:
            what = _WORDS.get(missing[0], f"the {missing[0]}")
            raise FileRefused(f"Choose the column that holds {what}.")
        for column in sorted({name for name in self._mapping.as_dict().values() if name is not None}):
            if columns and column not in columns:
                raise FileRefused(f"There is no column “{column}”. The columns are: {', '.join(columns)[:1000]}.")

    def row(self, line: int, values: Any) -> Row:
        if isinstance(values, Bad):
            raise values
        mapping = self._mapping
        text, data, answer = self.contents.read(values) if self.is_examples else (None, {}, None)
        key = cell(values, mapping.key_column, MAX_KEY_CHARS)
        label = self.labels.read(values, mapping.label_column, text or "")
        if answer is not None:
            label = self.labels.check(answer, text or "")
        annotator = cell(values, mapping.annotator_column, MAX_NAME_CHARS)
        if label is None and not self.is_examples:
            raise Bad("the label is empty. Fill it in or remove the row.")
        group = cell(values, mapping.group_column, MAX_KEY_CHARS)
        observed_at = _time(values, mapping.observed_at_column)
        if mapping.key_column is not None:
            self._check_key(line, key, annotator)
        if not self._is_timed:
            return Row(line, key, text, label, annotator, group, observed_at, data)
        return Row(line, key, text, label, annotator, group, observed_at, data,
                   _seconds(values, mapping.seconds_column), _cost(values, mapping.cost_column))

    def of_task(self, line: int, key: str, values: dict[str, Any]) -> Row:
        """The row of a Label Studio task with these fields, its answers left out but for one that ends a chat."""
        self._check_key(line, key, None)
        if not self.is_examples:
            return Row(line, key, None, None, None, None, None, {})
        text, data, answer = self.contents.read(values)
        return Row(line, key, text, None if answer is None else self.labels.check(answer, text), None,
                   cell(values, self._mapping.group_column, MAX_KEY_CHARS),
                   _time(values, self._mapping.observed_at_column), data)

    def _check_key(self, line: int, key: str | None, annotator: str | None) -> None:
        if key is None:
            raise Bad("the key is empty. Fill it in or remove the row.")
        first = self._seen.setdefault(hash(key if self.is_examples else (key, annotator)), line)
        if first == line:
            return
        if self.is_examples:
            raise Bad(f"the key “{key}” is on line {first:,} already. Give each row a key of its own.")
        raise Bad(f"line {first:,} is a label for “{key}” by the same annotator already. Keep one of the two.")


def _time(values: Values[str, Any], column: str | None) -> datetime | None:
    """The time in UTC; one without a zone is taken for UTC."""
    given = cell(values, column, MAX_NAME_CHARS)
    if given is None:
        return None
    try:
        time = datetime.fromisoformat(given)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Bad(f"“{given}” is no time. Write it as 2026-01-31 or 2026-01-31T12:00:00Z.") from None


def _seconds(values: Values[str, Any], column: str | None) -> float | None:
    given = cell(values, column, MAX_NAME_CHARS)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_SECONDS:
        raise Bad(f"“{given}” is no number of seconds from 0 to a week ({MAX_SECONDS:,}). Write it as 12.5.")
    return seconds


def _cost(values: Values[str, Any], column: str | None) -> Decimal | None:
    """What the label cost, to four decimals, as the ledger keeps it."""
    given = cell(values, column, MAX_NAME_CHARS)
    if given is None:
        return None
    try:
        cost = Decimal(given)
    except InvalidOperation:
        cost = Decimal("NaN")
    if not cost.is_finite() or not 0 <= cost < MAX_COST or cost != round(cost, 4):
        raise Bad(f"“{given}” is no cost of at least 0 with at most four decimals. Write it as 0.05, without a "
                  "currency.")
    return cost
