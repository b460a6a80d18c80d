from django.conf import settings
from django.db import models
from django.db.models import Q

from curation.models.quality import QualityReport
from jobs.models import Job
from projects.models import OfProjectQuerySet, Project


class Experiment(models.Model):
    """The same recipe on different training rows, judged on the same held-out rows. Written once, when it is done."""

    class Kind(models.TextChoices):
        arms = "arms", "Does the gold set help?"
        fixes = "fixes", "What do corrections bring?"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="experiments")
    kind = models.CharField(max_length=5, choices=Kind)
    report = models.ForeignKey(QualityReport, on_delete=models.PROTECT, related_name="+")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    split = models.CharField(max_length=5, help_text="dev or test: the rows that judge; every look at test counts")
    n = models.PositiveIntegerField(help_text="rows that judged")
    config = models.JSONField(help_text="recipe, seeds, rule, encoder, hash of the judging rows")
    verdict = models.JSONField(help_text="sentences, the first is the headline")
    groups = models.JSONField(default=list, help_text="of fixes: groups of flagged rows and what they may bring")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(split__in=["dev", "test"]), name="an_experiment_is_judged_on_held_out_rows")]

    def __str__(self) -> str:
        return f"Experiment {self.pk}"


class ExperimentArm(models.Model):
    """One set of training rows of an experiment and how the recipe did on it. Never edited."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="arms")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=60)
    what = models.TextField(help_text="which rows and which labels, in words")
    n_rows = models.PositiveIntegerField(help_text="training rows, of each draw")
    accuracies = models.JSONField(help_text="one per seed; one alone where nothing is drawn")
    accuracy = models.JSONField(help_text="mean over the seeds, with its interval")
    difference = models.JSONField(null=True, help_text="to the first arm, paired, with its interval; null for that arm")
    rows_sha256 = models.CharField(max_length=64, help_text="JSON: by seed, example ids and labels")
    right_sha256 = models.CharField(max_length=64, help_text="JSON: by seed, which judging rows came out right")
    seconds = models.FloatField()

    class Meta:
        ordering = ["experiment", "position"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "position"], name="arms_of_an_experiment_have_an_order")]

    def __str__(self) -> str:
        return self.name


class LabelForecast(models.Model):
    """How many labels more a target is likely to take, by the probe's learning curve. Written once."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="label_forecasts")
    report = models.ForeignKey(QualityReport, on_delete=models.PROTECT, related_name="+")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="+")
    target_metric = models.CharField(max_length=20)
    target_value = models.FloatField()
    n_train = models.PositiveIntegerField()
    n_dev = models.PositiveIntegerField()
    sizes = models.JSONField()
    errors = models.JSONField(help_text="per size, one error per subset")
    found = models.JSONField(help_text="curve with its band, labels needed, seconds, wage")
    words = models.JSONField(help_text="sentences, the first is the headline")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Forecast {self.pk}"
