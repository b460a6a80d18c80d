"""`verify`: hash again everything that is trusted, and say what does not hold."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC

from django.conf import settings

from curation.models import Approval, EmbeddingShard, Snapshot
from labeling.models import Desk, Upload
from projects.audit import first_broken
from projects.models import AuditEvent, Project
from projects.objects import object_is_sound, open_object
from training.models import Adapter, Evaluation


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
        yield f"Predictions of evaluation {evaluation.pk}", evaluation.predictions_sha256
    for adapter in Adapter.objects.all():
        yield f"Training curve of {adapter}", adapter.metrics_sha256
        for name, sha256 in adapter.files.items():
            yield f"{name} of {adapter}", sha256
    for snapshot in Snapshot.objects.all():
        yield f"Manifest of {snapshot}", snapshot.sha256
        yield f"Rows of {snapshot}", snapshot.rows_sha256
    for upload in Upload.objects.all():
        yield f"Uploaded file {upload.name}", upload.sha256


def _snapshot_problems(snapshot: Snapshot) -> Iterator[str]:
    """Whether the manifest names the rows' file and every row in the database is the line of that file."""
    try:
        with open_object(settings.GOLDPAN_OBJECTS, snapshot.sha256) as file:
            manifest = json.loads(file.read())
        with open_object(settings.GOLDPAN_OBJECTS, snapshot.rows_sha256) as file:
            lines = [line for line in file.read().split(b"\n") if line]
    except (FileNotFoundError, ValueError):
        return  # said already
    if manifest["rows"] != {"sha256": snapshot.rows_sha256, "n": len(lines)}:
        yield f"The manifest of {snapshot} names other rows than the database."
    if not object_is_sound(settings.GOLDPAN_OBJECTS, manifest["lineage"]["sha256"]):
        yield f"The lineage of {snapshot} is missing or has changed. Restore it from a backup."
    if "selection" in manifest and not object_is_sound(settings.GOLDPAN_OBJECTS, manifest["selection"]["sha256"]):
        yield f"The file that says why the rows of {snapshot} were chosen is missing or has changed. Restore it."
    rows = snapshot.rows.select_related("example").order_by("position")
    if len(rows) != len(lines):
        yield f"{snapshot} has {len(lines)} rows in its file and {len(rows)} in the database."
    for row, line in zip(rows, lines, strict=False):
        record = json.loads(line)
        row_sha256 = hashlib.sha256(line + b"\n").hexdigest()
        frozen = (record["key"], record["label"], record["split"], record["text"], row_sha256)
        if frozen != (row.example.key, row.label, row.split, row.example.text, row.row_sha256):
            yield f"Row {row.position} of {snapshot} is not the line of its file."
            return
