"""Who labels, and their desks: an account and a project of their own in Label Studio, made when first needed."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from labeling.label_studio import LabelStudioError
from labeling.models import Annotator, Assignment, BatchItem, Desk
from labeling.task_types import task_type
from projects.errors import UserError
from projects.models import Membership, Project, Role
from projects.services.sealing import decrypt, encrypt

ANSWERS_PER_TASK = 1  # a desk has one person
MAX_TITLE = 50


def annotator_of(project: Project, user: User) -> Annotator:
    """The annotator that this person is in the project; twice is the same as once."""
    known = Annotator.objects.filter(project=project, user=user).first()
    if known is not None:
        return known
    return Annotator.objects.update_or_create(project=project, name=user.username, defaults={"user": user})[0]


def annotator_named(project: Project, name: str) -> Annotator:
    """The annotator of this name; a member who has not labelled yet becomes one. Raises UserError for anybody else."""
    member = Membership.objects.filter(project=project, user__username=name).select_related("user").first()
    if member is not None:
        return annotator_of(project, member.user)
    raise UserError(f"{name} is no member of “{project}”. Add them first.")


def annotators_at_work(project: Project) -> list[Annotator]:
    """Everybody who may be given something to label: members who are not paused; new annotators are registered."""
    members = Membership.objects.filter(project=project).select_related("user")
    known = set(Annotator.objects.filter(project=project).values_list("user_id", flat=True))
    for member in members:
        if member.role == Role.annotator and member.user_id not in known:
            annotator_of(project, member.user)
    return list(Annotator.objects.filter(
        project=project, user__in=[member.user_id for member in members], paused_at=None, vendor="").order_by("pk"))


def open_desk(client: Any, annotator: Annotator) -> Desk:
    """Return the annotator's desk, made first if it is missing or was deleted there, its page as the project wants it.

    Tasks that were on a deleted desk go back into the queue of what is to be delivered.
    Raises LabelStudioError.
    """
    desk = Desk.objects.filter(annotator=annotator).first()
    if desk is not None and desk.state != Desk.State.gone and desk.url == client.url:
        return with_current_page(client, desk)
    _give_account(client, annotator)
    config, project = label_config(annotator.project), annotator.project
    client.version()  # refuses one that is too old to be safe
    title = desk_title(annotator)
    # A creation whose answer got lost is found by its title instead of being made twice.
    ls_project_id = client.find_project(title) or client.create_project(title, config, ANSWERS_PER_TASK)
    with transaction.atomic():
        desk, _ = Desk.objects.update_or_create(annotator=annotator, defaults={
            "project": project, "url": client.url, "ls_project_id": ls_project_id,
            "webhook_secret": secrets.token_urlsafe(32), "config_sha256": _sha256(config),
            "instructions_version": project.instructions_version, "cursor": None, "hinted_at": None,
            "state": Desk.State.ok, "message": ""})
        clear_desk(annotator)
    _register_webhook(client, desk)
    return desk


def clear_desk(annotator: Annotator) -> None:
    """Forget the tasks of a desk that is no more: what lay on it unanswered is to be delivered again."""
    mine = Assignment.objects.filter(annotator=annotator, ls_task_id__isnull=False)
    mine.filter(state=Assignment.State.placed).update(state=Assignment.State.reserved, delivery=None)
    mine.update(ls_task_id=None)


@dataclass(frozen=True)
class Exchange:
    """How a project's exchange with Label Studio stands: the worst of its desks, and the one that is furthest behind.

    n_open: examples that lie on desks unanswered.
    """

    state: str
    message: str
    pulled_at: datetime | None
    n_desks: int
    n_open: int

    @property
    def is_ok(self) -> bool:
        return self.state == Desk.State.ok

    @property
    def words(self) -> str:
        return str(Desk.State(self.state).label)


def exchange_of(project: Project) -> Exchange | None:
    """Return how the exchange stands, None where nobody has a desk yet."""
    desks = list(Desk.objects.filter(project=project).only("state", "message", "pulled_at"))
    if not desks:
        return None
    worst = next((desk for desk in desks if desk.state != Desk.State.ok), desks[0])
    times = [desk.pulled_at for desk in desks]
    n_open = Assignment.objects.open().filter(annotator__project=project).count()
    return Exchange(worst.state, worst.message, None if None in times else min(times), len(desks), n_open)  # type: ignore[type-var]


def label_config(project: Project) -> str:
    return task_type(project.task_type).label_config(project.schema, project.instructions)


def desk_title(annotator: Annotator) -> str:
    """What the annotator's project is called in Label Studio: at most 50 characters, unique by its number."""
    number = f" #{annotator.pk}"
    return f"{annotator.project.name} · {annotator.name}"[:MAX_TITLE - len(number)] + number


