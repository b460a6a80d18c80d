"""What came back about answers."""

from typing import Any

from django.db import models
from django.db.models import Q

from labeling.models import Annotation, Example
from projects.models import ApiKey, OfProjectQuerySet, Project
from serving.models.deployments import Deployment


class Feedback(models.Model):
    """What somebody said about an answer, in the database before they are told so. Never edited."""

    class Thumb(models.TextChoices):
        up = "up"
        down = "down"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="feedback", db_index=False)
    exchange_name = models.CharField(max_length=60, help_text="the exchange's id; its row may be gone, or yet to come")
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="feedback")
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+", db_index=False)
    idempotency_key = models.CharField(max_length=100, null=True, help_text="the caller's; the same again adds nothing")
    content_sha256 = models.CharField(max_length=64, help_text="of what was said, to tell a repeat from something new")
    thumb = models.CharField(max_length=4, choices=Thumb, blank=True)
    correction: "models.JSONField[Any]" = models.JSONField(null=True, help_text="the right answer, by the type of task")
    outcome = models.FloatField(null=True, help_text="what came of it, as a number of the caller's")
    is_escalated = models.BooleanField(default=False, help_text="a person had to take over")
    comment = models.TextField(blank=True)
    answered_at = models.DateTimeField(help_text="when the exchange began, by its id")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "exchange_name", "id"], name="feedback_of_exchange")]
        constraints = [
            models.UniqueConstraint(fields=["project", "idempotency_key"], name="feedback_is_taken_once_per_key"),
            models.CheckConstraint(name="feedback_says_something", condition=~Q(thumb="") | Q(correction__isnull=False)
                                   | Q(outcome__isnull=False) | Q(is_escalated=True)),
        ]

    def __str__(self) -> str:
        return f"Feedback {self.pk}"


class TakenCorrection(models.Model):
    """A correction that became an example's answer. Written once; no annotation where the example is held out.

    Whoever corrects has seen the model's answer, so dev and test examples take the text only, to be labelled blind.
    """

    feedback = models.OneToOneField(Feedback, on_delete=models.PROTECT, related_name="taken")
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="+")
    annotation = models.OneToOneField(Annotation, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.feedback} as an answer to {self.example}"
