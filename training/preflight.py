"""What is looked at before a training is paid for, check by check, each with what to do where it fails.

1. `row_checks`: every row as tokens reads back as it was written, ends its turn, has a prompt and something to learn;
   those that will not be trained on are named with their length.
2. `text_checks`: no text stands in train twice, with two answers, or in the rows that judge it, too.
3. `step_zero_check`, `overfit_check`: an adapter that has learned nothing changes nothing, and a few rows can be
   learned by heart; where they cannot, data, template or loss are broken, and no longer training mends that.

Source of the last: Karpathy 2019, A Recipe for Training Neural Networks (“overfit one batch”).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from labeling.texts import normalise
from training import prompts
from training.encoding import REFUSED_SHARE, Encoded
from training.prompts import Prompt

OVERFIT_ROWS = 16
OVERFIT_STEPS = 60
OVERFIT_LOSS = 0.1  # mean of the completion tokens, in nats
OVERFIT_SECONDS = 30.0  # a slow machine stops here, and the check stays open
STEP_ZERO_DIFFERENCE = 1e-4  # of the loss, in nats
SHOWN_ROWS = 20  # a check names so many rows

State = Literal["passed", "failed", "open"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what came out, what to do about it, and the first rows that it is about.

    rows: (key, why). is_hard: a training is refused where it fails.
    """

    name: str
    state: State
    words: str
    advice: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list)
    is_hard: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_from_json(data: Mapping[str, Any]) -> Check:
    return Check(**{**data, "rows": [(key, why) for key, why in data["rows"]]})


def row_checks(tokenizer: Any, prompt: Prompt, rows: Sequence[Mapping[str, Any]], encoded: Encoded) -> list[Check]:
    """The checks of the rows as tokens. rows: as `encode_rows` was given them."""
    asked = {row["key"]: row for row in rows}
    changed = [(row.key, "The tokens read back as another text.") for row in encoded.rows
               if not _reads_back(tokenizer, prompt, asked[row.key], row.input_ids)]
    endless = [(row.key, "Its last token is another one.") for row in encoded.rows
               if row.input_ids[-1:] != [encoded.end_token] or row.n_completion < 1]
    masked = [(row.key, "Nothing of it is learned." if row.n_completion < 1 else "It has no prompt.")
              for row in encoded.rows if not 0 < row.n_completion < len(row.input_ids)]
    n_of = Counter(row.key for row in encoded.rows)
    twice = [(key, f"{n_same} rows have this key.") for key, n_same in n_of.items() if n_same > 1]
    n = len(encoded.rows)
    return [
        _check("The chat template gives back what went in", changed, n,
               good=f"All {n:,} rows read back from their tokens word for word.",
               bad="{} of {} rows do not read back from their tokens as they were written.",
               advice="Look at these texts for characters that the model's tokenizer does not know, and clean them; or "
                      "take another base model."),
        _check("Every answer ends its turn", endless, n, is_hard=True,
               good=f"All {n:,} answers end with the token that ends a turn, and it is learned.",
               bad="{} of {} answers do not end their turn, so the model would not learn to stop.",
               advice="The base model's chat template does not fit its tokenizer: take another base model."),
        _check("Every row has something to learn", masked, n, is_hard=True,
               good=f"Of every row the answer is learned and the prompt is not: "
                    f"{sum(row.n_completion for row in encoded.rows):,} tokens in all.",
               bad="{} of {} rows have nothing to learn, or no prompt.",
               advice="Look at these rows: their answer is empty."),
        _check("No row is given twice", twice, n, is_hard=True, good="Every row has a key of its own.",
               bad="{} keys among {} rows stand for more than one row.", advice="Freeze the snapshot again."),
        _refused_check(encoded, len(rows))]


def _reads_back(tokenizer: Any, prompt: Prompt, row: Mapping[str, Any], ids: Sequence[int]) -> bool:
    """Whether all messages and the answer stand in the decoded tokens, in their order."""
    text, place = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False), 0
    said = [message["content"] for message in prompts.render(prompt, row["text"], row.get("data"))]
    for part in (*said, prompt.completion_of(row["label"])):
        found = text.find(part.strip(), place)
        if found < 0:
            return False
        place = found + len(part.strip())
    return True


def _refused_check(encoded: Encoded, n_rows: int) -> Check:
    refused = encoded.refused
    limit = max(1, REFUSED_SHARE * n_rows)
    fails = len(refused) > limit or not encoded.rows
    return Check(
        "No row is cut", "failed" if fails else "passed",
        "Every row is trained on whole." if not refused else
        f"{len(refused):,} of {n_rows:,} rows are left out, as no row is ever cut"
        + (f"; more than {REFUSED_SHARE:.0%} would be another training set than the approved one." if fails else "."),
        "Raise “Longest row, in tokens” in the advanced settings, or take these examples out and freeze again."
        if refused else "", [*refused[:SHOWN_ROWS]], is_hard=True)


def _check(name: str, found: Sequence[tuple[str, str]], n: int, *, good: str, bad: str, advice: str,
           is_hard: bool = False) -> Check:
    if not found:
        return Check(name, "passed", good, is_hard=is_hard)
    return Check(name, "failed", bad.format(f"{len(found):,}", f"{n:,}"), advice, [*found[:SHOWN_ROWS]], is_hard)