def has_current_page(desk: Desk) -> bool:
    """Whether the desk shows the labels and the guideline as they are now."""
    return (desk.config_sha256 == _sha256(label_config(desk.project))
            and desk.instructions_version == desk.project.instructions_version)


def with_current_page(client: Any, desk: Desk) -> Desk:
    """Write the labelling page anew if labels or guideline have changed since; answers given before stay."""
    config = label_config(desk.project)
    if not has_current_page(desk):
        client.update_config(desk.ls_project_id, config)
        desk.config_sha256, desk.instructions_version = _sha256(config), desk.project.instructions_version
        desk.save(update_fields=["config_sha256", "instructions_version"])
    return desk


def _give_account(client: Any, annotator: Annotator) -> None:
    """An account in Label Studio, one per person over all projects; its password is shown to nobody."""
    if annotator.ls_user_id is not None:
        return
    elsewhere = Annotator.objects.filter(user=annotator.user, ls_user_id__isnull=False).first()
    if elsewhere is not None:
        email, password = elsewhere.ls_email, decrypt(elsewhere.ls_password_encrypted)
    else:
        name = re.sub(r"[^a-z0-9]+", "", annotator.name.lower()) or "person"
        email = f"{name}.{annotator.user_id}@goldpan.local"  # Label Studio takes Bob and bob for one
        password = secrets.token_urlsafe(24)
    annotator.ls_user_id = client.provision_annotator(email, password)
    annotator.ls_email, annotator.ls_password_encrypted = email, encrypt(password)
    annotator.save(update_fields=["ls_user_id", "ls_email", "ls_password_encrypted"])


def _register_webhook(client: Any, desk: Desk) -> None:
    """Ask for webhooks; a server that will not call us costs freshness only, so a refusal is written down."""
    url = settings.GOLDPAN_URL + reverse("labeling:webhook", args=[desk.pk])
    try:
        client.register_webhook(desk.ls_project_id, url, desk.webhook_secret)
    except LabelStudioError as error:
        desk.message = f"Label Studio sends no webhooks ({error}); answers arrive by polling."
        desk.save(update_fields=["message"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def door_url(desk: Desk) -> str:
    """The page that gives one unanswered example of this desk after the other, through the door."""
    return f"{settings.GOLDPAN_DOOR_URL}/projects/{desk.ls_project_id}/data?labeling=1"


def may_answer(desk: Desk, ls_task_id: int) -> str:
    """Why the desk's owner may not answer this task now, in words; "" if they may."""
    assignment = Assignment.objects.filter(annotator=desk.annotator_id, ls_task_id=ls_task_id).last()
    if assignment is None:
        return "This example is not on your desk."
    if assignment.state == Assignment.State.skipped and _is_passed_on(assignment):
        return "You skipped this example, and somebody else has been asked about it since. Take the next one."
    if assignment.state == Assignment.State.expired or (
            assignment.state == Assignment.State.placed and assignment.expires_at <= timezone.now()):
        return "The time for this example is over, and it goes to somebody else. Take the next one."
    return ""


def _is_passed_on(assignment: Assignment) -> bool:
    return assignment.item_id is not None and BatchItem.objects.filter(
        pk=assignment.item_id, n_taken__gte=F("n_wanted")).exists()
