import uuid
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from projects.schema import answer_names

AnyUser = User | AnonymousUser


class Role(models.TextChoices):
    annotator = "annotator"
    curator = "curator"
    admin = "admin"


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(memberships__user_id=user.pk or 0)


class Project(models.Model):
    """One labelling question over one stream of texts, with its labels, its people and its target."""

    class TaskType(models.TextChoices):
        classification = "classification", "Classification, one label"
        multilabel = "multilabel", "Classification, several labels"
        response = "response", "Instruction and response"
        extraction = "extraction", "Extraction to JSON"
        preference = "preference", "Preference between two answers"
        spans = "spans", "Spans in the text"
        chat = "chat", "Last answer of a chat"

    class Metric(models.TextChoices):  # which one a type of task is judged by: projects.schema.METRICS
        accuracy = "accuracy", "accuracy"
        macro_f1 = "macro_f1", "macro-F1"
        field_f1 = "field_f1", "field F1"
        strict_f1 = "strict_f1", "span F1"
        rouge_l = "rouge_l", "ROUGE-L"

    name = models.CharField(max_length=50, unique=True)
    task_type = models.CharField(max_length=20, choices=TaskType, default=TaskType.classification)
    schema = models.JSONField(help_text='what an answer may be: {"labels": [{"name": "refund", "description": "…"}]}')
    instructions = models.TextField(blank=True, help_text="what annotators and the prompt are told")
    instructions_version = models.PositiveIntegerField(default=1)
    split_salt = models.CharField(max_length=64, help_text="fixes which group falls into which split, for ever")
    split_shares = models.JSONField(help_text='{"pool": 0.64, "dev": 0.08, "test": 0.28}; locked at the first import')
    target_metric = models.CharField(max_length=20, choices=Metric, default=Metric.accuracy)
    target_value = models.FloatField(validators=[MinValueValidator(0), MaxValueValidator(1)])
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(target_value__gte=0, target_value__lte=1), name="project_target_is_a_share"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def labels(self) -> list[str]:
        """What an answer can be, in schema order: the order of every column of probabilities. [] where it is free."""
        return answer_names(self.schema, self.task_type)


class OfProjectQuerySet(models.QuerySet[Any]):
    """The queryset of everything that belongs to a project by a field named `project`."""

    def visible_to(self, user: AnyUser) -> Self:
        return self.filter(project__memberships__user_id=user.pk or 0)


class Guideline(models.Model):
    """A version of what annotators and the prompt are told. Never edited: a change is a new version."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="guidelines")
    version = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    note = models.TextField(blank=True, help_text="what changed and why, for people")
    changed_labels = models.JSONField(default=list, help_text="labels whose rule changed: their examples are looked at "
                                      "again")
    changes_all = models.BooleanField(default=False, help_text="the rule of every label changed")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="guideline_versions_are_numbered_per_project")]

    def __str__(self) -> str:
        return f"Guideline {self.version}"


class Membership(models.Model):
    class Mail(models.TextChoices):
        none = "none", "no mail"
        at_once = "at_once", "at once"
        daily = "daily", "once a day"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    mail = models.CharField(max_length=7, choices=Mail, default=Mail.none, help_text="when notices come by e-mail, too")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_role_per_person_and_project")]

    def __str__(self) -> str:
        return f"{self.user}, {self.role}"


class ApiKey(models.Model):
    """With which a program comes in. It may what its maker may in the project, as far as its scopes go.

    The secret is random, of 256 bits; only its hash is kept.
    """

    class Scope(models.TextChoices):
        predict = "predict", "ask the model"
        feedback = "feedback", "send feedback"
        read = "read", "read everything"
        write = "write", "change everything"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=60, help_text="what uses it")
    scopes = models.JSONField(help_text="what it is good for")
    shown = models.CharField(max_length=12, help_text="its first characters, to tell keys apart")
    secret_sha256 = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_on = models.DateField(null=True, blank=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.name


class Notice(models.Model):
    """Something that happened in a project, written in the transaction in which it happened.

    What follows from it, inbox items, mails and deliveries to webhooks, are rows of the same transaction.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="notices")
    event = models.CharField(max_length=40, help_text="a key of projects.events.EVENTS")
    title = models.CharField(max_length=160)
    text = models.CharField(max_length=500, blank=True)
    link = models.CharField(max_length=200, help_text="the page about it, as a path")
    data = models.JSONField(default=dict, help_text="what a program needs: the keys that the event declares")
    key = models.CharField(max_length=100, null=True, help_text="of what is told only once")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="a_notice_with_a_key_is_told_once")]

    def __str__(self) -> str:
        return self.title


