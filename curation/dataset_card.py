"""What a Hugging Face folder says of itself: the dataset card, and Croissant metadata for programs.

Sources: the front matter of dataset cards as the Hugging Face hub reads it; MLCommons, Croissant Format
Specification 1.0.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projects.wording import counted

HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}  # Goldpan's split → as the hub calls it
PARQUET_OF = {split: f"data/{name}.parquet" for split, name in HUB_SPLITS.items()}
TASKS = {  # task type → the hub's category
    "classification": "text-classification", "multilabel": "text-classification", "response": "text-generation",
    "extraction": "text-generation", "preference": "text-generation", "spans": "token-classification",
    "chat": "text-generation"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
COLUMN_WORDS = {
    "key": "the row's name in the project it came from", "split": "train, dev or test", "text": "what was labelled",
    "label": "the answer as a model should write it", "group": "rows of one customer, thread or document share it",
    "left": "the left one of two answers", "right": "the right one of two answers",
    "messages": "the conversation, a user's turn last",
    "row_sha256": "the sha256 of the row's line in the frozen file"}


@dataclass(frozen=True)
class Described:
    """What the card says: of which snapshot, how many rows, and in words who decided and what to know."""

    project: str
    number: int
    sha256: str
    task_type: str
    guideline: str
    guideline_version: int
    n_of_split: Mapping[str, int]
    label_counts: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, Mapping[str, int]]
    n_erased: int
    approval: str
    columns: Sequence[str]

    @property
    def n(self) -> int:
        return sum(self.n_of_split.values())

    @property
    def title(self) -> str:
        return f"{self.project}: snapshot {self.number}"


def dataset_card(about: Described) -> str:
    """The card as Markdown with the front matter that the hub reads; equal input gives equal text."""
    size = next((name for limit, name in SIZES if about.n < limit), "1M<n<10M")
    front = ["---", f"pretty_name: {json.dumps(about.title, ensure_ascii=False)}",
             f"task_categories: [{TASKS[about.task_type]}]", f"size_categories: [{json.dumps(size)}]",
             "tags: [goldpan, croissant]", "configs:", "- config_name: default", "  data_files:",
             *(f"  - {{split: {HUB_SPLITS[split]}, path: {path}}}" for split, path in PARQUET_OF.items()), "---"]
    limits = ["The labels of dev and test rows are what at least three people said blind; those of train rows are "
              "people's, settled by a curator where they looked wrong.",
              "Where people disagree, no label can be shown to be right.",
              "The texts are as they came. Who may use them, and for what, is for their owner to say."]
    if about.n_erased:
        limits.append(f"{counted(about.n_erased, 'row was', 'rows were')} erased at somebody's wish "
                      "after the snapshot was frozen. They are not in these files; "
                      "row-hashes.csv still has their hashes.")
    parts = [
        "\n".join(front), f"# {_inline(about.title)}",
        f"{counted(about.n, 'row')}, frozen. The snapshot's sha256 is `{about.sha256}`. {_inline(about.approval)}",
        "## Rows\n" + _counts(about),
        "## Columns\n" + "\n".join(f"- `{name}`: {COLUMN_WORDS[name]}" for name in about.columns),
        f"## Guideline, version {about.guideline_version}\n" + _quoted(about.guideline),
        "## What was left out\n" + _left_out(about.left_out),
        "## What to know\n" + "\n".join(f"- {line}" for line in limits),
        "## How to check it\n`sha256sum --check SHA256SUMS` hashes the files. `snapshot.jsonl`, where it is there, "
        "holds the snapshot whole: its first line is the manifest, which has the hash of every part, and importing it "
        "into Goldpan gives the same snapshot."]
    return "\n\n".join(parts) + "\n"


def _counts(about: Described) -> str:
    splits = list(HUB_SPLITS)
    labels = list(about.label_counts.get("train", {}))
    rows = [(label, *(f"{about.label_counts.get(split, {}).get(label, 0):,}" for split in splits)) for label in labels]
    rows.append(("all rows", *(f"{about.n_of_split[split]:,}" for split in splits)))
    head = [("Label as it was frozen", *(HUB_SPLITS[split] for split in splits)), ("---",) * 4]
    return "\n".join("| " + " | ".join(_inline(cell).replace("|", "\\|") for cell in row) + " |"
                     for row in [*head, *rows])


def _quoted(text: str) -> str:
    return "\n".join(f"> {_inline(line)}" for line in text.splitlines()) or "There was none."


def _left_out(left_out: Mapping[str, Mapping[str, int]]) -> str:
    lines = [f"- {split}: {n:,} {_inline(reason)}"
             for split, reasons in left_out.items() for reason, n in reasons.items()]
    return "\n".join([*lines, "", "Row by row in `left-out.csv`."]) if lines else "Nothing."


def _inline(text: str) -> str:
    """One line of Markdown without HTML: the words come from users."""
    return " ".join(str(text).split()).replace("<", "&lt;").replace("[", "\\[")


# Croissant

_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in (
        "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet",
        "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
        "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField",
        "transform")}}
NOT_DESCRIBED = "messages"  # a list of objects; Croissant readers take it from the Parquet file's own schema


def croissant(about: Described, *, sha256_of: Mapping[str, str], frozen_at: str) -> dict[str, Any]:
    """Return the data set's Croissant 1.0 metadata as JSON-LD: a file and a record set for each split.

    sha256_of: path in the folder → hash. frozen_at: the day that the snapshot was made, in ISO 8601.
    """
    return {
        "@context": _CONTEXT, "@type": "sc:Dataset", "name": about.title,
        "conformsTo": "http://mlcommons.org/croissant/1.0", "version": f"{about.number}.0.0",
        "description": f"{counted(about.n, 'labelled row')}, frozen as snapshot {about.number} of “{about.project}”.",
        "datePublished": frozen_at, "url": f"urn:sha256:{about.sha256}", "isLiveDataset": False,
        "citeAs": f"{about.title}, sha256 {about.sha256}",
        "distribution": [
            {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": PARQUET_OF[split],
             "encodingFormat": "application/x-parquet", "sha256": sha256_of[PARQUET_OF[split]]}
            for split, name in ((split, f"{HUB_SPLITS[split]}.parquet") for split in HUB_SPLITS)],
        "recordSet": [_record_set(HUB_SPLITS[split], about.columns) for split in HUB_SPLITS]}


def _record_set(split: str, columns: Sequence[str]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "key": {"@id": f"{split}/key"}, "field": [
        {"@type": "cr:Field", "@id": f"{split}/{name}", "name": name, "description": COLUMN_WORDS[name],
         "dataType": "sc:Text", "source": {"fileObject": {"@id": f"{split}.parquet"}, "extract": {"column": name}}}
        for name in columns if name != NOT_DESCRIBED]}
