"""What serves a project: deployments, the rules, and replays of test rows."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from jobs.models import Job
from projects.models import OfProjectQuerySet, Project
from training.models import Adapter, Run


class Deployment(models.Model):
    """What answered requests from some time on: a prompt that was evaluated, or an adapter with its prompt.

    Of a slot the newest counts. Written when the first request finds that something else serves than before.
    """

    class Slot(models.TextChoices):
        champion = "champion", "what the project serves"
        named = "named", "asked for by its own name"

    class Backend(models.TextChoices):
        embedded = "embedded", "the embedded model, on this machine"
        endpoint = "endpoint", "an OpenAI-compatible endpoint"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="deployments")
    slot = models.CharField(max_length=8, choices=Slot)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+", help_text="whose prompt asks")
    adapter = models.ForeignKey(Adapter, null=True, on_delete=models.PROTECT, related_name="deployments")
    backend = models.CharField(max_length=8, choices=Backend)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "slot", "-id"], name="deployment_newest")]

    def __str__(self) -> str:
        return f"Deployment {self.pk}"

    @property
    def title(self) -> str:
        return str(self.adapter) if self.adapter else f"{self.run.title} (run {self.run_id})"


class ServingRules(models.Model):
    """How a project is served: how many requests, what is kept of them and for how long. An admin edits it."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="serving_rules")
    sample_share = models.FloatField(
        default=1.0, validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="of the answered requests are kept with their words")
    masks = models.BooleanField(default=True, help_text="what looks like personal data is covered before it is kept")
    retention_days = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text="after which the words of a request are deleted")
    key_limit = models.PositiveIntegerField(
        default=120, validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text="requests a minute with one key")
    project_limit = models.PositiveIntegerField(
        default=600, validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text="requests a minute with all keys together")

    objects = OfProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return f"serving of {self.project}"


class Replay(models.Model):
    """Test rows asked through the gateway's model: whether it answers as it did at the evaluation. Written once."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="replays")
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="replays")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+")
    n = models.PositiveIntegerField()
    n_equal = models.PositiveIntegerField()
    differing = models.JSONField(help_text="keys of the rows that were answered otherwise")
    seconds = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=Q(n_equal__lte=models.F("n")),
                                              name="no_more_rows_replayed_alike_than_there_are")]

    def __str__(self) -> str:
        return f"Replay of {self.deployment}"

    @property
    def is_equal(self) -> bool:
        return self.n_equal == self.n
