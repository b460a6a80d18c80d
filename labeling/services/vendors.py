"""Outside companies that label: a batch goes out as a file, its answers come back as one.

1. `export_batch`: what is still wanted of a batch, known answers mixed in, nothing that shows which they are.
2. `receive_vendor_answers`: checks the file that comes back, every row; `imports.start_import` takes it in.
"""

from typing import BinaryIO

from django.contrib.auth.models import User
from django.db.models import F, QuerySet

from labeling.models import Batch, Example, KnownAnswer, Upload
from labeling.reading import Mapping
from labeling.services.batches import n_wanted, rules_of
from labeling.services.imports import receive_upload
from labeling.task_types import task_type
from labeling.vendor_files import FORMATS, AskedRow, Question, drawn, in_drawn_order, n_honeypots, to_csv, to_jsonl
from projects.errors import UserError
from projects.models import Project
from projects.services import audit


def export_batch(batch: Batch, format: str, *, by: User | None = None) -> bytes:
    """Return the file for the batch's vendor: every example that still wants answers, and by how many people.

    format: "jsonl", or "csv". Labels that others gave are never in it. The file is the same until answers come in.
    Raises UserError for another format, a batch that is no vendor's or has no more to ask, and for spans in a CSV.
    """
    project = batch.project
    if format not in FORMATS:
        raise UserError(f"The formats are {' and '.join(FORMATS)}; got “{format}”.")
    if format == "csv" and project.task_type == "spans":
        raise UserError("Spans are positions in a text, and a spreadsheet may change the text. Take JSONL.")
    _require_vendor(batch)
    items = batch.items.filter(is_set_aside=False, n_taken__lt=F("n_wanted"))
    wanted = dict(items.order_by("pk").values_list("example_id", F("n_wanted") - F("n_taken")))
    if not wanted:
        raise UserError(f"Everything that {batch} asks for is answered. There is nothing left to send.")
    rows = [_row(example, project, wanted[example.pk]) for example in Example.objects.filter(
        batch_items__in=items).only("pk", "key", "text", "data").order_by("pk")]
    seed = f"{project.split_salt}:vendor:{batch.number}"
    rows += _honeypots(batch, len(rows), seed)
    content = (to_jsonl if format == "jsonl" else to_csv)(
        in_drawn_order(rows, [row.key for row in rows], f"{seed}:order"),
        Question(project.task_type, project.labels, project.schema, project.instructions, project.instructions_version))
    audit(project, by, "export_batch", {"batch": batch.number, "vendor": batch.vendor, "format": format,
                                        "n_examples": len(wanted)})
    return content


def receive_vendor_answers(batch: Batch, file: BinaryIO, *, name: str, by: User, mapping: Mapping | None = None,
                           format: str | None = None) -> Upload:
    """Store and check the answers of a batch's vendor; nothing is imported yet.

    A row is an example's key, the label, the vendor's own name or number of the person, and if known the seconds and
    the cost of the label. Bad are, beside what `receive_upload` finds: nobody named, an example that was not sent, a
    second answer by one person, an answer more than wanted, a person who is paused.
    Raises UserError if the batch is no vendor's or closed, or the file cannot be used.
    """
    _require_vendor(batch)
    return receive_upload(batch.project, file, name=name, kind=Upload.Kind.annotations, by=by, mapping=mapping,
                          format=format, batch=batch)


def _require_vendor(batch: Batch) -> None:
    if not batch.vendor:
        raise UserError(f"{batch} is labelled on desks. Make a batch that names an outside company.")
    if batch.state == Batch.State.closed:
        raise UserError(f"{batch} is closed. Make another one.")


def _row(example: Example, project: Project, n_annotators: int) -> AskedRow:
    shown = task_type(project.task_type).task_data(example.text, example.data)
    return AskedRow(example.key, shown.pop("text"), shown, n_annotators)


def _honeypots(batch: Batch, n_rows: int, seed: str) -> list[AskedRow]:
    """Known answers that nobody of this vendor has seen answered, asked of as many people as other examples are."""
    keys = drawn(list(_fresh(batch).values_list("example__key", flat=True)),
                 n_honeypots(n_rows, rules_of(batch.project).honeypot_share), f"{seed}:known")
    examples = Example.objects.filter(project=batch.project_id, key__in=keys)
    return [_row(example, batch.project, n_wanted(batch, example.key, example.split)) for example in examples]


def _fresh(batch: Batch) -> QuerySet[KnownAnswer]:
    known = KnownAnswer.objects.filter(project=batch.project_id, retired_at=None, example__split=Example.Split.pool)
    return known.exclude(example__batch_items__batch=batch).exclude(
        example__assignments__annotator__vendor=batch.vendor)
