"""Erasing examples because a person asks: the words go, everywhere they are kept; hashes and lineage stay.

1. `erase` writes an Erasure per example and blanks, in the same transaction, every row that has words of it: from then
   on no page, export or training sees them. Triggers let exactly this through: see the migration of `Erasure`.
2. Its job takes the words out of files: snapshots get a tombstone in place of the line, evaluations in place of the
   answer, embeddings a row of zeros; then the tasks in Label Studio go.
Every step can be taken twice, so a job that was cut off begins again. What cannot be reached is in docs/security.md.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.module_loading import import_string

from curation.answers import WRITTEN
from curation.canonical import canonical_line
from curation.compared import compared_text
from curation.models import (
    ERASED,
    BulkDecision,
    Decision,
    DuplicateAction,
    DuplicateCluster,
    Embedding,
    EmbeddingShard,
    Erasure,
    ExampleScore,
    GoldPick,
    Map,
    Message,
    PairToJudge,
    QualityReport,
    RedactedRows,
    SavedView,
    Snapshot,
    SnapshotRow,
)
from curation.services.frozen import read_manifest, rows_file_of
from curation.services.queue import read_filter
from curation.services.selections import read_ids
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.label_studio import LabelStudioError, NotFound
from labeling.models import Annotation, Assignment, BatchItem, Desk, Example, KnownAnswer, Suggestion, Upload
from labeling.reading import FileRefused, Mapping, Row, read_rows
from labeling.services.imports import key_of
from labeling.services.server import label_studio
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import Project
from projects.objects import delete_object, object_exists, object_path, open_object, put_object
from projects.services import audit
from projects.wording import counted

MIN_REASON = 5
REMOVED_UPLOAD, REMOVED_SELECTION = "remove_upload", "remove_selection"
# What stands in place of an answer that has words of its text; the answers of other types are names of labels
BLANK: dict[str, Any] = dict(zip(WRITTEN, (ERASED, ERASED, {}, []), strict=True))
NOT_REACHED = (
    "Backups, and files that somebody has downloaded already: delete them where they lie.",
    "Models that were trained on it: what an adapter has learned stays in it. Their pages name the snapshot.",
    "Copies of it in other projects.",
    "Words that somebody looked for, where they find other texts of the project, too: those still say them.",
    "What somebody wrote of it elsewhere: in the guideline, a comment on a snapshot, or the reason for an override.",
    "Its key, its group and the hash of its text, by which it is known. A short text can be guessed from its hash.")


def same_group(example: Example) -> list[Example]:
    """The other examples of the same customer, thread or document that are not erased."""
    if example.group == example.content_sha256:
        return []  # its group is its own text
    others = Example.objects.filter(project=example.project_id, group=example.group, erasure__isnull=True)
    return list(others.exclude(pk=example.pk).order_by("pk"))


@transaction.atomic
def erase(examples: Sequence[Example], *, reason: str, by: User, wake: bool = True) -> Job:
    """Blank these examples of one project at once, and queue the job that cleans files and Label Studio.

    reason: for the record, without what is to be forgotten.
    Raises UserError if there is no reason, or one of them is erased already.
    """
    reason, project, ids = reason.strip(), examples[0].project, [example.pk for example in examples]
    if len(reason) < MIN_REASON:
        raise UserError("Write down why it is erased, in a few words: an erasure cannot be undone.")
    list(Example.objects.select_for_update().filter(pk__in=ids))
    if gone := Erasure.objects.filter(example__in=ids).select_related("example").first():
        raise UserError(f"Example {gone.example.key} was erased on {gone.created_at:%Y-%m-%d} already.")
    busy = Job.objects.filter(project=project, state__in=Job.HELD).exclude(kind="erase").first()
    if busy is not None:  # it may have read the text, and would write it down again
        raise UserError(f"“{busy.title}” is reading texts now. Erase when it has ended, or cancel it first.")
    searches = _searches(project, examples)
    job = enqueue("erase", project, title=f"Erasing {counted(len(ids), 'example')}", requested_by=by,
                  params={"examples": ids, "contents": [_compared_sha256(example) for example in examples],
                          "replaced": _blank_group_names(project, examples)},
                  exclusive=f"erase:{project.pk}", wake=wake)
    Erasure.objects.bulk_create(Erasure(project=project, example=example, reason=reason, job=job, erased_by=by)
                                for example in examples)
    _blank(project, ids)
    reached = {"n_searches": _forget_searches(project, searches)}
    for on_erase in settings.GOLDPAN_ON_ERASE:
        reached |= import_string(on_erase)(examples)
    Job.objects.filter(pk=job.pk).update(params=job.params | {"reached": reached})
    Decision.objects.bulk_create(Decision(example_id=pk, verdict=Decision.Verdict.exclude, decided_by=by) for pk in ids)
    audit(project, by, "erase", {"examples": [example.key for example in examples], "reason": reason, "job": job.pk})
    return job


def _compared_sha256(example: Example) -> str:
    return content_sha256(compared_text(example.project.task_type, example.text, example.data))


def _blank(project: Project, ids: Sequence[int]) -> None:
    """Take the words out of every row that has some, and the examples out of all queues; twice is as good as once."""
    of_them = Q(example__in=ids)
    Example.objects.filter(pk__in=ids).update(text="", data={})
    if project.task_type in BLANK:
        blank = BLANK[project.task_type]
        Annotation.objects.filter(of_them, value__isnull=False).update(value=blank)
        Suggestion.objects.filter(of_them).update(value=blank)
        KnownAnswer.objects.filter(of_them).update(value=blank)
        Assignment.objects.filter(of_them, expected__isnull=False).update(expected=blank)
        SnapshotRow.objects.filter(of_them).update(label=ERASED)
        Decision.objects.filter(of_them).exclude(value="").update(value=ERASED)
    Decision.objects.filter(of_them).exclude(reason="").update(reason="")
    Message.objects.filter(of_them).exclude(text="").update(text="")
    PairToJudge.objects.filter(Q(example_a__in=ids) | Q(example_b__in=ids)).delete()
    # What is left of a group is listed anew by the next scoring; one that somebody settled is lineage, without words.
    DuplicateCluster.objects.filter(members__example__in=ids).exclude(
        pk__in=DuplicateAction.objects.filter(project=project).values("cluster")).delete()
    ExampleScore.objects.filter(of_them).delete()  # they quote it, and every queue and gold set goes by them
    KnownAnswer.objects.filter(of_them, retired_at=None).update(retired_at=timezone.now())
    Assignment.objects.open().filter(of_them).update(state=Assignment.State.expired, ended_at=timezone.now())
    BatchItem.objects.filter(of_them).update(is_set_aside=False, n_wanted=F("n_taken"))


def _searches(project: Project, examples: Sequence[Example]) -> set[str]:
    """The words that somebody has looked for, of those that are in these texts."""
    bulks = BulkDecision.objects.filter(project=project).values_list("query", flat=True)
    views = SavedView.objects.filter(project=project).values_list("query", flat=True)
    words = {_words_of(query) for query in {*bulks, *views}} | {
        job.params["filter"]["q"] for job in Job.objects.filter(project=project, kind="decide_all")
        if "filter" in job.params}
    mine = Example.objects.filter(pk__in=[example.pk for example in examples])
    return {q for q in words if q and mine.filter(text__icontains=q).exists()}


def _words_of(query: str) -> str:
    return read_filter(dict(parse_qsl(query))).q


def _forget_searches(project: Project, words: Iterable[str]) -> int:
    """Forget those of these words that find no text any more, with what was called after them or done by them.

    A view that looks for them is deleted; a bulk decision keeps all but its filter and its reason. Returns how many
    searches were forgotten.
    """
    gone = {q for q in words if not Example.objects.filter(project=project, text__icontains=q).exists()}
    for view in SavedView.objects.filter(project=project):
        if _words_of(view.query) in gone:
            view.delete()
    for bulk in BulkDecision.objects.filter(project=project):
        if _words_of(bulk.query) in gone:
            BulkDecision.objects.filter(pk=bulk.pk).update(query=ERASED, reason="")
    for job in Job.objects.filter(project=project, kind="decide_all"):
        if job.params.get("filter", {}).get("q") in gone:
            Job.objects.filter(pk=job.pk).update(params=job.params | {
                "filter": job.params["filter"] | {"q": ERASED}, "reason": ""})
    return len(gone)


def _blank_group_names(project: Project, examples: Iterable[Example]) -> list[str]:
    """A group of like texts is named by the beginning of its most central one: it loses its name with that one.

    Returns the hashes of the files that are replaced, for the job to remove.
    """
    replaced: list[str] = []
    quoted = {" ".join(example.text.split())[:80] for example in examples}
    for report in QualityReport.objects.filter(project=project).select_related("job"):
        if not (sha256 := report.job.result.get("groups")) or not object_exists(settings.GOLDPAN_OBJECTS, sha256):
            continue
        with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
            stored = json.load(file)
        names = [f"{name[:2]}: {ERASED}" if any(f"“{text}”" in name for text in quoted) else name
                 for name in stored["names"]]
        if names != stored["names"]:
            renamed = put_object(settings.GOLDPAN_OBJECTS, json.dumps({**stored, "names": names}).encode())
            Job.objects.filter(pk=report.job_id).update(result={**report.job.result, "groups": renamed})
            replaced.append(sha256)
    return replaced


# The job

def run_erase(job: Job, progress: Progress) -> None:
    project = job.project
    examples = list(Example.objects.filter(pk__in=job.params["examples"]).select_related("project"))
    progress("Snapshots", 0, 1)
    done: dict[str, Any] = job.params["reached"] | {"n_snapshots": _redact_snapshots(job, examples)}
    for sha256 in job.params["replaced"]:
        delete_object(settings.GOLDPAN_OBJECTS, sha256)
    done["n_selections"] = _remove_selections(project, job)
    done["n_maps"] = _remove_map_tables(project, job.params["examples"])
    progress("Embeddings", 0, 1)
    done["n_embeddings"] = _zero_embeddings(project, job.params["contents"])
    done["n_uploads"], done["n_uploads_kept_for_other_projects"] = _remove_uploads(
        project, examples, job.requested_by, progress)
    progress("Exports and folders of jobs", 0, 1)
    done["n_exports"] = _remove_exports(examples)
    _remove_job_folders(project, job)
    for on_erase in settings.GOLDPAN_ON_ERASE_FILES:
        done |= import_string(on_erase)(job, examples)
    progress("Label Studio", 0, 1)
    done["n_tasks"] = _delete_tasks(examples)
    with completing(job) as result:
        _blank(project, job.params["examples"])  # an answer may have come while its task still lay on a desk
        result |= done
        audit(project, job.requested_by, "erased", {"job": job.pk, **done})


def _redact_snapshots(job: Job, examples: Sequence[Example]) -> int:
    """Put a tombstone in place of each erased line, in every snapshot that holds one; return how many there were."""
    snapshots = Snapshot.objects.filter(rows__example__in=examples).distinct()
    replaced = {redacted for snapshot in snapshots if (redacted := _redact(job, snapshot))}
    for sha256 in replaced:
        others = Snapshot.objects.filter(rows_sha256=sha256, redactions__isnull=True)
        if not others.exists():  # one in another project, where nobody has asked for it, still needs the file
            delete_object(settings.GOLDPAN_OBJECTS, sha256)
    return len(snapshots)


def _redact(job: Job, snapshot: Snapshot) -> str:
    """Write the rows file anew; return the hash of the file that it replaces, "" if nothing is to be done."""
    before = rows_file_of(snapshot)
    erased = {position: (key, split, sha256) for position, key, split, sha256 in SnapshotRow.objects.filter(
        snapshot=snapshot, example__erasure__isnull=False).values_list(
        "position", "example__key", "split", "row_sha256")}
    last = RedactedRows.objects.filter(snapshot=snapshot).last()
    if last is not None and last.n_erased == len(erased):  # an earlier attempt of this job was so far
        return last.replaces_sha256
    with open_object(settings.GOLDPAN_OBJECTS, before) as file, tempfile.TemporaryFile() as out:
        for position, line in enumerate(file):
            if position in erased:
                key, split, sha256 = erased[position]
                line = canonical_line({"erased": True, "key": key, "split": split, "row_sha256": sha256})
            out.write(line)
        out.seek(0)
        after = put_object(settings.GOLDPAN_OBJECTS, out)
    RedactedRows.objects.create(snapshot=snapshot, sha256=after, replaces_sha256=before, n_erased=len(erased), job=job)
    return before


def _remove_selections(project: Project, job: Job) -> int:
    """Forget the gold picks that pages show, and remove every stored selection with an answer of the examples in it."""
    GoldPick.objects.filter(project=project).delete()  # made of labels that have changed by this
    if project.task_type not in BLANK:
        return 0  # they name labels and examples, and hold no words
    ids, n = set(job.params["examples"]), 0
    picked = Job.objects.filter(project=project, kind="pick", state=Job.State.succeeded)
    stored = {one.result["picks"] for one in picked}
    for snapshot in Snapshot.objects.filter(project=project):
        if (selection := read_manifest(snapshot).get("selection")) is not None:
            stored.add(selection["sha256"])
    for sha256 in stored:
        if not object_exists(settings.GOLDPAN_OBJECTS, sha256):
            continue
        with open_object(settings.GOLDPAN_OBJECTS, sha256) as file:
            picks = json.load(file)
        if any(row["example"] in ids for arm in (picks["gold"], *picks["arms"]) for row in arm):
            audit(project, job.requested_by, REMOVED_SELECTION, {"sha256": sha256})  # before it goes, as with uploads
            delete_object(settings.GOLDPAN_OBJECTS, sha256)
            n += 1
    return n


def _remove_map_tables(project: Project, ids: Sequence[int]) -> int:
    """Remove the tables of maps that hold the examples' texts; their points hold names of labels only."""
    n = 0
    for drawn in Map.objects.filter(project=project):
        if object_exists(settings.GOLDPAN_OBJECTS, drawn.table_sha256) and np.isin(
                read_ids(drawn.ids_sha256), ids).any():
            delete_object(settings.GOLDPAN_OBJECTS, drawn.table_sha256)
            n += 1
    return n