def text_checks(train: Sequence[Mapping[str, Any]], judging: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Check]:
    """The checks for repeated texts and leaks.

    train, judging: rows with "key", "text", "label" and perhaps "data"; judging by the name of the split.
    Two rows are the same if text and data are, but for case, width of characters and white space.
    """
    keys: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in train:
        keys[_content(row)].append(row)
    groups = [rows for rows in keys.values() if len(rows) > 1]
    torn = [rows for rows in groups if len({row["label"] for row in rows}) > 1]
    repeats = [(row["key"], f"The same as {rows[0]['key']}.") for rows in groups for row in rows[1:]]
    clashes = [(row["key"], f"Another answer than {rows[0]['key']}, which is the same text.") for rows in torn
               for row in rows if row["label"] != rows[0]["label"]]
    leaks = [(row["key"], f"The same as {keys[_content(row)][0]['key']} in train.")
             for name, rows in judging.items() for row in rows if _content(row) in keys]
    by_split = _said(f"{n:,} {name}" for name, rows in judging.items()
                     if (n := sum(_content(row) in keys for row in rows)))
    n_judging = sum(len(rows) for rows in judging.values())
    return [
        _check("No text is learned twice", repeats, len(train), good=f"All {len(train):,} training texts differ.",
               bad="{} of {} training rows repeat another one, so they count double.",
               advice="Look at the duplicates on the quality page, and freeze again."),
        _check("No text has two answers", clashes, len(train), good="No training text is answered in two ways.",
               bad="{} of {} training rows answer a text otherwise than another row does.",
               advice="Let somebody decide these examples, and freeze again: what contradicts itself cannot be "
                      "learned."),
        _check(f"No {' or '.join(judging)} row is learned", leaks, n_judging,
               good=f"None of the {n_judging:,} rows that judge is among the training rows.",
               bad=f"{by_split} rows stand in train, too, so the figures would flatter: {{}} of {{}}.",
               advice="Freeze again without these training rows; near-copies are looked for on the quality page.")]


def _content(row: Mapping[str, Any]) -> str:
    data = row.get("data")
    return normalise(row["text"]) + (f"\0{normalise(json.dumps(data, sort_keys=True))}" if data else "")


def _said(parts: Iterable[str]) -> str:
    return " and ".join(parts)


def step_zero_check(base: float, adapted: float) -> Check:
    """base, adapted: mean loss of the same rows, without the adapter and with it before its first step."""
    difference = abs(base - adapted)
    name, is_same = "Before its first step the adapter changes nothing", difference <= STEP_ZERO_DIFFERENCE
    return Check(name, "passed" if is_same else "failed",
                 f"The loss of the same rows is {adapted:.4f} with the adapter and {base:.4f} without it.",
                 "" if is_same else "The adapter does not start where the base model stands, so a gain could not be "
                                    "told from a change of model: report this with the base model's name.")


@dataclass(frozen=True)
class Overfit:
    """The mean loss at each step that learned the same few rows, the first before anything was learned."""

    losses: list[float]
    n_rows: int
    ran_out_of_time: bool


def overfit(step: Callable[[], float], *, n_rows: int, clock: Callable[[], float],
            max_seconds: float = OVERFIT_SECONDS) -> Overfit:
    """Take steps until the loss is below `OVERFIT_LOSS`, for `OVERFIT_STEPS` or `max_seconds` at most.

    step: does one on the same rows, and returns the loss that it met. clock: seconds.
    """
    started, losses = clock(), list[float]()
    while len(losses) < OVERFIT_STEPS:
        losses.append(step())
        if losses[-1] < OVERFIT_LOSS:
            return Overfit(losses, n_rows, False)
        if clock() - started >= max_seconds:
            return Overfit(losses, n_rows, True)
    return Overfit(losses, n_rows, False)


def overfit_check(found: Overfit) -> Check:
    """Passed below `OVERFIT_LOSS`; open where the time was over first and the loss was falling; failed otherwise."""
    first, best, n = found.losses[0], min(found.losses), len(found.losses)
    name = f"{found.n_rows} rows can be learned by heart"
    fell = f"The loss of {found.n_rows} rows fell from {first:.2f} to {best:.2f} in {n} steps"
    if best < OVERFIT_LOSS:
        return Check(name, "passed", f"{fell}; below {OVERFIT_LOSS:g} is by heart.")
    if found.ran_out_of_time and best < 0.9 * first:
        return Check(name, "open", f"{fell}, when the {OVERFIT_SECONDS:.0f} seconds for it were over; below "
                                   f"{OVERFIT_LOSS:g} is by heart.",
                     "It was learning. On a slow machine this says no more; the first pass will.")
    return Check(name, "failed", f"{fell}, and did not come below {OVERFIT_LOSS:g}.",
                 "Longer training will not mend this: look whether answers contradict each other or cannot follow from "
                 "their text, then whether this base model can write them at all.")


def failed(checks: Sequence[Check], *, hard: bool = False) -> list[Check]:
    """Those that failed; hard: only those that a training is refused for."""
    return [check for check in checks if check.state == "failed" and (check.is_hard or not hard)]
