"""What was asked: requests, their words, and the counts of a day."""

from django.db import models

from projects.models import ApiKey, OfProjectQuerySet, Project
from serving.models.deployments import Deployment


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
    first_of = models.ForeignKey("serving.Exposure", null=True, on_delete=models.PROTECT, related_name="first",
                                 db_index=False, help_text="the first request of a unit of an A/B test")

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "-at"], name="exchange_newest")]
        constraints = [models.UniqueConstraint(fields=["first_of"], condition=models.Q(first_of__isnull=False),
                                               name="an_exposure_has_one_first_request")]

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
