"""Bringing answers home: what Label Studio says beyond what the ledger has is appended to it.

Label Studio is an input device; the ledger is the truth. Pulling twice appends nothing. Costs grow with what changed:
a desk is asked for the tasks touched since its cursor, and their answers go into the ledger chunk by chunk.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from jobs.progress import Progress
from labeling.label_studio import AnnotationOut, TaskOut
from labeling.models import Annotation, Annotator, Assignment, Batch, BatchItem, Desk, Example
from labeling.services.overlap import widen_overlap
from labeling.task_types import task_type
from projects.models import Project

log = logging.getLogger(__name__)

MARGIN = timedelta(seconds=120)  # after which a row that carries a time stamp has been committed, too
CHUNK = 200  # tasks per transaction


@dataclass
class Pulled:
    """What a pull found. n_tasks were looked at; the others count answers."""

    n_tasks: int = 0
    n_new: int = 0
    n_changed: int = 0
    n_retracted: int = 0
    n_unreadable: int = 0

    def add(self, other: "Pulled") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def pull_desk(client: Any, desk: Desk, progress: Progress, *, everything: bool = False) -> Pulled:
    """Append what is new on a desk, and move its cursor after each chunk. Raises LabelStudioError."""
    started, there, pulled = timezone.now(), client.clock(), Pulled()
    for chunk in _chunks(client.pull_changes(desk.ls_project_id, None if everything else desk.cursor)):
        progress("Fetching answers", pulled.n_tasks, 0)
        with transaction.atomic():
            pulled.add(absorb(desk, chunk))
            _move_cursor(desk, max(task.updated_at for task in chunk))
    _move_cursor(desk, there)
    Desk.objects.filter(pk=desk.pk).update(pulled_at=started, state=Desk.State.ok)
    return pulled


def _move_cursor(desk: Desk, seen: datetime) -> None:
    """Read from MARGIN before `seen`, a time on the server's clock, from now on; the cursor never goes back."""
    if desk.cursor is None or desk.cursor < seen - MARGIN:
        desk.cursor = seen - MARGIN
        Desk.objects.filter(pk=desk.pk).update(cursor=desk.cursor)


def absorb(desk: Desk, tasks: list[TaskOut]) -> Pulled:
    """Append what these tasks' annotations say beyond what the ledger has, and end the assignments they answer.

    Where all answers are in now and differ, one more is asked for.
    """
    pulled = Pulled(n_tasks=len(tasks))
    examples = {example.key: example for example in Example.objects.filter(
        project=desk.project_id, key__in={task.key for task in tasks if task.key})}
    known = {task.key: (examples[task.key], task) for task in tasks if task.key in examples}  # of two, the later counts
    last_words: dict[tuple[int, int], Annotation] = {}
    for row in Annotation.objects.filter(example__in=[example.pk for example, _ in known.values()],
                                         source=Annotation.Source.label_studio).order_by("pk"):
        last_words[row.example_id, row.annotator_id] = row
    assignments = {row.example_id: row for row in Assignment.objects.filter(
        annotator=desk.annotator_id, example__in=[example.pk for example, _ in known.values()],
        ls_task_id__isnull=False).order_by("pk")}
    news: list[Annotation] = []
    said = [(example, _absorb_task(desk, example, task, last_words, news, pulled)) for example, task in known.values()]
    Annotation.objects.bulk_create(news)
    for example, answer in said:
        if (assignment := assignments.get(example.pk)) is not None:
            _end(assignment, answer)
    widen_overlap(desk.project, [example.pk for example, _ in said])
    return pulled


def _absorb_task(desk: Desk, example: Example, task: TaskOut, last_words: dict[tuple[int, int], Annotation],
                 news: list[Annotation], pulled: Pulled) -> Annotation | None:
    """Add a task's rows to `news`; return what the desk's owner says about the example now, if anything."""
    answered = set()
    for answer in sorted(task.annotations, key=lambda answer: answer.updated_at):
        annotator = _annotator_of(desk, answer)
        answered.add(annotator.pk)
        before = last_words.get((example.pk, annotator.pk))
        try:
            row = _ledger_row(desk, example, annotator, answer)
        except ValueError as error:  # made by hand in Label Studio: it must not stop everybody else's answers
            pulled.n_unreadable += 1
            log.warning("task %s: an answer of %s is left out: %s", task.ls_task_id, annotator, error)
            continue
        if before is None or _says(before) != _says(row):
            news.append(row)
            last_words[example.pk, annotator.pk] = row
            pulled.n_changed += before is not None
            pulled.n_new += before is None
    mine = last_words.get((example.pk, desk.annotator_id))
    if mine is not None and desk.annotator_id not in answered and not mine.retracted:
        mine = Annotation(
            example=example, annotator_id=desk.annotator_id, retracted=True, source=Annotation.Source.label_studio,
            created_at=timezone.now(), ls_annotation_id=mine.ls_annotation_id,
            instructions_version=desk.instructions_version)
        news.append(mine)
        pulled.n_retracted += 1
    return mine


