"""What a file's rows come out as, and what says which column is what."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

LINE_FORMATS = ("csv", "tsv", "jsonl")
LIST_FORMATS = ("json", "ls-json")  # a list of objects; a list of tasks as Label Studio exports it
FORMATS = (*LINE_FORMATS, *LIST_FORMATS)
KINDS = ("examples", "annotations")
# What an example has beside its text, by type of task: each a role of the mapping and a name in the example's data.
FIELDS: dict[str, tuple[str, ...]] = {"preference": ("left", "right"), "chat": ("messages",)}

MAX_ROW_CHARS = 1_000_000  # of one row, however many lines it has
MAX_TEXT_CHARS = 100_000
MAX_KEY_CHARS = 200  # of a key or a group
MAX_NAME_CHARS = 100  # of a label or an annotator
MAX_COLUMNS = 500
RAW_CHARS = 2_000  # of a bad row that are handed back
BLOCK_BYTES = 256 * 1024


class FileRefused(Exception):
    """The file as a whole cannot be used. The message is for the person who chose it: what is wrong, what to do."""


class Bad(Exception):
    """The row in hand cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Mapping:
    """Which column is what; None: the file has none of that kind."""

    text_column: str | None = None
    key_column: str | None = None
    label_column: str | None = None
    annotator_column: str | None = None
    group_column: str | None = None
    observed_at_column: str | None = None
    left_column: str | None = None
    right_column: str | None = None
    messages_column: str | None = None
    seconds_column: str | None = None
    cost_column: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return dataclasses.asdict(self)

    def column(self, role: str) -> str | None:
        """The column with this role, for example "text"."""
        name: str | None = getattr(self, f"{role}_column")
        return name


class Row(NamedTuple):
    """A row that can be used. `line` is the physical line on which it starts, from 1.

    The text stands as it is in the file; key, annotator and group without the white space around them. `label` is the
    canonical value of the project's task type; spans without a text to check them against are still as they came.
    `data`: the unmapped columns, and what FIELDS names. A suggestion's `annotator` is what suggests it.
    """

    line: int
    key: str | None
    text: str | None
    label: Any
    annotator: str | None
    group: str | None
    observed_at: datetime | None  # in UTC
    data: dict[str, Any]
    seconds: float | None = None
    cost: Decimal | None = None
    is_suggestion: bool = False


class BadRow(NamedTuple):
    """A row that cannot be used. `reason` says what is wrong and what to do; `raw` is its beginning as it came."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class Sniffed:
    """What the start of a file shows. `rows` are its first good rows, at most 5, by column."""

    format: str
    columns: list[str]
    mapping: Mapping
    rows: list[dict[str, Any]]


def needed(kind: str, task_type: str, format: str) -> tuple[str, ...]:
    """The roles that no file of this kind can do without; a chat's text can be made from its messages."""
    if kind == "annotations":
        return () if format == "ls-json" else ("key", "label")
    text = () if task_type == "chat" else ("text",)
    return text + FIELDS.get(task_type, ())


def too_long() -> str:
    return (f"the row is longer than {MAX_ROW_CHARS:,} characters. Shorten it; if it should be several rows, look for "
            "a quote (\") that is opened and not closed.")
