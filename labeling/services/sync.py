"""Both directions of Label Studio, idempotent: pushing twice adds nothing, pulling twice appends nothing.

Label Studio is an input device; the ledger here is the truth. An example is known there by its key, an
annotator by an account of their own. Webhooks only say that a pull is worth while.
"""

import hashlib
import logging
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue
from labeling.label_studio import Ambiguous, AnnotationOut, AuthFailed, LabelStudioError, NotFound, TaskIn, TaskOut
from labeling.models import Annotation, Annotator, Example, LabelStudioLink, LabelStudioToken, PushBatch
from labeling.task_types import classification
from projects.errors import UserError
from projects.models import Project
from projects.services import audit

log = logging.getLogger(__name__)

BATCH = 500  # tasks per request; Label Studio's SQLite takes one writer at a time
MARGIN = timedelta(seconds=120)  # rows can be committed later than their time stamp says
OVERLAP = 3  # answers after which the labelling stream shows a task to nobody more; held-out labels need three
HINT_SECONDS = 5.0  # hints within so long ask for one pull
SETTLE_SECONDS = 3.0  # a request whose answer got lost may still be at work
NOT_SYNCED = "Label Studio is not connected to this project yet. Push examples first."


def label_studio() -> Any:
    """A client for the configured server, its token made and stored on the first use."""
    stored = LabelStudioToken.objects.filter(url=settings.GOLDPAN_LABEL_STUDIO_URL).first()
    if stored is None:
        bootstrap = import_string(settings.GOLDPAN_LABEL_STUDIO_BOOTSTRAP)
        token = bootstrap(settings.GOLDPAN_LABEL_STUDIO_URL, settings.GOLDPAN_LABEL_STUDIO_EMAIL,
                          settings.GOLDPAN_LABEL_STUDIO_PASSWORD)
        stored, _ = LabelStudioToken.objects.update_or_create(
            url=settings.GOLDPAN_LABEL_STUDIO_URL, defaults={"token_encrypted": encrypt(token)})
    return import_string(settings.GOLDPAN_LABEL_STUDIO_CLIENT)(stored.url, decrypt(stored.token_encrypted))


def encrypt(text: str) -> str:
    return Fernet(settings.GOLDPAN_FERNET_KEY).encrypt(text.encode()).decode()


def decrypt(text: str) -> str:
    try:
        return Fernet(settings.GOLDPAN_FERNET_KEY).decrypt(text.encode()).decode()
    except InvalidToken:
        raise UserError("A stored Label Studio password or token cannot be read: GOLDPAN_FERNET_KEY is not the key it "
                        "was written with. Put the old key back into secrets.env.") from None


def link_project(project: Project) -> LabelStudioLink:
    """Return the project's link, making its counterpart in Label Studio first if there is none.

    Raises UserError in words if Label Studio cannot be reached or refuses.
    """
    link = LabelStudioLink.objects.filter(project=project).first()
    if link is not None and link.state != LabelStudioLink.State.gone:
        return link
    config = classification.label_config(project.schema, project.instructions)
    secret = secrets.token_urlsafe(32)
    try:
        client = label_studio()
        client.version()  # refuses one that is too old to be safe
        # A creation whose answer got lost is found by its title instead of being made twice.
        ls_project_id = client.find_project(project.name) or client.create_project(project.name, config, OVERLAP)
        with transaction.atomic():
            link, _ = LabelStudioLink.objects.update_or_create(project=project, defaults={
                "url": settings.GOLDPAN_LABEL_STUDIO_URL, "ls_project_id": ls_project_id, "webhook_secret": secret,
                "config_sha256": hashlib.sha256(config.encode()).hexdigest(), "cursor": None,
                "state": LabelStudioLink.State.ok, "message": ""})
            Example.objects.filter(project=project, ls_task_id__isnull=False).update(ls_task_id=None)
    except LabelStudioError as error:
        raise UserError(str(error)) from error
    _register_webhook(client, link)
    return link


def _register_webhook(client: Any, link: LabelStudioLink) -> None:
    """Ask for webhooks; a server that will not call us costs freshness only, so a refusal is written down."""
    url = settings.GOLDPAN_URL + reverse("labeling:webhook", args=[link.pk])
    try:
        client.register_webhook(link.ls_project_id, url, link.webhook_secret)
    except LabelStudioError as error:
        link.message = f"Label Studio sends no webhooks ({error}); answers arrive by polling."
        link.save(update_fields=["message"])