def _end(assignment: Assignment, said: Annotation | None) -> None:
    """Let the assignment follow what its owner says now: answered, skipped, or open again."""
    state, has_answer = assignment.state, said is not None and not said.retracted
    if not has_answer:
        if state == Assignment.State.answered:  # taken back there: the task still stands on the desk
            Assignment.objects.filter(pk=assignment.pk, state=state).update(
                state=Assignment.State.placed, ended_at=None)
        return
    assert said is not None
    new = Assignment.State.skipped if said.skipped else Assignment.State.answered
    if state == new or state == Assignment.State.expired:
        return  # an answer after the end is in the ledger, but somebody else has the place
    changed = Assignment.objects.filter(pk=assignment.pk, state=state).update(state=new, ended_at=said.created_at)
    if not changed or assignment.item_id is None:
        return
    if new == Assignment.State.skipped:
        _pass_on(assignment.item_id)
    elif state == Assignment.State.skipped:  # thought better of it; the place may have gone to somebody else
        item = BatchItem.objects.filter(pk=assignment.item_id)
        if not item.filter(n_taken__lt=F("n_wanted")).update(n_taken=F("n_taken") + 1):
            item.update(n_taken=F("n_taken") + 1, n_wanted=F("n_wanted") + 1)


def _pass_on(item_id: int) -> None:
    """A skipped example goes to somebody else, or waits for a curator, as its batch says."""
    item = BatchItem.objects.select_related("batch").get(pk=item_id)
    BatchItem.objects.filter(pk=item_id).update(
        n_taken=F("n_taken") - 1, is_set_aside=item.batch.skips == Batch.Skips.set_aside)


def _says(annotation: Annotation) -> tuple[Any, bool, bool]:
    return annotation.value, annotation.skipped, annotation.retracted


def _ledger_row(desk: Desk, example: Example, annotator: Annotator, answer: AnnotationOut) -> Annotation:
    """The answer as a row of the ledger. Raises ValueError if it is none that the project can have."""
    return Annotation(example=example, annotator=annotator, skipped=answer.was_cancelled, seconds=answer.seconds,
                      value=None if answer.was_cancelled else read_value(desk.project, example, answer),
                      source=Annotation.Source.label_studio, created_at=answer.updated_at,
                      ls_annotation_id=answer.ls_annotation_id, instructions_version=desk.instructions_version)


def read_value(project: Project, example: Example, answer: AnnotationOut) -> Any:
    kind = task_type(project.task_type)
    value = kind.canonical(kind.parse(answer.result))
    kind.validate_value(value, project.schema, text=example.text)
    return value


def _annotator_of(desk: Desk, answer: AnnotationOut) -> Annotator:
    """The desk's owner; else the annotator with this account; an account Goldpan did not make is named by its id."""
    if answer.ls_user_id == desk.annotator.ls_user_id:
        return desk.annotator
    if answer.ls_user_id is None:  # the account was deleted there, and its answers lost their name
        known = Annotation.objects.filter(
            example__project=desk.project_id, ls_annotation_id=answer.ls_annotation_id).last()
        return known.annotator if known else _named(desk, "deleted account")
    found = Annotator.objects.filter(project=desk.project_id, ls_user_id=answer.ls_user_id).first()
    return found or _named(desk, f"label-studio-{answer.ls_user_id}", ls_user_id=answer.ls_user_id)


def _named(desk: Desk, name: str, **account: Any) -> Annotator:
    return Annotator.objects.get_or_create(project_id=desk.project_id, name=name, defaults=account)[0]


def _chunks(items: Iterable[TaskOut]) -> Iterator[list[TaskOut]]:
    chunk: list[TaskOut] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@dataclass(frozen=True)
class Compared:
    """Both sides of a desk, task by task: `n_missing_there` were deleted there, `n_strange` stand for nothing here."""

    n_here: int
    n_there: int
    n_missing_there: int
    n_strange: int

    @property
    def are_equal(self) -> bool:
        return not self.n_missing_there and not self.n_strange and self.n_here == self.n_there


def compare_desk(client: Any, desk: Desk) -> Compared:
    """Hold the desk's assignments against its tasks; whatever is missing there is freed, and given out again.

    Tasks of ours that no assignment stands for (a delivery that came twice, one that was given back) are removed there;
    what was answered on them is in the ledger already, if all of the desk has just been pulled.
    """
    there = {ls_task_id: key for ls_task_id, key, _ in client.scan_identities(desk.ls_project_id)}
    mine = Assignment.objects.filter(annotator=desk.annotator_id, ls_task_id__isnull=False).exclude(
        state=Assignment.State.expired)
    ours = {row.ls_task_id: row for row in mine.select_related("example")}
    missing = [row for ls_task_id, row in ours.items() if there.get(ls_task_id) != row.example.key]
    with transaction.atomic():
        for row in missing:
            _forget_task(row)
    strange = [ls_task_id for ls_task_id, key in there.items() if ls_task_id not in ours and key is not None]
    client.delete_tasks(desk.ls_project_id, strange)
    Desk.objects.filter(pk=desk.pk).update(reconciled_at=timezone.now())
    return Compared(len(ours), len(there), len(missing), len(strange))


def _forget_task(row: Assignment) -> None:
    """An unanswered task that is gone goes to whoever is next; an answered one has its answer in the ledger."""
    Assignment.objects.filter(pk=row.pk).update(ls_task_id=None)
    if row.state in Assignment.OPEN:
        freed = Assignment.objects.open().filter(pk=row.pk).update(
            state=Assignment.State.expired, ended_at=timezone.now())
        if freed and row.item_id is not None:
            BatchItem.objects.filter(pk=row.item_id).update(n_taken=F("n_taken") - 1)


def since_hint(desk: Desk) -> bool:
    """Whether something may have changed there since the last pull."""
    return desk.pulled_at is None or (desk.hinted_at is not None and desk.hinted_at >= desk.pulled_at)
