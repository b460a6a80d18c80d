"""Putting reserved examples on their desks, exactly once each, whatever happens in between."""

import random
import time
import uuid
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.module_loading import import_string

from jobs.progress import Progress
from labeling.label_studio import Ambiguous, TaskIn
from labeling.models import Annotator, Assignment, Delivery, Desk, Suggestion
from labeling.services.batches import rules_of
from labeling.services.desks import open_desk
from labeling.task_types import task_type
from projects.models import Project

MAX_TASKS = 500  # per request; Label Studio's SQLite takes one writer at a time
SETTLE_SECONDS = 3.0  # a request whose answer got lost may still be at work


def deliver(client: Any, project: Project, progress: Progress) -> int:
    """Bring every reserved assignment of the project to its desk; return how many tasks were put there.

    Raises LabelStudioError; what was under way is looked for there before it is sent again.
    """
    _pack(client, project)
    open_ones = Delivery.objects.filter(desk__project=project).exclude(state=Delivery.State.confirmed)
    n_of = {delivery: delivery.assignments.filter(state=Assignment.State.reserved).count()
            for delivery in open_ones.select_related("desk__project").order_by("pk")}
    total, done = sum(n_of.values()), 0
    for delivery, n in n_of.items():
        progress("Putting examples on desks", done, total)
        bring(client, delivery)
        done += n
    return total


def _pack(client: Any, project: Project) -> None:
    """Make deliveries of what is reserved and in none yet; desks are made where they are missing."""
    waiting = Assignment.objects.filter(
        annotator__project=project, state=Assignment.State.reserved, delivery=None).order_by("annotator", "pk")
    for annotator_id, found in groupby(waiting, key=lambda row: row.annotator_id):
        rows, annotator = list(found), Annotator.objects.select_related("project", "user").get(pk=annotator_id)
        desk = open_desk(client, annotator)
        # Shuffled, so that no delivery of several holds all the honeypots; `bring` shuffles within each.
        random.Random(rows[0].pk).shuffle(rows)
        for start in range(0, len(rows), MAX_TASKS):
            _new_delivery(desk, rows[start:start + MAX_TASKS])


@transaction.atomic
def _new_delivery(desk: Desk, rows: list[Assignment]) -> None:
    delivery = Delivery.objects.create(desk=desk, uuid=uuid.uuid4())
    ids = [row.pk for row in rows]
    Assignment.objects.filter(pk__in=ids, state=Assignment.State.reserved).update(delivery=delivery)


def bring(client: Any, delivery: Delivery) -> None:
    """Bring a delivery to `confirmed`, whatever happened to it before.

    One that may have been sent is looked for on the server first, so no example gets two tasks.
    """
    desk = delivery.desk
    rows = list(delivery.assignments.filter(state=Assignment.State.reserved).select_related("example"))
    random.Random(delivery.pk).shuffle(rows)  # the database gives them as they were reserved, honeypots last
    waiting = {row.example.key: row for row in rows}
    if delivery.state != Delivery.State.pending and waiting:
        _adopt(delivery, _arrived(client, delivery))
        waiting = {key: row for key, row in waiting.items()
                   if Assignment.objects.filter(pk=row.pk, state=Assignment.State.reserved).exists()}
    if waiting:
        Delivery.objects.filter(pk=delivery.pk).update(state=Delivery.State.sent)  # before the request: it may arrive
        tasks = _tasks(desk, delivery, list(waiting.values()))
        try:
            ids = client.import_tasks(desk.ls_project_id, tasks)
        except Ambiguous:
            Delivery.objects.filter(pk=delivery.pk).update(state=Delivery.State.unknown)
            raise
        _adopt(delivery, dict(zip(waiting, ids, strict=True)))
    Delivery.objects.filter(pk=delivery.pk).update(state=Delivery.State.confirmed)


def _tasks(desk: Desk, delivery: Delivery, rows: list[Assignment]) -> list[TaskIn]:
    kind, suggestions = task_type(desk.project.task_type), _suggestions(desk.project, rows)
    return [TaskIn(key=row.example.key, data=kind.task_data(row.example.text, row.example.data),
                   batch=str(delivery.uuid),
                   prediction=kind.to_result(suggestions[row.pk].value) if row.pk in suggestions else None)
            for row in rows]


def _suggestions(project: Project, rows: list[Assignment]) -> dict[int, Suggestion]:
    """Assignment → the suggestion to prefill; a share is kept back. Held-out or known examples never get one, nor does
    what has to be labelled blind: see GOLDPAN_BLIND.
    """
    rules = rules_of(project)
    if not rules.shows_suggestions:
        return {}
    blind = {pk for name in settings.GOLDPAN_BLIND for pk in import_string(name)([row.example_id for row in rows])}
    shown: dict[int, Suggestion] = {}
    for row in rows:
        if row.purpose != Assignment.Purpose.label or row.example.split != "pool" or row.example_id in blind:
            continue
        newest = Suggestion.objects.filter(example=row.example_id).order_by("-pk").first()
        if newest is None:
            continue
        shows = random.Random(f"{project.split_salt}:hidden:{row.pk}").random() >= rules.hidden_share
        Assignment.objects.filter(pk=row.pk).update(suggestion=newest, shows_suggestion=shows)
        if shows:
            shown[row.pk] = newest
    return shown


def _arrived(client: Any, delivery: Delivery) -> dict[str, int]:
    """The tasks of a delivery that may have been sent: key → task id. Looked for twice, since commits may be late."""
    found: dict[str, int] = {}
    for pause in (0.0, SETTLE_SECONDS):
        time.sleep(pause)
        recent = client.scan_identities(delivery.desk.ls_project_id, delivery.created_at - timedelta(minutes=5))
        found |= {key: ls_task_id for ls_task_id, key, of in recent if key and of == str(delivery.uuid)}
    return found


@transaction.atomic
def _adopt(delivery: Delivery, task_of_key: dict[str, int]) -> None:
    rows = delivery.assignments.filter(state=Assignment.State.reserved, example__key__in=list(task_of_key))
    for pk, key in rows.annotate(key=F("example__key")).values_list("pk", "key"):
        Assignment.objects.filter(pk=pk, state=Assignment.State.reserved).update(
            state=Assignment.State.placed, ls_task_id=task_of_key[key])