def provision_annotator(project: Project, user: User) -> Annotator:
    """Give a person an annotator of this project and a Label Studio account; twice is the same as once."""
    annotator, _ = Annotator.objects.get_or_create(project=project, name=user.username, defaults={"user": user})
    if annotator.ls_user_id is None:
        elsewhere = Annotator.objects.filter(user=user, ls_user_id__isnull=False).first()
        name = user.username if re.fullmatch(r"[A-Za-z0-9._-]+", user.username) else f"user-{user.pk}"
        email = f"{name}@goldpan.local"
        password = decrypt(elsewhere.ls_password_encrypted) if elsewhere else secrets.token_urlsafe(12)
        try:
            annotator.ls_user_id = label_studio().provision_annotator(email, password)
        except LabelStudioError as error:
            raise UserError(str(error)) from error
        annotator.ls_email, annotator.ls_password_encrypted = email, encrypt(password)
        annotator.save()
    return annotator


# Push

def start_push(project: Project, example_ids: Iterable[int], *, by: User, wake: bool = True) -> Job:
    """Queue the examples for Label Studio; those that are there already are left alone.

    Raises UserError if none is left to push or Label Studio cannot be reached.
    """
    link = link_project(project)
    waiting = {pk for batch in link.batches.exclude(state=PushBatch.State.confirmed) for pk in batch.example_ids}
    ids = [pk for pk in Example.objects.filter(project=project, pk__in=list(example_ids), ls_task_id__isnull=True)
           .order_by("pk").values_list("pk", flat=True) if pk not in waiting]
    if not ids and not waiting:
        raise UserError("All of these examples are in Label Studio already.")
    with transaction.atomic():
        for start in range(0, len(ids), BATCH):
            PushBatch.objects.create(link=link, uuid=uuid.uuid4(), example_ids=ids[start:start + BATCH])
        audit(project, by, "push", {"n_examples": len(ids)})
        return enqueue("push", project, title=f"Pushing {len(ids) + len(waiting):,} examples to Label Studio",
                       requested_by=by, params={"link": link.pk}, exclusive=f"ls:{link.pk}", wake=wake)


def run_push(job: Job, progress: Progress) -> None:
    link = LabelStudioLink.objects.select_related("project").get(pk=job.params["link"])
    with _told(link):
        client = label_studio()
        batches = list(link.batches.exclude(state=PushBatch.State.confirmed).order_by("pk"))
        total, done = sum(len(batch.example_ids) for batch in batches), 0
        for batch in batches:
            progress("Pushing", done, total)
            push_batch(client, link, batch)
            done += len(batch.example_ids)
    with completing(job) as result:
        result["n_pushed"] = total


def push_batch(client: Any, link: LabelStudioLink, batch: PushBatch) -> None:
    """Bring a batch to `confirmed`, whatever happened to it before.

    A batch that may have been sent is looked for on the server first, so no example gets two tasks.
    """
    examples = {example.key: example for example in Example.objects.filter(pk__in=batch.example_ids)}
    if batch.state != PushBatch.State.pending:
        there = _arrived(client, link, batch)
        _adopt(link, there)
        examples = {key: example for key, example in examples.items() if key not in there}
    if examples:
        PushBatch.objects.filter(pk=batch.pk).update(state=PushBatch.State.sent)  # before the request: it may arrive
        tasks = [TaskIn(key=key, data={"text": example.text}, batch=str(batch.uuid))
                 for key, example in examples.items()]
        try:
            ids = client.import_tasks(link.ls_project_id, tasks)
        except Ambiguous:
            PushBatch.objects.filter(pk=batch.pk).update(state=PushBatch.State.unknown)
            raise
        _adopt(link, dict(zip(examples, ids, strict=True)))
    PushBatch.objects.filter(pk=batch.pk).update(state=PushBatch.State.confirmed)


def _arrived(client: Any, link: LabelStudioLink, batch: PushBatch) -> dict[str, int]:
    """The tasks of a batch that may have been sent: key → task id. Looked for twice, with a pause for late commits."""
    found: dict[str, int] = {}
    for pause in (0.0, SETTLE_SECONDS):
        time.sleep(pause)
        found |= {key: ls_task_id for ls_task_id, key, of in client.scan_identities(
            link.ls_project_id, batch.created_at - timedelta(minutes=5)) if key and of == str(batch.uuid)}
    return found


