"""Files in: check the whole file first, then import it whole or not at all.

1. `receive_upload` stores the bytes by hash, guesses the columns, reads every line, writes down the bad ones.
2. `start_import` queues the import; bad rows stop it unless the caller says to leave them out.
3. `run_import` reads the stored bytes again into a table of its own, which locks nobody out, and moves them from there
   in one transaction with the job's success. The same file again, with nothing said since, is done at once.
A file with a batch holds the answers of the batch's vendor: `vendor_answers` says which of them were asked for, and
writes down that they came.
"""

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotation, Annotator, Batch, Example, Upload
from labeling.reading import FIELDS, Bad, BadRow, FileRefused, Labels, Mapping, Row, read_rows, sniff
from labeling.services.batches import tell_of_done_batches
from labeling.services.bulk import CHUNK, STAGING, database_time, execute, one_of, query, staging_table
from labeling.services.overlap import widen_overlap
from labeling.services.vendor_answers import Asked, record_answers
from labeling.texts import content_sha256, split_of
from projects.errors import UserError
from projects.models import AuditEvent, Project
from projects.objects import object_path, put_object
from projects.services import audit
from projects.wording import counted

T = TypeVar("T")

SHOWN_BAD_ROWS = 50
MOVED = 20_000  # staged examples per statement: SQLite holds all rows of one that sets off triggers in memory
GIVEN = "given"  # the annotator of labels that came with the examples and name nobody


def receive_upload(project: Project, file: BinaryIO, *, name: str, kind: str, by: User,
                   mapping: Mapping | None = None, format: str | None = None, batch: Batch | None = None) -> Upload:
    """Store a file and check every line of it; nothing is imported yet.

    kind: a value of Upload.Kind. mapping: which column is what; guessed from the header unless given.
    batch: the file holds the answers of this batch's vendor; see `vendors.receive_vendor_answers`.
    Raises UserError if the file as a whole cannot be used: empty, not UTF-8, a column missing.
    """
    sha256 = put_object(settings.GOLDPAN_OBJECTS, file)
    path = object_path(settings.GOLDPAN_OBJECTS, sha256)
    if path.stat().st_size > settings.GOLDPAN_MAX_UPLOAD_MB * 1_000_000:
        raise UserError(f"{name} has {path.stat().st_size / 1e6:.0f} MB; at most {settings.GOLDPAN_MAX_UPLOAD_MB} MB "
                        "can be uploaded at once. Split the file.")
    try:
        sniffed = sniff(path, name=name, format=format, kind=kind, task_type=project.task_type)
        mapping = mapping or sniffed.mapping
        upload = Upload(project=project, name=Path(name).name[:200], sha256=sha256, kind=kind, format=sniffed.format,
                        mapping=mapping.as_dict(), batch=batch, created_by=by)
        _check(upload, path)
    except FileRefused as error:
        raise UserError(str(error)) from None
    upload.save()
    return upload


def _check(upload: Upload, path: Path) -> None:
    """Read every line once and write the counts and the bad rows into the upload."""
    bad_csv = io.StringIO()
    writer = csv.writer(bad_csv)
    writer.writerow(["line", "reason", "row"])
    for row in _checked_rows(upload, path):
        if isinstance(row, BadRow):
            upload.n_bad += 1
            if len(upload.bad_rows) < SHOWN_BAD_ROWS:
                upload.bad_rows.append([row.line, row.reason])
            writer.writerow([row.line, row.reason, _safe_cell(row.raw)])
        else:
            upload.n_good += 1
    if upload.n_bad:
        upload.bad_sha256 = put_object(settings.GOLDPAN_OBJECTS, bad_csv.getvalue().encode())
    if not upload.n_good and not upload.n_bad:
        raise FileRefused(f"{upload.name} holds nothing to import. Choose a file with at least one label.")


