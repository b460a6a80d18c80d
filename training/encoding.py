"""Labelled rows as token ids for training, with every row that cannot be learned from named instead of cut."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training import language_model, prompts
from training.prompts import Prompt

IGNORED = -100  # the label of positions that are not learned, as torch's cross-entropy has it
REFUSED_SHARE = 0.02  # above this, the training set is another one than the approved one


@dataclass(frozen=True)
class EncodedRow:
    """`input_ids` is the prompt and its completion; the last `n_completion` ids, end of turn included, are learned."""

    key: str
    input_ids: list[int]
    n_completion: int

    @property
    def labels(self) -> list[int]:
        """`input_ids` with everything but the completion replaced by `IGNORED`."""
        n_prompt = len(self.input_ids) - self.n_completion
        return [IGNORED] * n_prompt + self.input_ids[n_prompt:]


@dataclass(frozen=True)
class Encoded:
    """The rows that will be learned, in order, and the others as (key, reason)."""

    rows: list[EncodedRow]
    refused: list[tuple[str, str]]
    end_token: int


def encode_rows(tokenizer: Any, prompt: Prompt, rows: Iterable[Mapping[str, Any]], *,
                max_tokens: int = 512) -> Encoded:
    """Encode rows with "key", "text", "label" and perhaps "data" as the prompt about them, answered with the label.

    The tokens are those that scoring and serving use, so a model is trained on exactly what it will be asked.
    max_tokens: longer rows are refused with their length, never cut.
    """
    encoded: list[EncodedRow] = []
    refused: list[tuple[str, str]] = []
    offered = {label.name for label in prompt.labels}
    for row in rows:
        if not row["text"].strip():
            refused.append((row["key"], "The text is empty."))
            continue
        if prompt.has_labels and row["label"] not in offered:
            refused.append((row["key"], f"The label “{row['label']}” is not one of the prompt's."))
            continue
        completion = language_model.encode_completion(tokenizer, prompt.completion_of(row["label"]))
        asked = prompts.render(prompt, row["text"], row.get("data"))
        ids = language_model.encode_messages(tokenizer, asked) + completion
        if len(ids) > max_tokens:
            refused.append((row["key"], f"The row has {len(ids)} tokens, at most {max_tokens} are trained on."))
            continue
        encoded.append(EncodedRow(row["key"], ids, len(completion)))
    return Encoded(encoded, refused, language_model.end_of_turn(tokenizer))


def preflight(encoded: Encoded, n_rows: int) -> list[str]:
    """What is wrong with the rows as they will be trained on, in sentences; empty if nothing is.

    n_rows: how many rows were given, so that none disappears without a word.
    """
    problems = []
    n_kept, n_refused = len(encoded.rows), len(encoded.refused)
    if n_kept + n_refused != n_rows:
        problems.append(f"{n_rows} rows were given, but {n_kept} encoded and {n_refused} refused.")
    if not encoded.rows:
        problems.append("No row is left to train on.")
    if n_refused > max(1, REFUSED_SHARE * n_rows):
        reasons = "; ".join(f"{key}: {reason}" for key, reason in encoded.refused[:3])
        problems.append(f"{n_refused} of {n_rows} rows cannot be trained on, more than {REFUSED_SHARE:.0%}. {reasons}")
    problems += _row_problems(encoded.rows, encoded.end_token)
    repeated = n_kept - len({row.key for row in encoded.rows})
    if repeated:
        problems.append(f"{repeated} rows have a key that another row has too.")
    return problems


def _row_problems(rows: Sequence[EncodedRow], end_token: int) -> list[str]:
    masked = [row.key for row in rows if not 0 < row.n_completion < len(row.input_ids)]
    endless = [row.key for row in rows if row.input_ids[-1:] != [end_token] or row.n_completion < 1]
    problems = []
    if masked:
        problems.append(f"{len(masked)} rows have nothing to learn or no prompt, first {masked[0]}.")
    if endless:
        problems.append(f"{len(endless)} rows do not end with the end of the turn, first {endless[0]}.")
    return problems