@transaction.atomic
def _adopt(link: LabelStudioLink, task_of_key: dict[str, int]) -> None:
    for key, ls_task_id in task_of_key.items():
        Example.objects.filter(project=link.project, key=key).update(ls_task_id=ls_task_id)


# Pull

def start_pull(project: Project, *, by: User | None, reconcile: bool = False, dedupe_key: str | None = None,
               delay_seconds: float = 0, wake: bool = True) -> Job:
    """Queue fetching the answers that are new since the last pull.

    reconcile: read everything again and compare both sides, deleted tasks included.
    """
    link = LabelStudioLink.objects.filter(project=project).first()
    if link is None:
        raise UserError(NOT_SYNCED)
    what = "Comparing with Label Studio" if reconcile else "Pulling from Label Studio"
    return enqueue("pull", project, title=what, requested_by=by, params={"link": link.pk, "reconcile": reconcile},
                   exclusive=f"ls:{link.pk}", dedupe_key=dedupe_key, delay_seconds=delay_seconds, wake=wake)


def pull_soon(link: LabelStudioLink) -> None:
    """Queue a pull for what a webhook hinted at; all hints until it starts are served by this one."""
    waiting = Job.objects.filter(project=link.project, kind="pull", state=Job.State.queued)
    if not waiting.exists():
        start_pull(link.project, by=None, delay_seconds=HINT_SECONDS)


def poll() -> None:
    """Called by the tick: pull where no pull has been for long, since a webhook is sent once and may get lost.

    Automatic pulls that found nothing are forgotten after an hour, so they do not bury the jobs of people.
    """
    stale = timezone.now() - timedelta(seconds=settings.GOLDPAN_POLL_SECONDS)
    waiting = LabelStudioLink.objects.filter(Q(pulled_at__lt=stale) | Q(pulled_at__isnull=True))
    for link in waiting.exclude(state=LabelStudioLink.State.gone):
        if not Job.objects.filter(project=link.project, kind="pull", created_at__gt=stale).exists():
            start_pull(link.project, by=None)
    old = Job.objects.filter(kind="pull", requested_by=None, finished_at__lt=timezone.now() - timedelta(hours=1))
    old.filter(result__n_new=0, result__n_changed=0, result__n_retracted=0).delete()
    old.filter(state=Job.State.failed).delete()  # the link itself says what is wrong


def run_pull(job: Job, progress: Progress) -> None:
    link = LabelStudioLink.objects.select_related("project").get(pk=job.params["link"])
    reconcile = job.params["reconcile"]
    since = None if reconcile or link.cursor is None else link.cursor - MARGIN
    started, cursor = timezone.now(), link.cursor
    counts = {"n_tasks": 0, "n_new": 0, "n_changed": 0, "n_retracted": 0, "n_unreadable": 0}
    with _told(link):
        client = label_studio()
        facts = client.project(link.ls_project_id)
        for chunk in _chunks(client.pull_changes(link.ls_project_id, since), 200):
            progress("Pulling", counts["n_tasks"], facts.n_tasks if since is None else 0)
            with transaction.atomic():
                for task in chunk:
                    _absorb(link, task, counts)
            cursor = max([task.updated_at for task in chunk] + ([cursor] if cursor else []))
        missing = _reconcile(client, link) if reconcile else 0
    with completing(job) as result:
        LabelStudioLink.objects.filter(pk=link.pk).update(
            cursor=cursor, pulled_at=started, **({"reconciled_at": started} if reconcile else {}))
        result |= {**counts, "n_missing_there": missing}


