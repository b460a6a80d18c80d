"""Exports: a snapshot written in a format, at once or as a job, and taken away as one file.

`write_export` fills a folder. What a browser gets is the data file alone, or the whole folder as one .zip, whose
entries have no times, so that it is the same file every time. A large one is a job; what it made lies in the object
store.
"""

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.text import slugify

from curation.answers import Answers
from curation.bundle import PARTS
from curation.dataset_card import PARQUET_OF, Described, croissant, dataset_card
from curation.exports import (
    BY_ARROW,
    DATA_COLUMNS,
    EXPORT_VERSION,
    EXPORTS,
    SPLITS,
    Folder,
    LeftOut,
    check_format,
    write_evidence,
    write_rows,
)
from curation.models import Approval, Erasure, Snapshot, SnapshotRow
from curation.parquet import COLUMNS, write_parquet
from curation.services.frozen import (
    checked_bytes,
    file_trouble,
    read_manifest,
    rows_file_of,
    stream_chunks,
    stream_rows,
)
from curation.services.staleness import n_erased
from jobs.models import Job
from jobs.progress import Progress, silent
from jobs.services import completing, enqueue, work_folder
from labeling.services.bulk import CHUNK
from projects.errors import UserError
from projects.objects import object_exists, open_object, put_object
from projects.wording import counted

LARGE_ROWS = 20_000  # from so many rows on an export is a job
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a .zip can tell
_PIECE = 1 << 20


@dataclass(frozen=True)
class Source:
    """What an export is made of: a snapshot, its manifest, and its answers under the schema it was frozen with."""

    snapshot: Snapshot
    manifest: dict[str, Any]
    answers: Answers
    instructions: str

    @property
    def name(self) -> str:
        """A name for files: moods-snapshot-1."""
        return f"{slugify(self.snapshot.project.name) or 'project'}-snapshot-{self.snapshot.number}"

    @property
    def columns(self) -> list[str]:
        return [*COLUMNS, *DATA_COLUMNS.get(self.answers.task_type, ()), "row_sha256"]


def source_of(snapshot: Snapshot, format: str) -> Source:
    """Raises UserError for a format that there is not, or not for this type of task."""
    manifest, project = read_manifest(snapshot), snapshot.project
    answers = Answers(manifest.get("task_type", project.task_type), manifest.get("schema", project.schema))
    try:
        check_format(format, answers.task_type)
    except ValueError as error:
        raise UserError(str(error)) from None
    return Source(snapshot, manifest, answers, manifest.get("guideline", {}).get("text", project.instructions))


def write_export(snapshot: Snapshot, format: str, path: Path, *, progress: Progress = silent) -> Folder:
    """Write a snapshot in a format into a folder, under the schema and the guideline that it was frozen with.

    Memory does not grow with the number of rows. Raises UserError for a format that there is not or not for this type
    of task, if the stored rows are not the ones that were frozen, or if a snapshot file is wanted of rows of which some
    were erased: then the folder is not to be used.
    """
    source, folder = source_of(snapshot, format), Folder(path)
    progress("Writing rows", 0, 1)
    if format == "snapshot":
        _write_bundle(source, folder)
    elif format == "parquet":
        _write_columns(source, {None: path / EXPORTS[format].data}, folder)
    elif format == "huggingface":
        _write_hub_folder(source, folder)
    else:
        write_rows(stream_rows(snapshot), format, folder, answers=source.answers, instructions=source.instructions,
                   name=slugify(source.name).replace("-", "_"))
    progress("Writing what stands beside them", 0, 1)
    write_evidence(folder, facts=_facts(source, format), hashes=_hashes(snapshot), left_out=left_out_of(snapshot))
    return folder


def _facts(source: Source, format: str) -> dict[str, Any]:
    manifest, snapshot = source.manifest, source.snapshot
    versions = {"snapshot format": manifest["format"], "export": EXPORT_VERSION,
                "guideline": manifest.get("guideline", {}).get("version")}
    return {
        "format": format, "task_type": source.answers.task_type, "labels": manifest["labels"],
        "snapshot": {"project": manifest["project"], "number": manifest["number"], "sha256": snapshot.sha256,
                     "rows_sha256": snapshot.rows_sha256, "n": manifest["rows"]["n"], "n_erased": n_erased(snapshot)},
        "versions": versions | ({"pyarrow": version("pyarrow")} if format in BY_ARROW else {})}