def _safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def start_import(upload: Upload, *, by: User, skip_bad: bool = False, wake: bool = True) -> Job:
    """Queue the import of a checked upload.

    skip_bad: import the good rows and leave the bad ones out; without it one bad row stops the file.
    One upload has one job: the job that there is already is returned.
    Raises UserError if there are bad rows and they are not to be skipped, or no good one.
    """
    if upload.n_bad and not skip_bad:
        line, reason = upload.bad_rows[0]
        raise UserError(f"{upload.n_bad} of {upload.n_good + upload.n_bad} rows cannot be imported; the first is line "
                        f"{line}: {reason} Mend the file, or import the {upload.n_good} good rows without them.")
    if not upload.n_good:
        raise UserError(f"No row of {upload.name} can be imported. Mend the rows named in the report.")
    return enqueue("import", upload.project, title=f"Importing {counted(upload.n_good, 'row')} of {upload.name}",
                   requested_by=by, params={"upload": upload.pk, "skip_bad": skip_bad},
                   exclusive=f"import:{upload.project_id}", dedupe_key=f"import:{upload.pk}", wake=wake)


def run_import(job: Job, progress: Progress) -> None:
    upload = Upload.objects.select_related("project", "batch").get(pk=job.params["upload"])
    if _is_in_already(upload):
        with completing(job) as result:
            _finish(upload, result, {"n_examples": 0, "n_annotations": 0})
        return
    rows = _good_rows(upload, skip_bad=job.params["skip_bad"])
    with staging_table(_STAGED) as stage:
        n_staged = 0
        for chunk in _chunks(rows):
            stage(_staged(upload, chunk, n_staged))
            n_staged += len(chunk)
            progress("Reading", n_staged, upload.n_good)
        progress("Writing", 0, 1)
        with completing(job) as result:
            _finish(upload, result, _write(upload))


def _finish(upload: Upload, result: dict[str, Any], found: dict[str, int]) -> None:
    """Say what the import found: to the job, in the upload's row and in the audit."""
    result |= found
    upload.imported_at, upload.n_imported = timezone.now(), found["n_examples"] + found["n_annotations"]
    upload.save(update_fields=["imported_at", "n_imported"])
    asked = {"batch": upload.batch.number, "vendor": upload.batch.vendor} if upload.batch else {}
    audit(upload.project, upload.created_by, "import",
          {"file": upload.name, "sha256": upload.sha256, **asked, **found, "left_as": _state(upload)})
    if upload.batch:
        tell_of_done_batches(upload.project)


def _is_in_already(upload: Upload) -> bool:
    """Whether these bytes, read in this way, were imported into the project as it is now: then they hold no news.

    Whatever could make some differs: a later answer, other labels or rules of the project, rows that were bad.
    """
    if upload.format == "ls-json" or upload.batch_id is not None:  # these write more than examples and answers
        return False
    events = AuditEvent.objects.filter(project=upload.project_id, what="import").order_by("-sequence")
    state = _state(upload)
    return any(detail.get("left_as") == state for detail in events.values_list("detail", flat=True)[:100])


