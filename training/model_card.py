"""The adapter's model card: what it is made of, how good it is shown to be, and what is not shown."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stats.intervals import Interval
from training.prompts import Prompt, prompt_sha256
from training.verdict import percent

FEW_ROWS = 30  # a label with fewer held-out rows has an accuracy that says little


@dataclass(frozen=True)
class CardMetric:
    """A line of the card's table: who was judged, on which split, by which metric."""

    who: str
    split: str
    metric: str
    value: Interval


def model_card(*, title: str, base: str, snapshot: str, snapshot_sha256: str, approval: str,
               label_counts: Mapping[str, Mapping[str, int]], n_rows: Mapping[str, int], prompt: Prompt,
               config: Mapping[str, Any], seed: int, metrics: Sequence[CardMetric], verdict: str,
               lineage: Sequence[str], files: Mapping[str, str], versions: Mapping[str, str],
               refused: Sequence[tuple[str, str]] = ()) -> str:
    """The card as Markdown with the front matter that model hubs read.

    label_counts: split → label → rows, without labels where answers have none. n_rows: split → rows.
    verdict: the comparison's headline and paragraph.
    lineage: sentences from the newest ancestor to the oldest. files: name → sha256. refused: (key, reason).
    """
    tag = "text-classification" if prompt.task_type in ("classification", "multilabel") else "text-generation"
    method = config.get("method", "lora")
    front = {"library_name": "transformers" if method == "full" else "peft", "base_model": base,
             "tags": [method, tag, "goldpan"]}
    parts = [
        "---\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items()) + "\n---",
        f"# {_inline(title)}",
        f"{_what(base, str(config.get('method', 'lora')))} {_inline(verdict)}",
        "## Data\n" + _data(snapshot, snapshot_sha256, approval, label_counts, n_rows, refused),
        "## Prompt\n" + _prompt(prompt),
        "## Results\n" + _results(metrics),
        "## Training\n" + _bullets([f"{name}: {value}" for name, value in {**config, "seed": seed}.items()]),
        "## Lineage\n" + _bullets(lineage),
        "## Files\n" + _table(("File", "sha256"), [(name, f"`{digest}`") for name, digest in sorted(files.items())]),
        "## Versions\n" + _bullets([f"{name} {number}" for name, number in versions.items()]),
        "## Limits\n" + _bullets(_limits(metrics, label_counts, prompt)),
    ]
    return "\n\n".join(parts) + "\n"


def _what(base: str, method: str) -> str:
    if method == "full":
        return f"All weights of `{base}`, trained anew."
    if method == "dpo":
        return (f"LoRA adapter for `{base}`, trained by DPO to write what people prefer. Its accuracy says how often "
                "training has raised the likelihood of the better of two answers more, not how good its answers are.")
    return f"LoRA adapter for `{base}`."


def _data(snapshot: str, sha256: str, approval: str, label_counts: Mapping[str, Mapping[str, int]],
          n_rows: Mapping[str, int], refused: Sequence[tuple[str, str]]) -> str:
    labels = sorted({label for counts in label_counts.values() for label in counts})
    rows = [(label, *(f"{counts.get(label, 0):,}" for counts in label_counts.values())) for label in labels]
    rows.append(("all", *(f"{n_rows[split]:,}" for split in label_counts)))
    said = f"{_inline(snapshot)}, sha256 `{sha256}`. {_inline(approval)}\n\n" + _table(
        ("Label" if labels else "Rows", *label_counts), rows)
    if refused:
        said += f"\n\n{len(refused):,} rows were not trained on:\n\n" + _bullets(
            [f"{key}: {reason}" for key, reason in refused[:20]])
    return said


def _prompt(prompt: Prompt) -> str:
    shown = [f"system: {prompt.system}", *(f"{shot.text} → {shot.label}" for shot in prompt.shots),
             f"user: {prompt.instruction}"]
    text = "\n".join(shown)
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall("`+", text))]))
    answers = "with one of: " + ", ".join(label.completion for label in prompt.labels) if prompt.has_labels else \
        "with JSON of the project's schema" if prompt.answer_schema else "in its own words"
    return (f"Trained and served with this prompt, sha256 `{prompt_sha256(prompt)}`; it answers {_inline(answers)}."
            f"\n\n{fence}text\n{text}\n{fence}")


def _results(metrics: Sequence[CardMetric]) -> str:
    return _table(("Who", "Split", "Metric", "Value", "95 % interval", "Rows"), [
        (line.who, line.split, line.metric, percent(line.value.estimate),
         f"{percent(line.value.low)} to {percent(line.value.high)}", f"{line.value.n:,}") for line in metrics])


def _limits(metrics: Sequence[CardMetric], label_counts: Mapping[str, Mapping[str, int]],
            prompt: Prompt) -> list[str]:
    limits = [
        "It answers with one of its labels whatever the text is, also where none fits." if prompt.has_labels else
        "It writes its answers: one may be well formed and still say what the text does not.",
        "The results hold for texts like those of the snapshot. Other sources, languages and later months were not "
        "tested.",
        "The held-out labels are people's majority answers: where people disagree, no model can be shown to be right.",
        "One run with one seed; another seed would move the results a little."]
    for split in ("test", "held out"):
        few = sorted(label for label, n in label_counts.get(split, {}).items() if n < FEW_ROWS)
        if few:
            limits.append(f"Fewer than {FEW_ROWS} held-out rows, so next to nothing is known about: {', '.join(few)}.")
    if not any(line.split == "test" for line in metrics):
        limits.append("It has not been judged on held-out test rows.")
    return limits


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_inline(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_inline(line)}" for line in lines) or "- none"


def _inline(text: str) -> str:
    """One line of Markdown without HTML: the words come from users."""
    return " ".join(str(text).split()).replace("<", "&lt;").replace("[", "\\[")