def _absorb(link: LabelStudioLink, task: TaskOut, counts: dict[str, int]) -> None:
    """Append what a task's annotations say beyond what the ledger has."""
    counts["n_tasks"] += 1
    example = Example.objects.filter(project=link.project, key=task.key).first() if task.key else None
    if example is None:
        return  # somebody made this task in Label Studio; it is none of our examples
    last_words: dict[int, Annotation] = {}
    for annotation in Annotation.objects.filter(example=example, source=Annotation.Source.label_studio).order_by("pk"):
        last_words[annotation.annotator_id] = annotation
    answered = set()
    for answer in sorted(task.annotations, key=lambda answer: answer.updated_at):
        annotator = _annotator_of(link.project, answer)
        answered.add(annotator.pk)
        before = last_words.get(annotator.pk)
        try:
            row = _ledger_row(link.project, example, annotator, answer)
        except ValueError as error:  # made by hand in Label Studio: it must not stop everybody else's answers
            counts["n_unreadable"] += 1
            log.warning("task %s: an answer of %s is left out: %s", task.ls_task_id, annotator, error)
            continue
        if before is None or _says(before) != _says(row):
            row.save()
            last_words[annotator.pk] = row
            counts["n_changed" if before else "n_new"] += 1
    for annotator_id, before in last_words.items():
        if annotator_id not in answered and not before.retracted:
            Annotation.objects.create(example=example, annotator_id=annotator_id, retracted=True,
                                      source=Annotation.Source.label_studio, created_at=timezone.now(),
                                      ls_annotation_id=before.ls_annotation_id,
                                      instructions_version=link.project.instructions_version)
            counts["n_retracted"] += 1


def _says(annotation: Annotation) -> tuple[Any, bool, bool]:
    return annotation.value, annotation.skipped, annotation.retracted


def _ledger_row(project: Project, example: Example, annotator: Annotator, answer: AnnotationOut) -> Annotation:
    value = None
    if not answer.was_cancelled:
        value = classification.parse(answer.result)
        classification.validate_value(value, project.schema)
    return Annotation(example=example, annotator=annotator, value=value, skipped=answer.was_cancelled,
                      seconds=answer.seconds, source=Annotation.Source.label_studio, created_at=answer.updated_at,
                      ls_annotation_id=answer.ls_annotation_id, instructions_version=project.instructions_version)


def _annotator_of(project: Project, answer: AnnotationOut) -> Annotator:
    """The annotator with this Label Studio account; an account that Goldpan did not make gets a name by its id."""
    if answer.ls_user_id is None:  # the account was deleted there, and its answers lost their name
        return _deleted_account(project, answer)
    found = Annotator.objects.filter(project=project, ls_user_id=answer.ls_user_id).first()
    if found is not None:
        return found
    name = f"label-studio-{answer.ls_user_id}"
    return Annotator.objects.get_or_create(project=project, name=name, defaults={"ls_user_id": answer.ls_user_id})[0]


def _deleted_account(project: Project, answer: AnnotationOut) -> Annotator:
    """Who the ledger says gave this answer; a name for nobody if it has never seen it."""
    known = Annotation.objects.filter(example__project=project, ls_annotation_id=answer.ls_annotation_id).last()
    return known.annotator if known else Annotator.objects.get_or_create(project=project, name="deleted account")[0]


def _reconcile(client: Any, link: LabelStudioLink) -> int:
    """Forget the tasks that were deleted there, so they can be pushed again; return how many. Answers stay here."""
    there = {key: ls_task_id for ls_task_id, key, _ in client.scan_identities(link.ls_project_id)}
    missing = 0
    with transaction.atomic():
        pushed = Example.objects.filter(project=link.project, ls_task_id__isnull=False)
        for example in pushed.only("pk", "key", "ls_task_id"):
            if there.get(example.key) != example.ls_task_id:
                Example.objects.filter(pk=example.pk).update(ls_task_id=there.get(example.key))
                missing += example.key not in there
    return missing


@contextmanager
def _told(link: LabelStudioLink) -> Iterator[None]:
    """Write down how talking to the server went, and say a failure in words to the job's reader."""
    mine = LabelStudioLink.objects.filter(pk=link.pk)
    try:
        yield
    except LabelStudioError as error:
        state = (LabelStudioLink.State.gone if isinstance(error, NotFound) else
                 LabelStudioLink.State.auth_failed if isinstance(error, AuthFailed) else
                 LabelStudioLink.State.unavailable)
        mine.update(state=state, message=str(error))
        if isinstance(error, AuthFailed):  # the next try makes a new token
            LabelStudioToken.objects.filter(url=link.url).delete()
        raise UserError(str(error)) from error
    mine.update(state=LabelStudioLink.State.ok)


def _chunks(items: Iterable[TaskOut], size: int) -> Iterator[list[TaskOut]]:
    chunk: list[TaskOut] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
