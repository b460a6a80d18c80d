from django.db import models

from labeling.models.ledger import Annotator
from projects.models import OfProjectQuerySet, Project


class Desk(models.Model):
    """One annotator's own project in Label Studio, and how far its answers have been pulled.

    It holds only what is assigned to them, so nobody finds anybody else's answers in it: docs/decisions/0004.
    """

    class State(models.TextChoices):
        ok = "ok", "connected"
        unavailable = "unavailable", "not reachable"
        auth_failed = "auth_failed", "log-in refused"
        gone = "gone", "project deleted there"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="desks")
    annotator = models.OneToOneField(Annotator, on_delete=models.PROTECT, related_name="desk")
    url = models.URLField()
    ls_project_id = models.BigIntegerField()
    config_sha256 = models.CharField(max_length=64, help_text="of the labelling page as it was last written there")
    instructions_version = models.PositiveIntegerField(help_text="of the guideline that the page shows")
    webhook_secret = models.CharField(max_length=64)
    cursor = models.DateTimeField(null=True, help_text="everything touched before it has been pulled")
    hinted_at = models.DateTimeField(null=True, help_text="a webhook said that something changed")
    state = models.CharField(max_length=12, choices=State, default=State.ok)
    message = models.TextField(blank=True, help_text="what is wrong and what to do")
    pulled_at = models.DateTimeField(null=True)
    reconciled_at = models.DateTimeField(null=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["url", "ls_project_id"], name="one_desk_per_label_studio_project")]

    def __str__(self) -> str:
        return f"{self.annotator}'s desk"


class Delivery(models.Model):
    """Assignments on their way to a desk; `unknown` means the answer got lost and the server must be asked."""

    class State(models.TextChoices):
        pending = "pending"
        sent = "sent"
        confirmed = "confirmed"
        unknown = "unknown"

    desk = models.ForeignKey(Desk, on_delete=models.PROTECT, related_name="deliveries")
    uuid = models.UUIDField(unique=True)
    state = models.CharField(max_length=10, choices=State, default=State.pending)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.uuid)


class LabelStudioToken(models.Model):
    """The personal access token for one Label Studio address, encrypted with GOLDPAN_FERNET_KEY."""

    url = models.URLField(unique=True)
    token_encrypted = models.TextField()

    def __str__(self) -> str:
        return self.url