def _zero_embeddings(project: Project, contents: Sequence[str]) -> int:
    """Overwrite the vectors of these texts, unless an example that is not erased has the same text; return how many."""
    live = set(Example.objects.filter(content_sha256__in=contents, erasure__isnull=True)
               .values_list("content_sha256", flat=True))
    rows = Embedding.objects.filter(content_sha256__in=set(contents) - live)
    by_shard: dict[int, list[int]] = {}
    for shard_id, row in rows.values_list("shard_id", "row"):
        by_shard.setdefault(shard_id, []).append(row)
    for shard in EmbeddingShard.objects.filter(pk__in=by_shard):
        before = shard.sha256
        vectors = np.load(object_path(settings.GOLDPAN_OBJECTS, before), allow_pickle=False)
        vectors[by_shard[shard.pk]] = 0
        out = io.BytesIO()
        np.save(out, vectors, allow_pickle=False)
        out.seek(0)
        with transaction.atomic():
            EmbeddingShard.objects.filter(pk=shard.pk).update(sha256=put_object(settings.GOLDPAN_OBJECTS, out))
            Embedding.objects.filter(shard=shard, row__in=by_shard[shard.pk]).delete()
        if not EmbeddingShard.objects.filter(sha256=before).exists():
            delete_object(settings.GOLDPAN_OBJECTS, before)
    return sum(map(len, by_shard.values()))


