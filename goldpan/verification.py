"""`verify`: hash again everything that is trusted, and say what does not hold."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC
from itertools import chain
from typing import Any

from django.conf import settings

from curation.models import Approval, EmbeddingShard, Snapshot, SnapshotRow
from curation.services.erasing import REMOVED_SELECTION, REMOVED_UPLOAD
from curation.services.frozen import read_manifest, rows_file_of, stream_chunks
from curation.services.staleness import n_erased
from labeling.models import Desk, Upload
from projects.audit import first_broken
from projects.errors import UserError
from projects.models import AuditEvent, Project
from projects.objects import object_is_sound
from training.models import Adapter, Evaluation, MergedExport
from training.services.scoring import predictions_file_of


def problems() -> Iterator[str]:
    """Every claim that does not hold, in words: files, snapshots and their rows, approvals, the audit chains."""
    for what, sha256 in _stored_files():
        if not object_is_sound(settings.GOLDPAN_OBJECTS, sha256):
            yield f"{what}: its file {sha256} is missing or has changed. Restore it from a backup."
    for snapshot in Snapshot.objects.all():
        yield from _snapshot_problems(snapshot)
    for approval in Approval.objects.select_related("snapshot"):
        if approval.sha256 != approval.snapshot.sha256:
            yield f"The approval of {approval.snapshot} is for other bytes: {approval.sha256}."
    for project in Project.objects.all():
        broken = first_broken({"sequence": event.sequence, "who": event.who, "what": event.what,
                               "detail": event.detail, "at": event.at.astimezone(UTC).isoformat(),
                               "previous_sha256": event.previous_sha256, "sha256": event.sha256}
                              for event in AuditEvent.objects.filter(project=project).order_by("sequence").iterator())
        if broken is not None:
            yield f"The audit chain of “{project}” breaks at event {broken}: it was changed, removed or reordered."
    for desk in Desk.objects.exclude(state=Desk.State.ok).select_related("project", "annotator"):
        yield f"Label Studio, {desk} in “{desk.project}”: {desk.get_state_display()}. {desk.message}"


def _stored_files() -> Iterator[tuple[str, str]]:
    for shard in EmbeddingShard.objects.all():
        yield f"Embeddings {shard.pk}", shard.sha256
    for evaluation in Evaluation.objects.all():
        yield f"Predictions of evaluation {evaluation.pk}", predictions_file_of(evaluation)
    for adapter in Adapter.objects.all():
        yield f"Training curve of {adapter}", adapter.metrics_sha256
        for name, sha256 in adapter.files.items():
            yield f"{name} of {adapter}", sha256
    for export in MergedExport.objects.select_related("adapter"):
        yield f"Tar of {export}", export.sha256
    for snapshot in Snapshot.objects.all():
        yield f"Manifest of {snapshot}", snapshot.sha256
        yield f"Rows of {snapshot}", rows_file_of(snapshot)
    removed = set(AuditEvent.objects.filter(what=REMOVED_UPLOAD).values_list("detail__sha256", flat=True))
    for upload in Upload.objects.all():
        if upload.sha256 not in removed:  # by an erasure: the audit chain says so
            yield f"Uploaded file {upload.name}", upload.sha256


def _snapshot_problems(snapshot: Snapshot) -> Iterator[str]:
    """Whether the manifest names the rows' file and every row in the database is the line of that file.

    Where rows were erased, the file has a tombstone in place of a line: then an Erasure must stand behind it, the text
    must be gone, and the hash must be the one that was frozen.
    """
    try:
        manifest = read_manifest(snapshot)
        chunks = list(stream_chunks(snapshot))
    except (UserError, ValueError):
        return  # said already
    frozen = list(chain.from_iterable(chunk.sha256s for chunk in chunks))
    lines = [line for chunk in chunks for line in chunk.lines.split(b"\n") if line]
    if manifest["rows"]["sha256"] != snapshot.rows_sha256 or manifest["rows"]["n"] != len(lines):
        yield f"The manifest of {snapshot} names other rows than the database."
    for part in ("lineage", "left_out", "selection"):
        removed = part == "selection" and AuditEvent.objects.filter(  # by an erasure, as with uploads
            what=REMOVED_SELECTION, detail__sha256=manifest.get(part, {}).get("sha256")).exists()
        if part in manifest and not removed and not object_is_sound(settings.GOLDPAN_OBJECTS, manifest[part]["sha256"]):
            yield f"The {part.replace('_', ' ')} of {snapshot} is missing or has changed. Restore it from a backup."
    rows = snapshot.rows.select_related("example__erasure").order_by("position")
    if len(rows) != len(lines):
        yield f"{snapshot} has {len(lines)} rows in its file and {len(rows)} in the database."
    for row, line, sha256 in zip(rows, lines, frozen, strict=False):
        if not _is_line(row, json.loads(line), line, sha256):
            yield f"Row {row.position} of {snapshot} is not the line of its file."
            return


def _is_line(row: SnapshotRow, record: dict[str, Any], line: bytes, frozen_sha256: str) -> bool:
    example, is_erased = row.example, hasattr(row.example, "erasure")
    if frozen_sha256 != row.row_sha256 or record["key"] != example.key or record["split"] != row.split:
        return False
    if is_erased or "erased" in record:
        return is_erased and record.get("row_sha256") == row.row_sha256 and not example.text
    return (record["label"], record["text"]) == (row.label, example.text) and \
        hashlib.sha256(line + b"\n").hexdigest() == row.row_sha256


def erasures() -> Iterator[str]:
    """What is not there any more because somebody asked for it, in words: no problem, but worth reading."""
    for snapshot in Snapshot.objects.select_related("project"):
        if n := n_erased(snapshot):
            were = "s were" if n > 1 else " was"
            yield (f"{n:,} row{were} erased from {snapshot} of “{snapshot.project}” since it was frozen; the hashes "
                   "are kept, and the other rows are the frozen ones.")
