"""Snapshot files in: a snapshot that was exported elsewhere, or here before, with the hash that it had.

1. `receive_snapshot` stores the file and hashes all of it: what it holds is proven before anything is queued.
2. `run_import_snapshot` makes the examples that the project does not have, and the snapshot with its rows.
The project has to be of the same type with the same schema. Its split has to be the snapshot's, or a held-out row there
could be trained on here: an empty project takes the snapshot's salt and shares over.
"""

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
from django.conf import settings
from django.contrib.auth.models import User

from curation.bundle import PARTS, Bundle, open_bundle
from curation.models import Snapshot, SnapshotCheck
from curation.services.checks import check_rows, rows_of
from curation.services.keeping import mark_now
from curation.services.snapshots import insert_rows
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.models import Example
from labeling.services.bulk import CHUNK, insert_ignoring_conflicts
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import Project
from projects.objects import delete_object, object_path, put_object
from projects.services import audit
from projects.wording import counted

SPLIT_OF = {"train": Example.Split.pool.value, "dev": Example.Split.dev.value, "test": Example.Split.test.value}


def receive_snapshot(project: Project, file: BinaryIO, *, name: str, by: User, wake: bool = True) -> Job:
    """Store a snapshot file, prove it, and queue its import; the same file twice is one job.

    Raises UserError, in words, if it is none, a hash differs, it does not fit the project, or it is here already.
    """
    settings.GOLDPAN_JOBS.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=settings.GOLDPAN_JOBS, prefix=".snapshot-") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        bundle = _opened(Path(copy.name))
        _check_fits(project, bundle)
        sha256 = put_object(settings.GOLDPAN_OBJECTS, bundle.path)
    title = f"Importing {counted(bundle.n_rows, 'row')} of {Path(name).name}"[:120]
    return enqueue("import_snapshot", project, title=title, requested_by=by,
                   params={"file": sha256, "name": Path(name).name[:200]}, exclusive=f"freeze:{project.pk}", wake=wake,
                   dedupe_key=f"import_snapshot:{project.pk}:{sha256}")


def _opened(path: Path) -> Bundle:
    try:
        return open_bundle(path)
    except ValueError as error:
        raise UserError(str(error)) from None


def _check_fits(project: Project, bundle: Bundle) -> None:
    manifest = bundle.manifest
    here = Snapshot.objects.filter(project=project, sha256=bundle.sha256).first()
    if here is not None:
        raise UserError(f"This is {str(here).lower()}, which is here already: the hashes are equal.")
    if manifest["task_type"] != project.task_type:
        raise UserError(f"The snapshot is of type {manifest['task_type']}, “{project}” is of type {project.task_type}. "
                        f"Make a project of type {manifest['task_type']}.")
    if manifest["schema"] != project.schema:
        raise UserError(f"The snapshot's answers follow another schema than those of “{project}”. Make a project with "
                        f"its schema: {json.dumps(manifest['schema'], ensure_ascii=False):.300}")
    has_split = project.split_salt == manifest["split_salt"] and project.split_shares == manifest["split_shares"]
    if not has_split and Example.objects.filter(project=project).exists():
        raise UserError(f"“{project}” splits its examples otherwise than the snapshot's project did, so what was held "
                        "out there could be trained on here. Import it into a project without examples: that takes "
                        "over the snapshot's split.")


def run_import_snapshot(job: Job, progress: Progress) -> None:
    project, by, store = job.project, job.requested_by, settings.GOLDPAN_OBJECTS
    assert by is not None
    try:
        bundle = _opened(object_path(store, job.params["file"]))
    except FileNotFoundError:
        raise UserError("The uploaded file is gone. Upload it again.") from None
    progress("Checking", 0, 1)
    _check_fits(project, bundle)
    manifest = bundle.manifest
    for part in PARTS:
        put_object(store, cast(BinaryIO, _Lines(bundle.part(part))))
    sha256s = [line.decode().strip() for line in bundle.part("sha256s")]
    progress("Writing", 0, 1)
    with completing(job) as result:
        Project.objects.select_for_update().get(pk=project.pk)
        _check_fits(project, bundle)
        if not Example.objects.filter(project=project).exists():
            Project.objects.filter(pk=project.pk).update(
                split_salt=manifest["split_salt"], split_shares=manifest["split_shares"])
        n_new = _add_examples(project, bundle)
        rows = _rows(project, bundle)
        last = Snapshot.objects.filter(project=project).first()
        mark = mark_now()
        with bundle.path.open("rb") as file:
            manifest_sha256 = put_object(store, file.readline())
        snapshot = Snapshot.objects.create(
            project=project, number=last.number + 1 if last else 1, sha256=manifest_sha256, job=job, created_by=by,
            rows_sha256=manifest["rows"]["sha256"], rule=manifest["rule"], counts=manifest["counts"], parent=last,
            origin=Snapshot.Origin.imported, last_annotation=mark.annotation, last_decision=mark.decision)
        insert_rows(snapshot, rows, sha256s)
        SnapshotCheck.objects.bulk_create(
            SnapshotCheck(snapshot=snapshot, name=check.name, claim=check.claim, holds=check.holds, n=check.n,
                          found=check.found) for check in check_rows(project, None, rows_of(snapshot)))
        audit(project, by, "import_snapshot", {
            "snapshot": snapshot.number, "sha256": snapshot.sha256, "file": job.params["name"], "n_new": n_new,
            "was": {"project": manifest["project"], "number": manifest["number"]}})
        result |= {"snapshot": snapshot.pk, "sha256": snapshot.sha256, "n_rows": len(rows), "n_new_examples": n_new}
    delete_object(store, job.params["file"])  # its parts are stored; a second copy of the texts would only lie about


def _add_examples(project: Project, bundle: Bundle) -> int:
    """Insert the examples whose keys are new, as they were frozen; return how many."""
    def values(record: dict[str, Any]) -> tuple[Any, ...]:
        return (project.pk, record["key"], record["text"], orjson.dumps(record.get("data", {})).decode(),
                content_sha256(record["text"]), record["group"], SPLIT_OF[record["split"]])

    return insert_ignoring_conflicts(
        Example, ("project_id", "key", "text", "data", "content_sha256", "group", "split"),
        (values(orjson.loads(line)) for line in bundle.part("rows")))


def _rows(project: Project, bundle: Bundle) -> list[tuple[int, str, str, list[int], int | None]]:
    """The rows for the database. Their answers were given elsewhere, so no annotation or decision here is behind them.

    Raises UserError if a key stands for another text, or lies in another split, in this project.
    """
    found: list[tuple[int, str, str, list[int], int | None]] = []
    lines = bundle.part("rows")
    while chunk := [orjson.loads(line) for line in itertools.islice(lines, CHUNK)]:
        known = {key: (pk, text, split) for pk, key, text, split in Example.objects.filter(
            project=project, key__in=[record["key"] for record in chunk]).values_list("pk", "key", "text", "split")}
        for record in chunk:
            pk, text, split = known[record["key"]]
            if text != record["text"] or split != SPLIT_OF[record["split"]]:
                what = "another text" if text != record["text"] else f"the split {split}"
                raise UserError(f"The key “{record['key']}” stands for {what} in “{project}”. Nothing was imported: "
                                "import the snapshot into a project of its own.")
            found.append((pk, record["split"], record["label"], [], None))
    return found


class _Lines:
    """Lines as a stream that the object store can read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def read(self, size: int) -> bytes:
        """Return some lines, b"" at the end; size: about how many bytes."""
        lines, n = [], 0
        for line in self._lines:
            lines.append(line)
            n += len(line)
            if n >= size:
                break
        return b"".join(lines)
