"""Files in: check the whole file first, then import it whole or not at all.

1. `receive_upload` stores the bytes by hash, guesses the columns, reads every line, writes down the bad ones.
2. `start_import` queues the import; bad rows stop it unless the caller says to leave them out.
3. `run_import` reads the stored bytes again and inserts in one transaction with the job's success.
"""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Annotation, Annotator, Example, Upload
from labeling.reading import BadRow, FileRefused, Mapping, Row, read_rows, sniff
from labeling.services.bulk import CHUNK, database_time, insert_ignoring_conflicts
from labeling.texts import content_sha256, split_of
from projects.errors import UserError
from projects.models import Project
from projects.objects import object_path, put_object
from projects.services import audit

T = TypeVar("T")

SHOWN_BAD_ROWS = 50
GIVEN = "given"  # the annotator of labels that came with the examples and name nobody


def receive_upload(project: Project, file: BinaryIO, *, name: str, kind: str, by: User,
                   mapping: Mapping | None = None, format: str | None = None) -> Upload:
    """Store a file and check every line of it; nothing is imported yet.

    kind: a value of Upload.Kind. mapping: which column is what; guessed from the header unless given.
    Raises UserError if the file as a whole cannot be used: empty, not UTF-8, a column missing.
    """
    sha256 = put_object(settings.GOLDPAN_OBJECTS, file)
    path = object_path(settings.GOLDPAN_OBJECTS, sha256)
    if path.stat().st_size > settings.GOLDPAN_MAX_UPLOAD_MB * 1_000_000:
        raise UserError(f"{name} has {path.stat().st_size / 1e6:.0f} MB; at most {settings.GOLDPAN_MAX_UPLOAD_MB} MB "
                        "can be uploaded at once. Split the file.")
    try:
        sniffed = sniff(path, name=name, format=format)
        mapping = mapping or sniffed.mapping
        upload = Upload(project=project, name=Path(name).name[:200], sha256=sha256, kind=kind, format=sniffed.format,
                        mapping=mapping.as_dict(), created_by=by)
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
        raise FileRefused(f"{upload.name} has a header but no rows. Choose a file with at least one.")


def _safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def start_import(upload: Upload, *, by: User, skip_bad: bool = False, wake: bool = True) -> Job:
    """Queue the import of a checked upload.

    skip_bad: import the good rows and leave the bad ones out; without it one bad row stops the file.
    Raises UserError if there are bad rows and they are not to be skipped, or it is imported already.
    """
    if upload.n_bad and not skip_bad:
        line, reason = upload.bad_rows[0]
        raise UserError(f"{upload.n_bad} of {upload.n_good + upload.n_bad} rows cannot be imported; the first is line "
                        f"{line}: {reason} Mend the file, or import the {upload.n_good} good rows without them.")
    if not upload.n_good:
        raise UserError(f"No row of {upload.name} can be imported. Mend the rows named in the report.")
    return enqueue("import", upload.project, title=f"Importing {upload.n_good:,} rows of {upload.name}",
                   requested_by=by, params={"upload": upload.pk}, exclusive=f"import:{upload.project_id}",
                   dedupe_key=f"import:{upload.pk}", wake=wake)


def run_import(job: Job, progress: Progress) -> None:
    upload = Upload.objects.get(pk=job.params["upload"])
    path = object_path(settings.GOLDPAN_OBJECTS, upload.sha256)
    rows = (row for row in _checked_rows(upload, path) if isinstance(row, Row))
    with completing(job) as result:
        result |= _import_rows(upload, rows)
        upload.imported_at, upload.n_imported = timezone.now(), result["n_examples"] + result["n_annotations"]
        upload.save(update_fields=["imported_at", "n_imported"])
        audit(upload.project, upload.created_by, "import", {"file": upload.name, "sha256": upload.sha256, **result})