def _hashes(snapshot: Snapshot) -> Iterator[tuple[str, str, str]]:
    rows = SnapshotRow.objects.filter(snapshot=snapshot).order_by("position")
    yield from rows.values_list("example__key", "split", "row_sha256").iterator(CHUNK)


def left_out_of(snapshot: Snapshot) -> Iterator[LeftOut]:
    """Every example that was not frozen, with its reason, then the rows that were erased since."""
    stored = read_manifest(snapshot).get("left_out")  # snapshots of format 1 have none
    if stored:
        for line in checked_bytes(snapshot, stored["sha256"]).splitlines():
            yield LeftOut(**json.loads(line))
    gone = Erasure.objects.filter(example__snapshot_rows__snapshot=snapshot).order_by("example__key")
    for key, split, at in gone.values_list("example__key", "example__snapshot_rows__split", "created_at").distinct():
        yield LeftOut(key, split, f"erased at somebody's wish on {at:%Y-%m-%d}, after it was frozen")


def _write_columns(source: Source, files: dict[str | None, Path], folder: Folder) -> None:
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    folder.n = write_parquet(stream_chunks(source.snapshot), files, task_type=source.answers.task_type, about={
        "goldpan.snapshot": source.snapshot.sha256, "goldpan.export": str(EXPORT_VERSION)})
    for path in files.values():
        folder.add(str(path.relative_to(folder.path)))


def _write_hub_folder(source: Source, folder: Folder) -> None:
    _write_columns(source, {split: folder.path / name for split, name in PARQUET_OF.items()}, folder)
    about = _described(source)
    folder.write("README.md", dataset_card(about).encode())
    metadata = croissant(about, sha256_of=folder.sha256s, frozen_at=f"{source.snapshot.created_at:%Y-%m-%d}")
    folder.write("croissant.json", (json.dumps(metadata, ensure_ascii=False, indent=2) + "\n").encode())
    if not about.n_erased and source.manifest["format"] >= 3:
        _write_bundle(source, folder)


def _described(source: Source) -> Described:
    snapshot, manifest = source.snapshot, source.manifest
    counts = snapshot.counts
    approval = Approval.objects.filter(snapshot=snapshot).first()
    live = SnapshotRow.objects.filter(snapshot=snapshot, example__erasure__isnull=True)
    erased = n_erased(snapshot)
    return Described(
        project=manifest["project"], number=manifest["number"], sha256=snapshot.sha256,
        task_type=source.answers.task_type, guideline=source.instructions,
        guideline_version=manifest.get("guideline", {}).get("version", 1),
        n_of_split={split: live.filter(split=split).count() if erased else counts[split] for split in SPLITS},
        label_counts=counts["labels"], left_out=counts["left_out"], n_erased=erased, columns=source.columns,
        approval=f"It was {approval.decision} by an admin who "
                 f"{'also made it' if approval.self_approved else 'did not make it'}." if approval
                 else "No admin has decided on it.")


def _write_bundle(source: Source, folder: Folder) -> None:
    """The snapshot as one file: see curation.bundle."""
    snapshot, manifest = source.snapshot, source.manifest
    if n := n_erased(snapshot):
        raise UserError(f"{counted(n, 'row')} of {str(snapshot).lower()} {'was' if n == 1 else 'were'} erased, so a "
                        "file of it could not prove itself. "
                        "Freeze its rows again, which leaves those out, and export the new snapshot.")
    if manifest["format"] < 3:
        raise UserError(f"{snapshot} was frozen before there were snapshot files. Freeze its rows again and export the "
                        "new snapshot.")
    hash_of = {part: manifest["rows"]["sha256s"]["sha256"] if part == "sha256s" else manifest[part]["sha256"]
               for part in PARTS}
    with folder.opened(EXPORTS["snapshot"].data) as write:
        for sha256 in (snapshot.sha256, *hash_of.values()):
            if trouble := file_trouble(sha256):
                raise UserError(f"A file of {snapshot}: {trouble}. Restore it from a backup.")
            with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
                while piece := file.read(_PIECE):
                    write(piece)
    folder.n = folder.n or manifest["rows"]["n"]


# Taking it away

@contextmanager
def exported(snapshot: Snapshot, format: str, *, whole: bool) -> Iterator[tuple[Path, str]]:
    """Yield an export as one file and the name to give it: the data alone, or with all that stands beside it a .zip.

    The file goes when the block ends; one that is open by then can still be read to its end.
    """
    settings.GOLDPAN_JOBS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.GOLDPAN_JOBS, prefix=".export-") as temporary:
        folder = write_export(snapshot, format, Path(temporary) / "folder")
        name, data = file_name(snapshot, format, whole=whole), EXPORTS[format].data
        if whole or not data:
            yield zipped(folder, Path(temporary) / "export.zip"), name
        else:
            yield folder.path / data, name


def file_name(snapshot: Snapshot, format: str, *, whole: bool) -> str:
    name, data = f"{source_of(snapshot, format).name}.{format}", EXPORTS[format].data
    return f"{name}.zip" if whole or not data else f"{name}{Path(data).suffix}"


def zipped(folder: Folder, path: Path) -> Path:
    """Pack a folder's files, by name, into a .zip that is the same for the same files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(folder.sha256s):
            entry = zipfile.ZipInfo(name, date_time=ZIP_TIME)
            # Parquet is compressed already
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with (folder.path / name).open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while piece := source.read(_PIECE):
                    target.write(piece)
    return path


def start_export(snapshot: Snapshot, format: str, *, by: User, wake: bool = True) -> Job:
    """Queue writing an export; of one that was written already that job is returned. Raises as `write_export`."""
    source_of(snapshot, format)
    key = f"export:{snapshot.pk}:{format}:{rows_file_of(snapshot)[:16]}"
    last = Job.objects.filter(dedupe_key=key, state=Job.State.succeeded).first()
    if last is not None and not object_exists(settings.GOLDPAN_OBJECTS, last.result.get("sha256", "0" * 64)):
        Job.objects.filter(pk=last.pk).update(dedupe_key=None)  # somebody has removed its file
    return enqueue("export", snapshot.project, title=f"Exporting {str(snapshot).lower()} as {EXPORTS[format].words}",
                   requested_by=by, params={"snapshot": snapshot.pk, "format": format}, dedupe_key=key, wake=wake)


def run_export(job: Job, progress: Progress) -> None:
    snapshot = Snapshot.objects.select_related("project").get(pk=job.params["snapshot"])
    format, work = job.params["format"], work_folder(job)
    folder = write_export(snapshot, format, work / "folder", progress=progress)
    progress("Packing", 0, 1)
    file = zipped(folder, work / "export.zip")
    sha256, size = put_object(settings.GOLDPAN_OBJECTS, file), file.stat().st_size
    with completing(job) as result:
        result |= {"sha256": sha256, "bytes": size, "n_rows": folder.n, "n_left_out_by_format": len(folder.left_out)}
    for path in sorted(work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def export_jobs(snapshot: Snapshot) -> list[Job]:
    """The newest exports of a snapshot that were made as jobs, one of each format."""
    newest: dict[str, Job] = {}
    for job in Job.objects.filter(project=snapshot.project_id, kind="export", params__snapshot=snapshot.pk)[:50]:
        newest.setdefault(job.params["format"], job)
    return list(newest.values())


def open_export(job: Job) -> tuple[Any, str]:
    """The file that an export job made, and its name. Raises UserError if there is none, or none any more."""
    if job.kind != "export" or job.state != Job.State.succeeded:
        raise UserError("This job has made no file to download yet.")
    snapshot = Snapshot.objects.select_related("project").get(pk=job.params["snapshot"])
    try:
        file = open_object(settings.GOLDPAN_OBJECTS, job.result["sha256"])
    except FileNotFoundError:
        raise UserError("This export was removed, since a row in it was erased. Export the snapshot again.") from None
    return file, file_name(snapshot, job.params["format"], whole=True)