def _remove_uploads(project: Project, examples: Sequence[Example], by: User | None,
                    progress: Progress) -> tuple[int, int]:
    """Remove every uploaded file that holds one of the examples; return how many, and how many others need.

    What was imported from a file is in the project, and the upload keeps its hash.
    """
    keys, contents = {example.key for example in examples}, {example.content_sha256 for example in examples}
    uploads = Upload.objects.filter(project=project)
    n_removed = n_kept = 0
    for number, upload in enumerate(uploads, 1):
        progress("Uploaded files", number, len(uploads))
        if not object_exists(settings.GOLDPAN_OBJECTS, upload.sha256) or not _holds(upload, keys, contents):
            continue
        if Upload.objects.filter(sha256=upload.sha256).exclude(project=project).exists():
            n_kept += 1
            continue
        # Written down before it goes: verification has to tell a removed file from a lost one.
        audit(project, by, REMOVED_UPLOAD, {"upload": upload.pk, "sha256": upload.sha256})
        for sha256 in filter(None, (upload.sha256, upload.bad_sha256)):
            delete_object(settings.GOLDPAN_OBJECTS, sha256)
        Upload.objects.filter(pk=upload.pk).update(bad_rows=[], bad_sha256="")
        n_removed += 1
    return n_removed, n_kept