def _import_rows(upload: Upload, rows: Iterator[Row]) -> dict[str, int]:
    """Insert in chunks, so that memory stays flat; the caller's transaction makes it one."""
    n_examples = n_annotations = 0
    annotators: dict[str, Annotator] = {}
    for chunk in _chunks(rows):
        if upload.kind == Upload.Kind.examples:
            n_examples += _insert_examples(upload, chunk)
        labelled = [row for row in chunk if row.label is not None]
        if labelled:
            n_annotations += _insert_annotations(upload, labelled, annotators)
    return {"n_examples": n_examples, "n_annotations": n_annotations}


_EXAMPLE_COLUMNS = ("project_id", "key", "text", "data", "content_sha256", "group", "split", "observed_at", "upload_id")


def _insert_examples(upload: Upload, rows: list[Row]) -> int:
    project = upload.project
    shares = (project.split_shares["pool"], project.split_shares["dev"], project.split_shares["test"])

    def values() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            text = row.text or ""
            sha256 = content_sha256(text)
            group = row.group or sha256
            yield (project.pk, key_of(row, sha256), text, json.dumps(row.data) if row.data else "{}", sha256, group,
                   split_of(group, project.split_salt, shares), database_time(row.observed_at), upload.pk)

    return insert_ignoring_conflicts(Example, _EXAMPLE_COLUMNS, values())


_ANNOTATION_COLUMNS = ("example_id", "annotator_id", "value", "skipped", "retracted", "source", "instructions_version",
                       "created_at")


def _insert_annotations(upload: Upload, rows: list[Row], annotators: dict[str, Annotator]) -> int:
    """Append the labels that are news; a label that the annotator gave already is left out."""
    project = upload.project
    for name in {row.annotator or GIVEN for row in rows} - annotators.keys():
        annotators[name], _ = Annotator.objects.get_or_create(project=project, name=name)
    keys = [key_of(row) for row in rows]
    example_ids = dict(Example.objects.filter(project=project, key__in=keys).values_list("key", "pk"))
    known = {(example_id, annotator_id): value for example_id, annotator_id, value in
             Annotation.objects.current().filter(example_id__in=example_ids.values())
             .values_list("example_id", "annotator_id", "value")}
    now = database_time(timezone.now())
    values = []
    for row, key in zip(rows, keys, strict=True):
        pair = (example_ids[key], annotators[row.annotator or GIVEN].pk)
        if known.get(pair) != row.label:
            known[pair] = row.label
            values.append((*pair, json.dumps(row.label), False, False, Annotation.Source.file.value,
                           project.instructions_version, now))
    return insert_ignoring_conflicts(Annotation, _ANNOTATION_COLUMNS, values)


def key_of(row: Row, sha256: str | None = None) -> str:
    """The row's key; a row without one is known by its text, so that the same file again adds nothing."""
    return row.key or f"text-{(sha256 or content_sha256(row.text or ''))[:24]}"


def _checked_rows(upload: Upload, path: Path) -> Iterator[Row | BadRow]:
    """The file's rows, held against what the project has: unknown keys, keys that stand for another text."""
    rows = read_rows(path, format=upload.format, mapping=Mapping(**upload.mapping), labels=set(upload.project.labels),
                     kind=upload.kind)
    for chunk in _chunks(rows):
        good = [row for row in chunk if isinstance(row, Row)]
        known = dict(Example.objects.filter(project=upload.project, key__in=[key_of(row) for row in good])
                     .values_list("key", "content_sha256"))
        for row in chunk:
            yield row if isinstance(row, BadRow) else _against_known(row, upload.kind, known)


def _against_known(row: Row, kind: str, known: dict[str, str]) -> Row | BadRow:
    there = known.get(key_of(row)) if known else None
    if kind == Upload.Kind.annotations and there is None:
        return BadRow(row.line, f"no example has the key “{row.key}”. Import the examples first.", row.key or "")
    if kind == Upload.Kind.examples and there is not None and there != content_sha256(row.text or ""):
        return BadRow(row.line, f"the key “{row.key}” belongs to another text already, and an example's text never "
                                "changes. Give the new text a key of its own.", row.text or "")
    return row


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk
