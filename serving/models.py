from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from jobs.models import Job
from labeling.models import Annotation, Example
from projects.models import ApiKey, OfProjectQuerySet, Project
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


class Exchange(models.Model):
    """A request that a model was asked, and how that went; its words, if they are kept, are an ExchangeContent.

    Written behind the answer: a process that is killed may take the last ones with it.
    """

    class Route(models.TextChoices):
        chat = "chat", "chat completions"
        predict = "predict", "predict"

    name = models.CharField(max_length=60, unique=True, help_text="the signed id that the caller was given")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="exchanges", db_index=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="exchanges", db_index=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+", db_index=False)
    route = models.CharField(max_length=7, choices=Route)
    is_answered = models.BooleanField(help_text="no: the model failed, or could not be reached")
    is_readable = models.BooleanField(help_text="the answer was one under the project's schema")
    prompt_tokens = models.PositiveIntegerField(null=True)
    answer_tokens = models.PositiveIntegerField(null=True)
    cost = models.FloatField(null=True, help_text="in the currency of the project's economics; null: no price is known")
    seconds = models.FloatField(help_text="from the request's arrival to its answer's end")
    waited_seconds = models.FloatField(default=0.0, help_text="of these, in the model's queue")
    model_seconds = models.FloatField(default=0.0, help_text="of these, in the model")
    at = models.DateTimeField()

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "-at"], name="exchange_newest")]

    def __str__(self) -> str:
        return self.name


class ExchangeContent(models.Model):
    """The words of a request and its answer, until their retention ends: an example to be."""

    exchange = models.OneToOneField(Exchange, on_delete=models.CASCADE, related_name="content")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    text = models.TextField()
    data = models.JSONField(help_text="what the task shows beside the text")
    group = models.CharField(max_length=200, blank=True, help_text="customer, thread or document, if the caller said")
    answer = models.JSONField(help_text='{"text": …, "value": …, "probability": of a label, null otherwise}')
    is_masked = models.BooleanField(help_text="what looked like personal data was covered, where there was any")
    content_sha256 = models.CharField(max_length=64, help_text="of the normalised text as it came")
    delete_on = models.DateField(db_index=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["project", "content_sha256"], name="exchange_of_content")]

    def __str__(self) -> str:
        return f"words of {self.exchange_id}"


class TrafficDay(models.Model):
    """What came in on a day, counted whether or not anything of it was kept."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="traffic", db_index=False)
    day = models.DateField(help_text="in UTC")
    n_answered = models.PositiveIntegerField(default=0)
    n_failed = models.PositiveIntegerField(default=0, help_text="the model failed, or could not be reached")
    n_refused = models.PositiveIntegerField(default=0, help_text="too many at once, or no request that can be answered")
    n_lost = models.PositiveIntegerField(default=0, help_text="of all, those whose row in the log was lost")
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    answer_tokens = models.PositiveBigIntegerField(default=0)
    cost = models.FloatField(default=0.0)
    n_uncosted = models.PositiveIntegerField(default=0, help_text="answered, with no price known")

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["day"]
        constraints = [
            models.UniqueConstraint(fields=["project", "day"], name="one_row_of_traffic_per_project_and_day")]

    def __str__(self) -> str:
        return f"{self.project}, {self.day}"


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
                                   | Q(outcome__isnull=False)),
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