def _holds(upload: Upload, keys: set[str], contents: set[str]) -> bool:
    """Whether a file has a row of these examples; a file that cannot be read any more counts as one."""
    project = upload.project
    try:
        rows = read_rows(object_path(settings.GOLDPAN_OBJECTS, upload.sha256), format=upload.format,
                         mapping=Mapping(**upload.mapping), kind=upload.kind, schema=project.schema,
                         task_type=project.task_type)
        return any(isinstance(row, Row) and (key_of(row, project.task_type) in keys
                                             or (row.text is not None and content_sha256(row.text) in contents))
                   for row in rows)
    except (FileRefused, ValueError):
        return True


def _remove_exports(examples: Sequence[Example]) -> int:
    holding = set(Snapshot.objects.filter(rows__example__in=examples).values_list("pk", flat=True))
    n = 0
    for job in Job.objects.filter(project=examples[0].project_id, kind="export", state=Job.State.succeeded):
        if job.params["snapshot"] in holding and object_exists(settings.GOLDPAN_OBJECTS, job.result["sha256"]):
            delete_object(settings.GOLDPAN_OBJECTS, job.result["sha256"])
            n += 1
    return n


def _remove_job_folders(project: Project, own: Job) -> None:
    """The folders of ended jobs may hold texts; a training that failed begins anew instead of going on."""
    for pk in Job.objects.filter(project=project).exclude(state__in=Job.ACTIVE).exclude(pk=own.pk).values_list(
            "pk", flat=True):
        shutil.rmtree(settings.GOLDPAN_JOBS / str(pk), ignore_errors=True)


def _delete_tasks(examples: Sequence[Example]) -> int:
    """Delete the examples' tasks from every desk, with the answers there. Raises UserError if the server does not."""
    lying = Assignment.objects.filter(example__in=examples, ls_task_id__isnull=False).select_related("annotator")
    tasks_of: dict[int, list[int]] = {}
    for assignment in lying:
        tasks_of.setdefault(assignment.annotator_id, []).append(int(assignment.ls_task_id or 0))
    desks = Desk.objects.filter(annotator__in=tasks_of).exclude(state=Desk.State.gone)
    try:
        client = label_studio() if desks else None
        for desk in desks:
            assert client is not None
            try:
                client.delete_tasks(desk.ls_project_id, tasks_of[desk.annotator_id])
            except NotFound:
                continue  # the whole desk is gone, and the tasks with it
    except LabelStudioError as error:
        raise UserError(f"{error} Everything else is erased; run this job again once Label Studio answers.") from error
    lying.update(ls_task_id=None)
    return sum(map(len, tasks_of.values()))