class InboxQuerySet(models.QuerySet["InboxItem"]):
    def visible_to(self, user: AnyUser) -> Self:
        """One's own, of projects that one still belongs to."""
        return self.filter(user_id=user.pk or 0, notice__project__memberships__user_id=user.pk or 0)


class InboxItem(models.Model):
    """A notice in one person's inbox, and the mail about it if they want one."""

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="items")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="inbox")
    read_at = models.DateTimeField(null=True)
    mail_due_at = models.DateTimeField(null=True, help_text="of the next try; empty: nothing is to be sent")
    n_mail_tries = models.PositiveSmallIntegerField(default=0)
    mailed_at = models.DateTimeField(null=True)

    objects = InboxQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["notice", "user"], name="a_notice_is_once_in_an_inbox"),
            models.CheckConstraint(condition=models.Q(mail_due_at=None) | models.Q(mailed_at=None),
                                   name="what_was_mailed_is_not_due"),
        ]
        indexes = [models.Index(fields=["user", "-id"], name="inbox_unread", condition=models.Q(read_at=None)),
                   models.Index(fields=["mail_due_at"], name="inbox_mail_due",
                                condition=models.Q(mail_due_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.notice} for {self.user}"

    @property
    def project(self) -> Project:
        return self.notice.project


class Webhook(models.Model):
    """Where a project's notices are sent, signed with a secret that is stored encrypted and shown once."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="webhooks")
    url = models.CharField(max_length=500)
    events = models.JSONField(help_text="keys of projects.events.EVENTS")
    secret_encrypted = models.TextField()
    old_secret_encrypted = models.TextField(blank=True, help_text="signs, too, until old_secret_until")
    old_secret_until = models.DateTimeField(null=True)
    n_failures = models.PositiveIntegerField(default=0, help_text="tries in a row that failed")
    failing_since = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    paused_because = models.CharField(max_length=300, blank=True)
    removed_at = models.DateTimeField(null=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"Webhook {self.pk}"


class WebhookDelivery(models.Model):
    """A notice on its way to a webhook. `uuid` stays the same over all tries: by it a receiver knows what it has.

    A try moves `next_at` ahead before it sends. Whoever dies in between has sent it or not; then it is sent again.
    """

    class State(models.TextChoices):
        waiting = "waiting"
        delivered = "delivered"
        given_up = "given_up"

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    state = models.CharField(max_length=9, choices=State, default=State.waiting)
    n_tries = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, default=timezone.now)
    tried_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="what the receiver answered last")
    words = models.CharField(max_length=300, blank=True, help_text="why there was no answer")
    answer = models.TextField(blank=True, help_text="how the receiver's answer begins")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["webhook", "notice"], name="a_webhook_gets_a_notice_once"),
            models.CheckConstraint(
                condition=models.Q(state="waiting", next_at__isnull=False)
                | models.Q(state__in=["delivered", "given_up"], next_at=None),
                name="a_delivery_has_a_next_try_iff_it_waits"),
        ]
        indexes = [models.Index(fields=["next_at"], name="delivery_due", condition=models.Q(state="waiting"))]

    def __str__(self) -> str:
        return f"{self.notice} to {self.webhook}"

    @property
    def seconds_left(self) -> float:
        """Until the next try; 0 if it is due, or there is none."""
        return max(0.0, (self.next_at - timezone.now()).total_seconds()) if self.next_at else 0.0


class RememberedAnswer(models.Model):
    """What the API has answered to a request with an Idempotency-Key: sent again within a day, it is said again.

    Written in the transaction of the request's effect, so that there is never one without the other.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64, help_text="of method, address and body")
    status = models.PositiveSmallIntegerField(default=0, help_text="0 while the request is being answered")
    content = models.TextField(blank=True, help_text="the answer's JSON")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user", "key"],
                                               name="a_key_stands_for_one_request_of_a_person")]

    def __str__(self) -> str:
        return self.key


class AuditEvent(models.Model):
    """Who did what, chained by hash: a changed, removed or reordered event breaks the chain (`manage.py verify`)."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="audit_events")
    sequence = models.PositiveIntegerField()
    who = models.CharField(max_length=150)
    what = models.CharField(max_length=60)
    detail = models.JSONField()
    at = models.DateTimeField()
    previous_sha256 = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["project", "sequence"]
        constraints = [models.UniqueConstraint(fields=["project", "sequence"], name="audit_chain_has_no_fork")]

    def __str__(self) -> str:
        return f"{self.who} {self.what}"
