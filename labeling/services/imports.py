"""Files in: check the whole file first, then import it whole or not at all.

1. `receive_upload` stores the bytes by hash, guesses the columns, reads every line, writes down the bad ones.
2. `start_import` queues the import; bad rows stop it unless the caller says to leave them out.
3. `run_import` reads the stored bytes again into a table of its own, which locks nobody out, and moves them from there
   in one transaction with the job's success.
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
from labeling.services.bulk import CHUNK, STAGING, database_time, execute, one_of, query, staging_table
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
    One upload has one job: the job that there is already is returned.
    Raises UserError if there are bad rows and they are not to be skipped, or no good one.
    """
    if upload.n_bad and not skip_bad:
        line, reason = upload.bad_rows[0]
        raise UserError(f"{upload.n_bad} of {upload.n_good + upload.n_bad} rows cannot be imported; the first is line "
                        f"{line}: {reason} Mend the file, or import the {upload.n_good} good rows without them.")
    if not upload.n_good:
        raise UserError(f"No row of {upload.name} can be imported. Mend the rows named in the report.")
    return enqueue("import", upload.project, title=f"Importing {upload.n_good:,} rows of {upload.name}",
                   requested_by=by, params={"upload": upload.pk, "skip_bad": skip_bad},
                   exclusive=f"import:{upload.project_id}", dedupe_key=f"import:{upload.pk}", wake=wake)


def run_import(job: Job, progress: Progress) -> None:
    upload = Upload.objects.select_related("project").get(pk=job.params["upload"])
    rows = _good_rows(upload, skip_bad=job.params["skip_bad"])
    with staging_table(_STAGED) as stage:
        n_staged = 0
        for chunk in _chunks(rows):
            stage(_staged(upload, chunk))
            n_staged += len(chunk)
            progress("Reading", n_staged, upload.n_good)
        progress("Writing", 0, 1)
        with completing(job) as result:
            result |= {"n_examples": _add_examples(upload) if upload.kind == Upload.Kind.examples else 0,
                       "n_annotations": _add_annotations(upload)}
            upload.imported_at, upload.n_imported = timezone.now(), result["n_examples"] + result["n_annotations"]
            upload.save(update_fields=["imported_at", "n_imported"])
            audit(upload.project, upload.created_by, "import", {"file": upload.name, "sha256": upload.sha256, **result})


def _good_rows(upload: Upload, *, skip_bad: bool) -> Iterator[Row]:
    """The rows to import. Raises UserError for a row that has become bad since the check, unless it may be skipped."""
    for row in _checked_rows(upload, object_path(settings.GOLDPAN_OBJECTS, upload.sha256)):
        if isinstance(row, Row):
            yield row
        elif not skip_bad:
            raise UserError(f"Something has changed since {upload.name} was checked, and nothing of it was imported. "
                            f"Line {row.line}: {row.reason} Check the file again.")


_STAGED = {"line": "integer PRIMARY KEY", "key": "text", "text": "text", "data": "jsonb", "content_sha256": "text",
           "group": "text", "split": "text", "observed_at": "timestamptz", "annotator": "text", "value": "jsonb"}


def _staged(upload: Upload, rows: list[Row]) -> Iterator[tuple[Any, ...]]:
    """The rows as values of _STAGED's columns; what an example is made of is None in a file of labels."""
    project = upload.project
    shares = (project.split_shares["pool"], project.split_shares["dev"], project.split_shares["test"])
    for row in rows:
        key = row.key
        example: tuple[Any, ...] = (None,) * 6
        if upload.kind == Upload.Kind.examples:
            text = row.text or ""
            sha256 = content_sha256(text)
            key, group = key_of(row, sha256), row.group or sha256
            example = (text, json.dumps(row.data) if row.data else "{}", sha256, group,
                       split_of(group, project.split_salt, shares), database_time(row.observed_at))
        yield (row.line, key, *example, row.annotator or GIVEN, None if row.label is None else json.dumps(row.label))


def _add_examples(upload: Upload) -> int:
    """Insert the staged examples whose keys are new, in the file's order; return how many."""
    names = 'key, text, data, content_sha256, "group", split, observed_at'
    return execute(f"""
        INSERT INTO labeling_example (project_id, upload_id, {names})
        SELECT %s, %s, {names} FROM {STAGING} WHERE true ORDER BY line
        ON CONFLICT DO NOTHING""", [upload.project_id, upload.pk])  # noqa: S608  # names of ours


def _add_annotations(upload: Upload) -> int:
    """Append the staged labels that are news: other than the annotator's last word on that example."""
    project = upload.project
    for name, in query(f"SELECT DISTINCT annotator FROM {STAGING} WHERE value IS NOT NULL"):  # noqa: S608
        Annotator.objects.get_or_create(project=project, name=name)
    # In a file without keys a text may stand twice; then its last line counts.
    return execute(f"""
        INSERT INTO labeling_annotation (example_id, annotator_id, value, skipped, retracted, source,
                                         instructions_version, created_at)
        SELECT example.id, annotator.id, staged.value, false, false, %s, %s, %s
        FROM {STAGING} staged
        JOIN labeling_example example ON example.project_id = %s AND example.key = staged.key
        JOIN labeling_annotator annotator ON annotator.project_id = %s AND annotator.name = staged.annotator
        WHERE staged.line IN (SELECT max(line) FROM {STAGING} WHERE value IS NOT NULL GROUP BY key, annotator)
        AND staged.value IS DISTINCT FROM (
            SELECT said.value FROM labeling_annotation said
            WHERE said.example_id = example.id AND said.annotator_id = annotator.id ORDER BY said.id DESC LIMIT 1)
        ORDER BY staged.line""",  # noqa: S608
        [Annotation.Source.file.value, project.instructions_version, database_time(timezone.now()), project.pk,
         project.pk])


def key_of(row: Row, sha256: str | None = None) -> str:
    """The row's key; a row without one is known by its text, so that the same file again adds nothing."""
    return row.key or f"text-{(sha256 or content_sha256(row.text or ''))[:24]}"


def _checked_rows(upload: Upload, path: Path) -> Iterator[Row | BadRow]:
    """The file's rows, held against what the project has: unknown keys, keys that stand for another text."""
    rows = read_rows(path, format=upload.format, mapping=Mapping(**upload.mapping), labels=set(upload.project.labels),
                     kind=upload.kind)
    if upload.kind == Upload.Kind.examples and not Example.objects.filter(project=upload.project).exists():
        yield from rows
        return
    for chunk in _chunks(rows):
        good = [row for row in chunk if isinstance(row, Row)]
        known = _known(upload.project, [key_of(row) for row in good])
        for row in chunk:
            yield row if isinstance(row, BadRow) else _against_known(row, upload.kind, known)


def _known(project: Project, keys: list[str]) -> dict[str, str]:
    """Key → content_sha256, of those among the keys that the project has."""
    are_among, those = one_of(keys)
    return dict(query(f"SELECT key, content_sha256 FROM labeling_example "  # noqa: S608
                      f"WHERE project_id = %s AND key {are_among}", [project.pk, those]))


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