def _state(upload: Upload) -> str:
    """A hash of the file, how it is read, and what of the project decides whether its rows are news."""
    project = upload.project
    parts = [upload.sha256, upload.kind, upload.format, upload.mapping, upload.n_good, upload.n_bad, project.schema,
             project.task_type, project.instructions_version, Annotation.objects.newest_of(project)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write(upload: Upload) -> dict[str, int]:
    """Move the staged rows to where they belong; return how many were new."""
    n_examples = _add_examples(upload) if upload.kind == Upload.Kind.examples else 0
    found = {"n_examples": n_examples, "n_annotations": _add_annotations(upload)}
    if upload.format == "ls-json":
        found["n_suggestions"] = _add_suggestions(upload.project)
    if upload.batch is not None:
        record_answers(upload.batch)
    elif found["n_annotations"]:
        widen_overlap(upload.project)
    return found


def _good_rows(upload: Upload, *, skip_bad: bool) -> Iterator[Row]:
    """The rows to import. Raises UserError for a row that has become bad since the check, unless it may be skipped."""
    for row in _checked_rows(upload, object_path(settings.GOLDPAN_OBJECTS, upload.sha256)):
        if isinstance(row, Row):
            yield row
        elif not skip_bad:
            raise UserError(f"Something has changed since {upload.name} was checked, and nothing of it was imported. "
                            f"Line {row.line}: {row.reason} Check the file again.")


_STAGED = {"number": "integer PRIMARY KEY", "key": "text", "text": "text", "data": "jsonb", "content_sha256": "text",
           "group": "text", "split": "text", "observed_at": "timestamptz", "annotator": "text", "value": "jsonb",
           "seconds": "double precision", "cost": "numeric", "is_suggestion": "boolean"}


def _staged(upload: Upload, rows: list[Row], n_before: int) -> Iterator[tuple[Any, ...]]:
    """The rows as values of _STAGED's columns; what an example is made of is None in a file of labels.

    n_before: how many rows of the file came before these.
    """
    project = upload.project
    shares = (project.split_shares["pool"], project.split_shares["dev"], project.split_shares["test"])
    for number, row in enumerate(rows, n_before):
        key = row.key
        example: tuple[Any, ...] = (None,) * 6
        if upload.kind == Upload.Kind.examples:
            text = row.text or ""
            sha256 = content_sha256(text)
            key, group = key_of(row, project.task_type, sha256), row.group or sha256
            example = (text, json.dumps(row.data) if row.data else "{}", sha256, group,
                       split_of(group, project.split_salt, shares), database_time(row.observed_at))
        yield (number, key, *example, row.annotator or GIVEN, None if row.label is None else json.dumps(row.label),
               row.seconds, None if row.cost is None else str(row.cost), row.is_suggestion)


def _add_examples(upload: Upload) -> int:
    """Insert the staged examples whose keys are new, in the file's order; return how many."""
    names = 'key, text, data, content_sha256, "group", split, observed_at'
    (n_staged,), = query(f"SELECT coalesce(max(number) + 1, 0) FROM {STAGING}")  # noqa: S608
    return sum(execute(f"""
        INSERT INTO labeling_example (project_id, upload_id, {names})
        SELECT %s, %s, {names} FROM {STAGING} WHERE number >= %s AND number < %s ORDER BY number
        ON CONFLICT DO NOTHING""", [upload.project_id, upload.pk, start, start + MOVED])  # noqa: S608  # names of ours
        for start in range(0, n_staged, MOVED))


def _add_annotations(upload: Upload) -> int:
    """Append the staged labels that are news: other than the annotator's last word on that example."""
    project, vendor = upload.project, upload.batch.vendor if upload.batch else ""
    is_label = "value IS NOT NULL AND NOT is_suggestion"
    for name, in query(f"SELECT DISTINCT annotator FROM {STAGING} WHERE {is_label}"):  # noqa: S608
        Annotator.objects.get_or_create(project=project, name=name, defaults={"vendor": vendor})
    # In a file without keys a text may stand twice; then its last line counts.
    return execute(f"""
        INSERT INTO labeling_annotation (example_id, annotator_id, value, skipped, retracted, seconds, cost, source,
                                         instructions_version, created_at)
        SELECT example.id, annotator.id, staged.value, false, false, staged.seconds, staged.cost, %s, %s, %s
        FROM {STAGING} staged
        JOIN labeling_example example ON example.project_id = %s AND example.key = staged.key
        JOIN labeling_annotator annotator ON annotator.project_id = %s AND annotator.name = staged.annotator
        WHERE staged.number IN (SELECT max(number) FROM {STAGING} WHERE {is_label} GROUP BY key, annotator)
        AND staged.value IS DISTINCT FROM (
            SELECT said.value FROM labeling_annotation said
            WHERE said.example_id = example.id AND said.annotator_id = annotator.id ORDER BY said.id DESC LIMIT 1)
        ORDER BY staged.number""",  # noqa: S608
        [Annotation.Source.file.value, project.instructions_version, database_time(timezone.now()), project.pk,
         project.pk])


def _add_suggestions(project: Project) -> int:
    """Append the staged suggestions that are other than an example's newest."""
    return execute(f"""
        INSERT INTO labeling_suggestion (example_id, value, "by", created_at)
        SELECT example.id, staged.value, staged.annotator, %s
        FROM {STAGING} staged
        JOIN labeling_example example ON example.project_id = %s AND example.key = staged.key
        WHERE staged.number IN (SELECT max(number) FROM {STAGING} WHERE is_suggestion GROUP BY key)
        AND staged.value IS DISTINCT FROM (
            SELECT newest.value FROM labeling_suggestion newest
            WHERE newest.example_id = example.id ORDER BY newest.id DESC LIMIT 1)
        ORDER BY staged.number""",  # noqa: S608
        [database_time(timezone.now()), project.pk])


def key_of(row: Row, task_type: str, sha256: str | None = None) -> str:
    """The row's key; a row without one is known by its content, so that the same file again adds nothing."""
    return row.key or f"text-{_content(row.text or '', row.data, task_type, sha256)[:24]}"


def _content(text: str, data: dict[str, Any], task_type: str, sha256: str | None = None) -> str:
    """The sha256 of all that an example of this type is about: of two with one content, one is a repeat.

    sha256: of the text, where it is known already.
    """
    if task_type not in FIELDS:
        return sha256 or content_sha256(text)
    return content_sha256(json.dumps([text, *(data.get(name) for name in FIELDS[task_type])], ensure_ascii=False))


def _checked_rows(upload: Upload, path: Path) -> Iterator[Row | BadRow]:
    """The file's rows, held against what the project has: unknown keys, keys that stand for another text.

    Of a vendor's file, also against what the vendor was asked.
    """
    project = upload.project
    rows = read_rows(path, format=upload.format, mapping=Mapping(**upload.mapping), kind=upload.kind,
                     schema=project.schema, task_type=project.task_type)
    if upload.kind == Upload.Kind.examples and not Example.objects.filter(project=project).exists():
        yield from rows
        return
    asked = Asked(upload.batch) if upload.batch else None
    labels = Labels(project.task_type, project.schema)
    for chunk in _chunks(rows):
        chunk = [row if isinstance(row, BadRow) or asked is None else asked.named(row) for row in chunk]
        known = _known(upload, [key_of(row, project.task_type) for row in chunk if isinstance(row, Row)])
        for row in chunk:
            row = row if isinstance(row, BadRow) else _against_known(row, upload, known, labels)
            yield row if isinstance(row, BadRow) or asked is None else asked.check(row)


class _Known(NamedTuple):
    """An example that the project has: its content, as `_content` gives it, and its text, as far as they are needed."""

    content: str = ""
    text: str = ""


def _known(upload: Upload, keys: list[str]) -> dict[str, _Known]:
    """Key → example, of those among the keys that the project has."""
    task_type, of_examples = upload.project.task_type, upload.kind == Upload.Kind.examples
    columns: str = "content_sha256"
    known_by: Callable[..., _Known] = _Known
    if of_examples and task_type in FIELDS:
        columns, known_by = "text, data", lambda text, data: _Known(_content(text, json.loads(data), task_type))
    elif not of_examples and task_type == "spans":
        columns, known_by = "text", lambda text: _Known(text=text)
    are_among, those = one_of(keys)
    found = query(f"SELECT key, {columns} FROM labeling_example "  # noqa: S608
                  f"WHERE project_id = %s AND key {are_among}", [upload.project_id, those])
    return {key: known_by(*values) for key, *values in found}


def _against_known(row: Row, upload: Upload, known: dict[str, _Known], labels: Labels) -> Row | BadRow:
    there = known.get(key_of(row, upload.project.task_type)) if known else None
    if upload.kind == Upload.Kind.annotations:
        if there is None:
            return BadRow(row.line, f"no example has the key “{row.key}”. Import the examples first.", row.key or "")
        if there.text and row.label is not None:
            try:
                return row._replace(label=labels.check(row.label, there.text))
            except Bad as reason:
                return BadRow(row.line, str(reason), json.dumps(row.label, ensure_ascii=False))
    elif there is not None and there.content != _content(row.text or "", row.data, upload.project.task_type):
        return BadRow(row.line, f"the key “{row.key}” belongs to another {_WHAT.get(upload.project.task_type, 'text')} "
                      "already, and an example's text never changes. Give the new one a key of its own.",
                      row.text or "")
    return row


_WHAT = {"preference": "pair of answers", "chat": "conversation"}


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk
